"""The switch used at inference: for a row, the specialists to ask and their weights.

Specialists are scored by nearest atom, neighbours or a classifier: from a row's distances to the
trained partitions and its embedding to one score per trained partition. Scores are made without
logarithms and exponentials, so that who is asked for a row, and in which order, is the same in any
batch and on every processor. The weights need both, and may differ in their last bit between kinds
of processor.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from shoal_edge.distances import Targets
from shoal_edge.exact import ExactProduct, row_sums
from shoal_edge.placing import Atoms, Values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Float64 = NDArray[np.float64]
    Rows = NDArray[np.float32]

BASE = -1
"""Number of the expert that is no partition's specialist: the base."""
GENERALIST = -2
"""Number of the expert that was trained on everything to the pool's total FLOPs."""


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
        """Its state, for :func:`scores_from_tensors`."""

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
        Cover and Hart 1967. FLOPs: ``2 n d`` for n references, a product.
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
        """``2 n d``."""
        return 2.0 * int(self.reference.size)


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
        """``2 d T`` for T trained partitions."""
        return float(self._product.flops_per_row)


class Routes(NamedTuple):
    """Who is asked for each row.

    Attributes:
        experts: Partition number, or BASE, int32 ``(rows, k)``; best first. A slot of weight 0
            holds BASE and is not to be asked.
        weights: float32 ``(rows, k)``; each row sums to one.
        distance: To the nearest prototype, float32 ``(rows,)``; 0 where a column decides.
        partition: In which each row lies, whoever is asked, int32 ``(rows,)``; -1 for none.
    """

    experts: NDArray[np.int32]
    weights: Rows
    distance: Rows
    partition: NDArray[np.int32]

    @property
    def leading(self) -> NDArray[np.int32]:
        """The expert with the largest weight for each row, int32 ``(rows,)``."""
        if self.experts.shape[1] == 1:
            return self.experts[:, 0]
        largest = self.weights.argmax(axis=1)
        lead: NDArray[np.int32] = self.experts[np.arange(len(largest)), largest]
        return lead


@dataclass(frozen=True)
class Routing:
    """What routes rows.

    Attributes:
        assigner: Row to partition.
        trained: Numbers of the partitions that have a specialist, ascending.
        method: How the specialists are scored: ``nearest_atom``, ``knn`` or ``classifier``.
        scores: The fitted scores.
        top_k: Specialists asked for a row unless said otherwise.
        temperature: Softness of their weights.
        threshold: Distance beyond which a row goes to the base.
    """

    assigner: Atoms | Values
    trained: tuple[int, ...]
    method: str
    scores: Scores
    top_k: int
    temperature: float
    threshold: float

    def route(
        self, embedding: Rows, values: Sequence[Any] | None = None, k: int | None = None
    ) -> Routes:
        """Specialists and weights for each row; a row's result is the same in any batch.

        The specialists and their order are the same on every processor, too.

        The base alone answers for rows beyond the threshold, for rows whose partition has no
        specialist, and for rows whose column value was not seen in training.

        Args:
            embedding: float32 ``(rows, dims)``.
            values: The column's values, for an assigner by column.
            k: Specialists asked for a row; never more than there are.
        """
        slots = max(1, min(k or self.top_k, len(self.trained)))
        # Where the nearest partition is asked alone, it needs no scores.
        scored = bool(self.trained) and (slots > 1 or self.method != "nearest_atom")
        by_distance = scored and self.method == "nearest_atom"
        partition, distance, nearest = self._place(embedding, values, by_distance=by_distance)
        has_specialist = np.zeros(self.assigner.partitions + 1, dtype=bool)  # the last: of none
        has_specialist[list(self.trained)] = True
        known = has_specialist[partition] & (nearest.astype(np.float64) <= self.threshold)
        experts = np.full((len(embedding), slots), BASE, dtype=np.int32)
        weights = np.zeros((len(embedding), slots), dtype=np.float32)
        weights[:, 0] = 1.0
        if not scored:
            experts[known, 0] = partition[known]
        else:
            score = self._scores(embedding, partition, distance)
            best = np.argsort(-score, axis=1, kind="stable")[:, :slots]
            weights[known] = self._weights(np.take_along_axis(score, best, axis=1))[known]
            experts[known] = np.array(self.trained, dtype=np.int32)[best][known]
            experts[weights == 0] = BASE
        return Routes(experts, weights, nearest, partition)

    def _place(
        self, embedding: Rows, values: Sequence[Any] | None, *, by_distance: bool
    ) -> tuple[NDArray[np.int32], Rows, Rows]:
        """Partition, distance to each trained partition, and to the nearest of all partitions.

        The second is zero where scores are not ``by_distance``.
        """
        nothing = np.zeros((len(embedding), len(self.trained)), dtype=np.float32)
        if not isinstance(self.assigner, Atoms):
            if values is None:
                raise ValueError(f"the values of column {self.assigner.column!r} are needed")
            partition = self.assigner.from_values(values)
            return partition, nothing, np.zeros(len(embedding), dtype=np.float32)
        if not by_distance:
            partition, _, nearest = self.assigner.nearest(embedding)
            return partition, nothing, nearest
        distance = self.assigner.distances_to_partitions(embedding)
        partition = distance.argmin(axis=1).astype(np.int32)
        return partition, distance[:, list(self.trained)], distance.min(axis=1)

    def _scores(self, embedding: Rows, partition: NDArray[np.int32], distance: Rows) -> Float64:
        """Float64 ``(rows, trained)``; by column without learning, the value alone decides."""
        if isinstance(self.assigner, Atoms) or self.method != "nearest_atom":
            return self.scores.scores(embedding, distance)
        return np.where(partition[:, None] == np.array(self.trained), 0.0, -np.inf)

    def _weights(self, score: Float64) -> Rows:
        """Softmax of the chosen scores at the temperature, float32 ``(rows, k)``."""
        with np.errstate(invalid="ignore"):
            logits = self.scores.logits(score)
            share = np.exp((logits - logits[:, :1]) / self.temperature)
            weights: Rows = (share / row_sums(share)[:, None]).astype(np.float32)
        return weights


def with_generalist(routes: Routes, shares: Mapping[int, float]) -> Routes:
    """Give the generalist its share of each row's answer.

    It stands last among a row's experts, so that of equal weights the specialist's leads. A row
    whose experts are not all there is as one that no specialist leads.

    Args:
        routes: Those of the router.
        shares: Share of the router's answer in that to a row, by the expert that leads it, each
            specialist that is there or :data:`BASE`, in [0, 1]; the rest is the generalist's.
    """
    numbers = np.array(sorted(shares), dtype=np.int32)
    absent = np.asarray(np.isin(routes.experts, numbers, invert=True).any(axis=1))
    if absent.any():
        alone = (np.arange(routes.weights.shape[1]) == 0).astype(np.float32)
        routes = routes._replace(
            experts=np.where(absent[:, None], np.int32(BASE), routes.experts),
            weights=np.where(absent[:, None], alone, routes.weights),
        )
    if min(shares.values(), default=1) >= 1:
        return routes
    share = np.array([shares[number] for number in numbers.tolist()], dtype=np.float32)
    own = share[np.searchsorted(numbers, routes.leading)]
    whole = np.where(own < 1, GENERALIST, BASE)  # a slot of weight 0 holds the base
    specialists = np.where(own[:, None] > 0, routes.experts, BASE)
    experts = np.column_stack([specialists, whole]).astype(np.int32)
    weights = np.column_stack([routes.weights * own[:, None], 1 - own])
    return routes._replace(experts=experts, weights=weights)
