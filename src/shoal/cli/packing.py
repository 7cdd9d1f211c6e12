"""The command that trains several specialists in one process."""

from __future__ import annotations

from functools import partial
from typing import Any

from shoal.cli.options import File, Input, Json, Seconds, Threads


def train_pack(
    model: Json,
    training: Json,
    grid: Json,
    members: File,
    index: File,
    base: Input,
    shapes: Input,
    specialists: File,
    logs: File,
    status: File,
    store: File,
    threads: Threads,
    checkpoint_seconds: Seconds,
) -> None:
    """Train several specialists in one process, each as if alone; exit code 1 if one failed."""
    from shoal.archive.recover import recover
    from shoal.formats.json_file import parse_json, read_json
    from shoal.settings.learning import Model, Training
    from shoal.train_specialists.pack_command import Work, train_pack

    work = Work(
        Model.from_text(model),
        Training.from_text(training),
        parse_json(grid, "--grid", dict[str, dict[str, Any]]),
        index,
        base,
        shapes,
        specialists,
        logs,
        partial(recover, store),
        threads,
        checkpoint_seconds,
    )
    if train_pack(work, read_json(members, list[str]), status):
        raise SystemExit(1)


COMMANDS = (train_pack,)
