"""What a pool lacks because the training of some specialists failed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoal.formats.documents.plan import Failed
from shoal.formats.json_file import read_made

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from shoal.formats.documents.plan import FailedSpecialist


@dataclass(frozen=True)
class Failure:
    """A specialist whose training failed at all its attempts.

    Attributes:
        specialists: Folder of the specialists that it belongs to.
        digest: Digest of the rows that it should be trained on.
        point: Id of its grid point.
        reason: Why, in one line.
        log: Log of its job.
    """

    specialists: str
    digest: str
    point: str
    reason: str
    log: str

    @property
    def name(self) -> str:
        """``DIGEST/POINT``."""
        return f"{self.digest}/{self.point}"

    def as_json(self) -> FailedSpecialist:
        """As it is recorded."""
        return {
            "specialists": self.specialists,
            "digest": self.digest,
            "point": self.point,
            "reason": self.reason,
            "log": self.log,
        }

    @property
    def is_over(self) -> bool:
        """Whether it has been trained since."""
        folder = Path(self.specialists, self.name)
        return all((folder / name).exists() for name in ("model.safetensors", "ledger.json"))


def read_failed(path: Path) -> list[Failure]:
    """The record of an experiment; empty where nothing has failed.

    Args:
        path: Its ``failed.json``.
    """
    return (
        [Failure(**entry) for entry in read_made(path, Failed)["specialists"]]
        if path.exists()
        else []
    )


def incomplete(
    entries: Iterable[Mapping[str, Any]], specialised: Container[int], failures: Iterable[Failure]
) -> list[dict[str, Any]]:
    """What a pool lacks because training failed, a partition at a time.

    Args:
        entries: Entries of the partition index.
        specialised: Numbers of the partitions that have a specialist all the same.
        failures: What was left out.

    Returns:
        For each partition: its ``partition``, whether it has a ``specialist`` from another grid
        point, the ``points`` that it lacks, and the ``reasons``, each once.
    """
    by_digest: dict[str, list[Failure]] = {}
    for failure in failures:
        by_digest.setdefault(failure.digest, []).append(failure)
    found = []
    for entry in entries:
        number = int(entry["partition"])
        own = by_digest.get(entry["specialist"], [])
        if entry["trained"] and (own or number not in specialised):
            found.append(
                {
                    "partition": number,
                    "specialist": number in specialised,
                    "points": [failure.point for failure in own],
                    "reasons": sorted({failure.reason for failure in own}),
                }
            )
    return found


def incomplete_line(lack: Mapping[str, Any]) -> str:
    """One entry of :func:`incomplete` as a person reads it."""
    without = "a specialist"
    if lack["specialist"]:
        count = len(lack["points"])
        without = f"{count} grid point{'s' if count > 1 else ''}"
    reasons = "; ".join(lack["reasons"]) or "its training failed"
    return f"incomplete: partition {lack['partition']} without {without}, because {reasons}"
