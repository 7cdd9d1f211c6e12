"""Specialists whose training failed, and partitions of a pool that lack them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from shoal.formats.documents.plan import Failed
from shoal.formats.json_file import read_made

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from shoal.formats.documents.index import PlannedEntry
    from shoal.formats.documents.judgement import Lack
    from shoal.formats.documents.plan import FailedSpecialist


def name_of(failed: FailedSpecialist) -> str:
    """``ID/DIGEST/STEP/SLOT``."""
    return "/".join((failed["identity"], failed["digest"], failed["step"], failed["slot"]))


def is_over(failed: FailedSpecialist) -> bool:
    """Whether it has been trained since."""
    folder = Path(failed["folder"])
    return all((folder / name).exists() for name in ("model.safetensors", "ledger.json"))


def read_failed(path: Path) -> list[FailedSpecialist]:
    """The record of an experiment; empty where nothing has failed.

    Args:
        path: Its ``failed.json``.
    """
    return read_made(path, Failed)["specialists"] if path.exists() else []


def incomplete(
    entries: Iterable[PlannedEntry],
    specialised: Container[int],
    failures: Iterable[FailedSpecialist],
) -> list[Lack]:
    """List what each partition of a pool lacks because training failed.

    Args:
        entries: Entries of the partition index.
        specialised: Numbers of the partitions that have a specialist all the same.
        failures: What was left out.

    Returns:
        One entry per partition that lacks something; each reason once.
    """
    by_digest: dict[str, list[FailedSpecialist]] = {}
    for failure in failures:
        by_digest.setdefault(failure["digest"], []).append(failure)
    found: list[Lack] = []
    for entry in entries:
        number = entry["partition"]
        own = by_digest.get(entry["specialist"], [])
        if entry["trained"] and (own or number not in specialised):
            found.append(
                {
                    "partition": number,
                    "specialist": number in specialised,
                    "points": [failure["slot"] for failure in own],
                    "reasons": sorted({failure["reason"] for failure in own}),
                }
            )
    return found
