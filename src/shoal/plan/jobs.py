"""The jobs of the workflow: a rule, what it is about, the files that it makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


@dataclass(frozen=True)
class Job:
    """One job of the workflow.

    Attributes:
        rule: Name of its rule.
        wildcards: Shard, digests, grid point and the like by which it differs from the other jobs
            of its rule; empty where it is the only one.
        outputs: Files that it makes.
        partition: Number of the partition that it is about, or None.
    """

    rule: str
    wildcards: Mapping[str, str]
    outputs: tuple[Path, ...]
    partition: int | None = None

    @property
    def about(self) -> str:
        """The wildcards in one word, such as ``DIGEST/POINT``; validation rows left out."""
        return "/".join(v for name, v in self.wildcards.items() if name != "validation")

    @property
    def missing(self) -> list[Path]:
        """Its files that are not there."""
        return [path for path in self.outputs if not path.exists()]


def files_of(jobs: Iterable[Job]) -> list[Path]:
    """All files that the jobs make."""
    return [path for job in jobs for path in job.outputs]
