"""Kinds of the ``meta`` of files of weights."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from typing_extensions import TypedDict

from shoal.formats.documents.choice import Point

Share = Annotated[float, Field(ge=0, le=1)]


class BudgetFacts(TypedDict):
    """See :class:`shoal.training.budget.Budget`."""

    rows_seen: NonNegativeInt
    base_share: Share
    training_rows: PositiveInt
    epochs: NotRequired[PositiveFloat | None]
    flops: NotRequired[PositiveFloat | None]
    base_flops: NotRequired[NonNegativeFloat]
    batch_rows: NotRequired[NonNegativeInt]
    validation_rows: NotRequired[NonNegativeInt]
    answers: NotRequired[NonNegativeInt]


class BaseFacts(TypedDict):
    """Of the base."""

    budget: BudgetFacts


class AtPoint(TypedDict):
    """Of a model that was trained at a grid point."""

    point: Point


class SpecialistFacts(AtPoint):
    """Of a specialist: also the digest of its training rows, and why it diverged.

    One that continues has its own name in place of a digest, and says what it continues from:
    that one's name, and the SHA-256 of its weights' file.
    """

    digest: str
    rows: NonNegativeInt
    continues: NotRequired[str]
    parent: NotRequired[str]
    diverged: NotRequired[str | None]


class TrainRows(TypedDict):
    """Counts of rows by fold, of which training rows are read."""

    train: NonNegativeInt


class TrainDigest(TypedDict):
    """Digests of rows by fold, of which that of training rows is read."""

    train: str


class BaselineFacts(TypedDict):
    """Of a baseline: which rows it was trained on."""

    trained_on: TrainDigest
    rows: TrainRows


class GeneralistFacts(AtPoint, BaselineFacts):
    """Of the generalist: also what it continues from, if it does."""

    continues: NotRequired[str]
    parent: NotRequired[str]


class RandomFacts(BaselineFacts):
    """Of specialists on random partitions: bounds of the draw and grid points, by number."""

    bounds: list[tuple[float, float]]
    points: dict[int, Point]
    seed: int


class UsualModel(TypedDict):
    """A usual model of tables: what fitting and one answer took, and what was chosen."""

    train_flops: NonNegativeFloat
    inference_flops_per_row: NonNegativeFloat
    chosen: dict[str, float]


class UsualFacts(BaselineFacts):
    """Of the usual models, by name; none where rows are no table."""

    models: dict[Literal["linear_model", "boosted_trees"], UsualModel]
