"""Commands that train specialists, and the check of what settings name."""

from __future__ import annotations

from typing import Any

from shoal.cli.options import (
    File,
    Input,
    Inputs,
    Json,
    Paths,
    Seconds,
    Text,
    Threads,
)
from shoal.formats.json_file import parse_json


def train_specialist(
    model: Json,
    training: Json,
    point: Json,
    index: File,
    digest: Text,
    base: Input,
    shapes: Input,
    out: File,
    ledger: File,
    store: File,
    threads: Threads,
    checkpoint_seconds: Seconds,
) -> None:
    """Train one specialist on its partition's rows, or take it from the model store."""
    from shoal.archive.recover import recover
    from shoal.settings.learning import Model, Training
    from shoal.train_specialists.command import train_specialist
    from shoal.training.determinism import deterministic

    values = parse_json(point, "--point", dict[str, Any])
    if recover(store, out, ledger, base, values):
        return
    deterministic(threads)
    train_specialist(
        Model.from_text(model),
        Training.from_text(training),
        values,
        index,
        digest,
        base,
        shapes,
        out,
        ledger,
        checkpoint_seconds,
    )


def train_choose(
    model: Json,
    index: File,
    digest: Text,
    validation: Text,
    base: Input,
    shapes: Input,
    specialist: Inputs,
    choice: File,
    threads: Threads,
) -> None:
    """Choose a partition's grid point on one half of its validation rows."""
    from shoal.settings.learning import Model
    from shoal.train_specialists.command import train_choose
    from shoal.training.determinism import deterministic

    deterministic(threads)
    train_choose(
        Model.from_text(model),
        index,
        (digest, validation),
        base,
        shapes,
        specialist,
        choice,
    )


def check_classes(
    settings: Paths, model: bool = False, encoders: bool = False, functions: bool = False
) -> None:
    """Import the classes and functions that settings name; check that they take their arguments."""
    from shoal.workflow.class_check import check_classes

    check_classes(settings, model=model, encoders=encoders, functions=functions)


COMMANDS = (train_specialist, train_choose)
