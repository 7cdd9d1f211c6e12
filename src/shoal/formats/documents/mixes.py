"""Kinds of the document of :mod:`shoal.evaluate.mixes`."""

from __future__ import annotations

from typing_extensions import TypedDict

from shoal.formats.documents.ledger import Flops


class Mix(TypedDict):
    """One of the mixes that are compared.

    Attributes:
        history: Rows of history for each new row.
        loss: Mean loss on the rows that arrived last; None where no row says it.
        recent: Losses added up, those of each release before counted half as much.
    """

    history: float
    loss: float | None
    recent: float


class Mixes(TypedDict):
    """What was found of mixes, as a partition index keeps it for the next release.

    Attributes:
        mixes: All that are compared; the first one is gone on with where they are equal.
        history: History of the one that models continue by.
        rows: Rows that arrived, by which they are compared.
        spent: FLOPs of this comparison and of all before it.
        reason: Why there was nothing to compare; None where there was.
    """

    mixes: list[Mix]
    history: float
    rows: int
    spent: float
    reason: str | None


class ComparedMixes(Flops):
    """``mixes.json``; the account of the job lies beside what was found."""

    found: Mixes
