"""How the winning grid points of partitions moved when the rows changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

What = Literal["same rows", "kept", "moved", "new", "gone"]


@dataclass(frozen=True)
class Move:
    """What became of one partition's winner.

    Attributes:
        partition: Its number.
        what: ``same rows``: neither its training nor its validation rows changed, so it chose
            nothing again; ``kept`` or ``moved``: they did, and the winner is the same or another;
            ``new`` or ``gone``: it has a specialist only now, or only had one before.
        before: The winner's values before; None for ``new``.
        after: The winner's values now; None for ``gone``.
    """

    partition: int
    what: What
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


def moves(before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> list[Move]:
    """What became of each partition's winner.

    Args:
        before: ``winners`` of a release's record: ``partition``, the digests ``train`` and
            ``validation`` of the rows that decided, and the ``point`` with its ``values``.
        after: The same of a later release of the same generation, settings and code.

    Returns:
        One entry for each partition in either, in order of number.
    """
    old = {each["partition"]: each for each in before}
    new = {each["partition"]: each for each in after}
    return [_move(number, old.get(number), new.get(number)) for number in sorted(old | new)]


def _move(
    partition: int, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> Move:
    if before is None or after is None:
        what: What = "new" if before is None else "gone"
    elif all(before[name] == after[name] for name in ("train", "validation")):
        what = "same rows"
    else:
        what = "kept" if before["point"]["id"] == after["point"]["id"] else "moved"
    return Move(partition, what, _values(before), _values(after))


def _values(winner: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    return None if winner is None else winner["point"]["values"]
