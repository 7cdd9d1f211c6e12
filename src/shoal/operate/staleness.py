"""Compare a new partition index with the published one, partition by partition."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from shoal.formats.kinds import FOLDS

if TYPE_CHECKING:
    from collections.abc import Container

    from shoal.formats.documents.index import (
        Continued,
        Counts,
        PlannedEntry,
        PlannedIndex,
        Rewound,
        Waiting,
    )
    from shoal.formats.kinds import Fold

Status = Literal[
    "fresh", "changed", "continued", "rewound", "new", "gone", "waiting", "untrained", "failed"
]


@dataclass(frozen=True)
class PartitionState:
    """One partition, before and after.

    Attributes:
        partition: Its number.
        status: ``fresh``: nothing about it is different and none of its jobs would run;
            ``changed``: its rows are others, or a job of it would run; ``continued``: its
            specialist goes on from the one before; ``rewound``: from one before that, or is that
            one, since rows were removed; ``new``: it gets its first
            specialist under this assigner; ``gone``: it has too few training rows by now and
            loses its specialist; ``failed``: the pool is made without one, because its training
            failed; ``waiting``: it keeps the specialist that it has until more rows
            have changed; ``untrained``: it has too few training rows, as before.
        rows_before: Rows by fold in the published index; None where there is none.
        rows_after: Rows by fold; None where they are not known yet.
        folds: Folds whose rows are others than in the published index.
        waiting: Where it waits, what the index says about it.
        continued: Where its specialist continues, or did before, what the index says about it.
        rewound: Where its specialist goes on from an earlier one, or is it, what the index says.
        cold: Why its specialist does not continue, if it might have.
        waited: Whether it waited in the published index and no longer does.
    """

    partition: int
    status: Status
    rows_before: Counts | None
    rows_after: Counts | None
    folds: tuple[Fold, ...]
    waiting: Waiting | None = None
    continued: Continued | None = None
    rewound: Rewound | None = None
    cold: str = ""
    waited: bool = False


def partition_states(
    before: PlannedIndex | None,
    after: PlannedIndex,
    stale: Container[int],
    failed: Container[int] = (),
) -> list[PartitionState]:
    """The state of every partition, in order of number.

    Args:
        before: Content of the published index, of the same assigner; None where there is none.
        after: Content of the current index, or placeholders for it.
        stale: Numbers of the partitions of which a job would run.
        failed: Numbers of those that the pool is made without a specialist of.
    """
    held = {entry["partition"]: entry for entry in before["partitions"]} if before else {}
    found = {entry["partition"]: entry for entry in after["partitions"]}
    return [
        replace(state, status="failed") if number in failed else state
        for number in sorted({*held, *found})
        for state in [_state(number, held.get(number), found.get(number), number in stale)]
    ]


def _state(
    number: int, old: PlannedEntry | None, new: PlannedEntry | None, stale: bool
) -> PartitionState:
    folds: tuple[Fold, ...] = ()
    if old is not None and new is not None:
        folds = tuple(fold for fold in FOLDS if old["digests"][fold] != new["digests"][fold])
    waiting = None if new is None else new.get("waiting")
    is_other = new is not None and old is not None and old["specialist"] != new["specialist"]
    return PartitionState(
        partition=number,
        status=_status(old, new, bool(folds) or stale),
        rows_before=None if old is None else old.get("rows"),
        rows_after=None if new is None else new.get("rows"),
        folds=folds,
        waiting=waiting,
        continued=new.get("continued") if new is not None and is_other else None,
        rewound=new.get("rewound") if new is not None and is_other else None,
        cold=new.get("cold", "") if new is not None and is_other else "",
        waited=old is not None and "waiting" in old and waiting is None,
    )


def _status(old: PlannedEntry | None, new: PlannedEntry | None, different: bool) -> Status:
    had = old is not None and bool(old["trained"])
    if new is None or not new["trained"]:
        return "gone" if had else "untrained"
    if old is None or not had:
        return "new"
    if "waiting" in new:
        return "waiting"
    if old["specialist"] != new["specialist"]:
        if "rewound" in new:
            return "rewound"
        return "continued" if "continued" in new else "changed"
    return "changed" if different else "fresh"
