"""Kinds of decisions by a partition's validation rows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NotRequired

from typing_extensions import TypedDict

from shoal.formats.documents.ledger import Artifact

Point = dict[str, Any]
"""Values of a grid point by hyperparameter."""


class Deciding(TypedDict):
    """Digests of the rows that decided a choice."""

    train: str
    validation: str


class Margin(TypedDict):
    """How far the chosen point is ahead of the next best."""

    point: str
    value: float
    error: float | None
    units: NotRequired[int]


class Following(TypedDict):
    """A :class:`shoal.search.steps.Next`."""

    point: Point
    after: str | None
    diverged: str | None


class Choice(Artifact):
    """The grid point that a partition chose after a step of its search, and what follows."""

    partition: int
    digests: Deciding
    rows: int
    units: NotRequired[int]
    point: str
    points: dict[str, Point]
    specialist: str
    losses: dict[str, float]
    margin: Margin | None
    next: list[Following]


def chosen_file(path: Path, choice: Choice) -> Path:
    """Weights of the chosen specialist.

    Args:
        path: The choice's file; its ``specialist`` is relative to the folder of this file, so that
            a results folder may have another name later.
        choice: Its content.
    """
    return Path(os.path.normpath(path.parent / choice["specialist"]))
