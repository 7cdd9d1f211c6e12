"""Benchmarks and ledgers of past jobs."""

from __future__ import annotations

import heapq
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MOST = 50
"""Past jobs of one rule that are read."""


@dataclass(frozen=True)
class Benchmark:
    """Snakemake's measurements of one job.

    Attributes:
        seconds: Wall-clock time.
        memory_mb: Peak resident memory of its processes; None where the job was too short.
    """

    seconds: float
    memory_mb: float | None


def read_benchmark(path: Path) -> Benchmark | None:
    """A file that Snakemake's ``benchmark`` wrote; None if it is not there."""
    try:
        head, values = path.read_text().splitlines()[:2]
        found = dict(zip(head.split("\t"), values.split("\t"), strict=True))
        memory = found.get("max_rss", "")
        known = memory.replace(".", "", 1).isdigit()
        return Benchmark(float(found["s"]), float(memory) if known else None)
    except (FileNotFoundError, ValueError, KeyError):
        return None


def benchmarks(root: Path, rule: str, most: int = MOST) -> list[Benchmark]:
    """The newest past jobs of a rule, of all generations of an experiment.

    Args:
        root: The experiment's results folder.
        rule: The rule's name.
        most: As many at most.
    """
    folder = root / "benchmarks"
    folders = [*folder.glob(f"g*/{rule}"), folder / rule]
    paths = (path for each in folders for path in _files(each))
    return [found for path in newest(paths, most) if (found := read_benchmark(path)) is not None]


def newest(paths: Iterable[Path], most: int = MOST) -> list[Path]:
    """The files that were written last, 50 at most."""
    return heapq.nlargest(min(most, MOST), paths, key=lambda path: path.stat().st_mtime)


def _files(folder: Path) -> Iterator[Path]:
    """All files below a folder."""
    for place, _, names in os.walk(folder):
        yield from (Path(place, name) for name in names)
