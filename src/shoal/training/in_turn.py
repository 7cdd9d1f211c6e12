"""Commands ``choose-pack`` and ``ask-pack``: several short jobs in one process."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from typing import TYPE_CHECKING

from shoal.formats.hashing import file_hash
from shoal.formats.json_file import write_json
from shoal.training.determinism import as_if_alone

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    Jobs = Sequence[tuple[Sequence[Path], Callable[[], None]]]


def choose_pack(jobs: Jobs, status_out: Path, threads: int) -> None:
    """Make several decisions of one step in one process, each as if alone.

    Args:
        jobs: Files of each decision, and what makes them.
        status_out: Hashes of what was made, written when all files are there.
        threads: CPU threads; the bits depend on it.
    """
    _in_turn(jobs, status_out, threads)


def ask_pack(jobs: Jobs, status_out: Path, threads: int) -> None:
    """Ask about several partitions' rows in one process, about each as if alone.

    Args:
        jobs: Files of each partition's answers, and what makes them.
        status_out: Hashes of what was made, written when all files are there.
        threads: CPU threads; the bits depend on it.
    """
    _in_turn(jobs, status_out, threads)


def _in_turn(jobs: Jobs, status: Path, threads: int) -> None:
    """Do the jobs whose files are not there yet; the first one that fails ends the process."""
    made: dict[str, dict[str, str]] = defaultdict(dict)
    for files, do in jobs:
        since = time.perf_counter()
        if not all(path.exists() for path in files):
            with as_if_alone(threads):
                do()
        line = f"{files[0]}: there after {time.perf_counter() - since:.1f} s"
        print(line, file=sys.stderr, flush=True)  # noqa: T201 - the log's line
        for path in files:
            made[str(path.parent)][path.name] = file_hash(path)
    write_json(status, made)
