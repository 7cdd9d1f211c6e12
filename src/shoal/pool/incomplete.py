"""Specialists whose training failed, and partitions of a pool that lack them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from shoal.formats.documents.plan import Failed
from shoal.formats.json_file import read_made

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from shoal.formats.documents.index import PlannedEntry
    from shoal.formats.documents.judgement import Lack
    from shoal.formats.documents.plan import FailedSpecialist


@dataclass(frozen=True)
class Failure:
    """A specialist whose training failed at all its attempts.

    Attributes:
        folder: Its folder, ``…/specialists/ID/DIGEST/STEP/SLOT``.
        identity: Identity of its settings and code, or of the decision that filled its slot.
        digest: Digest of the rows that it should be trained on.
        step: Number of its step.
        slot: Id of its grid point; of a later step of a search, the name of its slot.
        reason: Why, in one line.
        log: Log of its job.
    """

    folder: str
    identity: str
    digest: str
    step: str
    slot: str
    reason: str
    log: str

    @property
    def name(self) -> str:
        """``ID/DIGEST/STEP/SLOT``."""
        return f"{self.identity}/{self.digest}/{self.step}/{self.slot}"

    def as_json(self) -> FailedSpecialist:
        """As it is recorded."""
        return cast("FailedSpecialist", asdict(self))

    @property
    def is_over(self) -> bool:
        """Whether it has been trained since."""
        folder = Path(self.folder)
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
    entries: Iterable[PlannedEntry], specialised: Container[int], failures: Iterable[Failure]
) -> list[Lack]:
    """List what each partition of a pool lacks because training failed.

    Args:
        entries: Entries of the partition index.
        specialised: Numbers of the partitions that have a specialist all the same.
        failures: What was left out.

    Returns:
        One entry per partition that lacks something; each reason once.
    """
    by_digest: dict[str, list[Failure]] = {}
    for failure in failures:
        by_digest.setdefault(failure.digest, []).append(failure)
    found: list[Lack] = []
    for entry in entries:
        number = entry["partition"]
        own = by_digest.get(entry["specialist"], [])
        if entry["trained"] and (own or number not in specialised):
            found.append(
                {
                    "partition": number,
                    "specialist": number in specialised,
                    "points": [failure.slot for failure in own],
                    "reasons": sorted({failure.reason for failure in own}),
                }
            )
    return found
