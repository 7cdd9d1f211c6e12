"""Kinds of the ``meta`` of the files of :mod:`shoal.ask.command`."""

from __future__ import annotations

from typing import Literal, NotRequired

from pydantic import NonNegativeFloat, NonNegativeInt
from typing_extensions import TypedDict


class Labels(TypedDict):
    """Training labels: how many, and their sum, or how many there are of each class."""

    rows: NonNegativeInt
    sums: list[float]


class AnswersFacts(TypedDict):
    """Of a partition's answers.

    Attributes:
        partition: Its number.
        specialist: Whether it has a specialist.
        flops: FLOPs of one answer to a row.
        embedding_flops: FLOPs of embedding a row.
        mixing: How answers of several models mix; see :data:`shoal.training.tasks.Mixing`.
        density: Whether a loss is -log of a density or probability.
        labels: Training labels, where the fold is test.
    """

    partition: int
    specialist: bool
    flops: NonNegativeFloat
    embedding_flops: NonNegativeFloat
    mixing: Literal["mean", "density", "leading"]
    density: bool
    labels: NotRequired[Labels]
