"""How a router scores the specialists for a row: by nearest atom, neighbours or a classifier.

Each takes a row's distances to the trained partitions and its embedding, and gives one score a
trained partition. Scores are made without logarithms and exponentials, so that who is asked for a
row, and in which order, is the same in any batch and on every processor. The weights need both,
and may differ in their last bit between kinds of processor.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from shoal.cluster.distances import Targets
from shoal.errors import CorruptError
from shoal.formats.stored import check_range, tensor_of
from shoal.training.exact import ExactProduct, row_sums

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Float64 = NDArray[np.float64]
    Rows = NDArray[np.float32]

_ROUNDING = 1e-3


class Scores(Protocol):
    """Scores of the trained partitions."""

    def scores(self, embedding: Rows, distance: Rows) -> Float64:
        """Score of each trained partition, float64 ``(rows, trained)``: the larger the likelier.

        Args:
            embedding: float32 ``(rows, dims)``.
            distance: To each trained partition, float32 ``(rows, trained)``.
        """

    def logits(self, scores: Float64) -> Float64:
        """Logarithms of the probabilities that scores stand for, up to a constant a row."""

    def tensors(self) -> dict[str, NDArray[Any]]:
        """What it needs to be built again."""

    @property
    def flops_per_row(self) -> float:
        """FLOPs of scoring one row, distances to the partitions not counted."""


@dataclass(frozen=True)
class ByDistance:
    """The nearer the likelier: ``-d^2 / (2 s^2)``, normalised.

    Attributes:
        scale: ``s``, the median distance of validation rows to their nearest prototype.
    """

    scale: float

    def scores(self, embedding: Rows, distance: Rows) -> Float64:  # noqa: ARG002 - the others'
        """Float64 ``(rows, trained)``."""
        wide = distance.astype(np.float64)
        return -(wide * wide) / (2.0 * self.scale * self.scale)

    def logits(self, scores: Float64) -> Float64:
        """The scores."""
        return scores

    def tensors(self) -> dict[str, NDArray[Any]]:
        """The scale."""
        return {"scale": np.array([self.scale])}

    @property
    def flops_per_row(self) -> float:
        """None worth counting."""
        return 0.0


@dataclass(frozen=True)
class ByNeighbours:
    """Mean target of the nearest reference rows.

    Attributes:
        reference: float32 ``(references, dims)``.
        target: float32 ``(references, trained)``; each row sums to one.
        neighbours: Rows that vote; all where there are fewer.

    Source:
        Cover and Hart 1967. FLOPs: ``3 n d`` for n references.
    """

    reference: Rows
    target: Rows
    neighbours: int

    def scores(self, embedding: Rows, distance: Rows) -> Float64:  # noqa: ARG002 - the others'
        """Mean target, float64 ``(rows, trained)``."""
        votes = min(self.neighbours, len(self.reference))
        near = Targets(self.reference).neighbours(embedding, votes).points
        return row_sums(np.moveaxis(self.target[near], 1, -1).astype(np.float64)) / votes

    def logits(self, scores: Float64) -> Float64:
        """Their logarithm; minus infinity where no neighbour's target points."""
        with np.errstate(divide="ignore"):
            return np.log(scores)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """References, targets and how many vote."""
        votes = np.array([self.neighbours], dtype=np.int64)
        return {"reference": self.reference, "target": self.target, "neighbours": votes}

    @property
    def flops_per_row(self) -> float:
        """``3 n d``."""
        return 3.0 * int(self.reference.size)


@dataclass(frozen=True)
class ByClassifier:
    """Multinomial logistic regression on the embedding.

    Attributes:
        weight: float64 ``(dims, trained)``.
        bias: float64 ``(trained,)``.
    """

    weight: Float64
    bias: Float64

    def scores(self, embedding: Rows, distance: Rows) -> Float64:  # noqa: ARG002 - the others'
        """Float64 ``(rows, trained)``."""
        return self._product(embedding) + self.bias

    def logits(self, scores: Float64) -> Float64:
        """The scores."""
        return scores

    @cached_property
    def _product(self) -> ExactProduct:
        return ExactProduct(self.weight)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Weight and bias."""
        return {"weight": self.weight, "bias": self.bias}

    @property
    def flops_per_row(self) -> float:
        """``6 d T`` for T trained partitions: the exact product is three."""
        return float(self._product.flops_per_row)


def scores_from_tensors(
    method: str, tensors: Mapping[str, NDArray[Any]], dims: int | None, trained: int
) -> Scores:
    """The scores that gave these tensors.

    Args:
        method: Which scores.
        tensors: What :meth:`Scores.tensors` gave, and others.
        dims: Width of the embedding; None where the assigner does not tell.
        trained: Number of trained partitions.

    Raises:
        CorruptError: They are not of such scores, or of some that no fit gives.
    """
    if method == "knn":
        reference = tensor_of(tensors, "reference", "float32", (None, dims))
        target = tensor_of(tensors, "target", "float32", (len(reference), trained))
        check_range(target, "target", 0, 1 + _ROUNDING)
        votes = tensor_of(tensors, "neighbours", "int64", (1,))
        check_range(votes, "neighbours", 1)
        return ByNeighbours(reference, target, int(votes[0]))
    if method == "classifier":
        weight = tensor_of(tensors, "weight", "float64", (dims, trained))
        # A specialist that is no row's best has minus infinity.
        bias = tensor_of(tensors, "bias", "float64", (trained,), finite=False)
        if not np.isfinite(bias.max()):
            raise CorruptError(f"tensor 'bias' holds {bias.max()} at most, it must be finite")
        return ByClassifier(weight, bias)
    scale = tensor_of(tensors, "scale", "float64", (1,))
    check_range(scale, "scale", float(np.finfo(np.float64).tiny))
    return ByDistance(float(scale[0]))


def log_softmax(logits: Float64) -> Float64:
    """Logarithm of the softmax over the last axis; empty where it is empty."""
    if not logits.shape[1]:
        return logits
    shifted = logits - logits.max(axis=1, keepdims=True)
    normalised: Float64 = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return normalised
