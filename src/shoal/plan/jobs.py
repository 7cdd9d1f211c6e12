"""The jobs of the workflow: a rule, what it is about, the files that it makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@dataclass(frozen=True)
class Job:
    """One job of the workflow.

    Attributes:
        rule: Name of its rule.
        about: Shard, partition digest or grid point that it is about; empty where it is the
            only one of its rule.
        outputs: Files that it makes.
        partition: Number of the partition that it is about, or None.
    """

    rule: str
    about: str
    outputs: tuple[Path, ...]
    partition: int | None = None

    @property
    def missing(self) -> list[Path]:
        """Its files that are not there."""
        return [path for path in self.outputs if not path.exists()]


def files_of(jobs: Iterable[Job]) -> list[Path]:
    """All files that the jobs make."""
    return [path for job in jobs for path in job.outputs]
