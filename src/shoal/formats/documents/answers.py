"""Kinds of the ``meta`` of the files of :mod:`shoal.ask.command`."""

from __future__ import annotations

from typing import NotRequired

from pydantic import NonNegativeFloat, NonNegativeInt
from typing_extensions import TypedDict


class Labels(TypedDict):
    """Training labels: how many, and their sum, or how many there are of each class."""

    rows: NonNegativeInt
    sums: list[float]


class AnswersFacts(TypedDict):
    """Of a partition's answers: whether it has a specialist, and FLOPs of one answer to a row."""

    partition: int
    specialist: bool
    flops: NonNegativeFloat
    labels: NotRequired[Labels]
