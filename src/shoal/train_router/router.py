"""The switch used at inference: for a row, the specialists to ask and their weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from shoal.cluster.assigner import AtomAssigner, assigner_from_state
from shoal.errors import CorruptError, SettingsError
from shoal.formats.stored import Stored, as_kind, check_range, tensor_of
from shoal.train_router.scores import scores_from_tensors
from shoal.training.exact import row_sums

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from shoal.cluster.assigner import ColumnAssigner
    from shoal.train_router.scores import Scores

    Rows = NDArray[np.float32]
    Float64 = NDArray[np.float64]

BASE = -1
"""Number of the expert that is no partition's specialist: the base."""
_PREFIX = "assigner."


class Routes(NamedTuple):
    """Who is asked for each row.

    Attributes:
        experts: Partition number, or BASE, int32 ``(rows, k)``; best first. A slot of weight 0
            holds BASE and is not to be asked.
        weights: float32 ``(rows, k)``; each row sums to one.
        distance: To the nearest prototype, float32 ``(rows,)``; 0 where a column decides.
    """

    experts: NDArray[np.int32]
    weights: Rows
    distance: Rows

    @property
    def leading(self) -> NDArray[np.int32]:
        """The expert with the largest weight for each row, int32 ``(rows,)``."""
        largest = self.weights.argmax(axis=1)
        lead: NDArray[np.int32] = self.experts[np.arange(len(largest)), largest]
        return lead


class _Facts(Stored):
    """Facts of a router, besides its tensors."""

    assigner: dict[str, Any]
    method: Literal["nearest_atom", "knn", "classifier"]
    trained: list[NonNegativeInt]
    top_k: PositiveInt
    temperature: PositiveFloat
    fit_flops: NonNegativeFloat


@dataclass(frozen=True)
class Router:
    """A fitted router; complete in itself, with a copy of the assigner.

    Attributes:
        assigner: Row to partition.
        trained: Numbers of the partitions that have a specialist, ascending.
        method: How the specialists are scored: ``nearest_atom``, ``knn`` or ``classifier``.
        scores: The fitted scores.
        top_k: Specialists asked for a row unless said otherwise.
        temperature: Softness of their weights.
        threshold: Distance beyond which a row goes to the base.
        fit_flops: What fitting it cost.
    """

    assigner: AtomAssigner | ColumnAssigner
    trained: tuple[int, ...]
    method: str
    scores: Scores
    top_k: int
    temperature: float
    threshold: float
    fit_flops: float

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

        Raises:
            SettingsError: ``k`` is below 1.
        """
        if k is not None and k < 1:
            raise SettingsError(f"top_k: 1 or more specialists are asked for a row, not {k}")
        slots = max(1, min(k or self.top_k, len(self.trained)))
        partition, distance, nearest = self._place(embedding, values)
        known = np.isin(partition, self.trained) & (nearest.astype(np.float64) <= self.threshold)
        experts = np.full((len(embedding), slots), BASE, dtype=np.int32)
        weights = np.zeros((len(embedding), slots), dtype=np.float32)
        weights[:, 0] = 1.0
        if self.trained:
            score = self._scores(embedding, partition, distance)
            best = np.argsort(-score, axis=1, kind="stable")[:, :slots]
            weights[known] = self._weights(np.take_along_axis(score, best, axis=1))[known]
            experts[known] = np.array(self.trained, dtype=np.int32)[best][known]
            experts[weights == 0] = BASE
        return Routes(experts, weights, nearest)

    @property
    def flops_per_row(self) -> float:
        """FLOPs of routing one row: assignment and scores."""
        assignment = self.assigner.flops_per_row if isinstance(self.assigner, AtomAssigner) else 0.0
        return assignment + self.scores.flops_per_row

    def _place(
        self, embedding: Rows, values: Sequence[Any] | None
    ) -> tuple[NDArray[np.int32], Rows, Rows]:
        """Partition, distance to each trained partition, and to the nearest of all partitions."""
        if isinstance(self.assigner, AtomAssigner):
            distance = self.assigner.distances_to_partitions(embedding)
            partition = distance.argmin(axis=1).astype(np.int32)
            return partition, distance[:, list(self.trained)], distance.min(axis=1)
        partition = self.assigner.assign(embedding, values)
        nothing = np.zeros((len(embedding), len(self.trained)), dtype=np.float32)
        return partition, nothing, np.zeros(len(embedding), dtype=np.float32)

    def _scores(self, embedding: Rows, partition: NDArray[np.int32], distance: Rows) -> Float64:
        """Float64 ``(rows, trained)``; by column without learning, the value alone decides."""
        if isinstance(self.assigner, AtomAssigner) or self.method != "nearest_atom":
            return self.scores.scores(embedding, distance)
        return np.where(partition[:, None] == np.array(self.trained), 0.0, -np.inf)

    def _weights(self, score: Float64) -> Rows:
        """Softmax of the chosen scores at the temperature, float32 ``(rows, k)``."""
        with np.errstate(invalid="ignore"):
            logits = self.scores.logits(score)
            share = np.exp((logits - logits[:, :1]) / self.temperature)
            weights: Rows = (share / row_sums(share)[:, None]).astype(np.float32)
        return weights

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Tensors and JSON for one safetensors file, the assigner's among them."""
        tensors, assigner = self.assigner.state()
        own = self.scores.tensors() | {"threshold": np.array([self.threshold])}
        meta = {
            "assigner": assigner,
            "method": self.method,
            "trained": list(self.trained),
            "top_k": self.top_k,
            "temperature": self.temperature,
            "fit_flops": self.fit_flops,
        }
        return own | {_PREFIX + name: tensor for name, tensor in tensors.items()}, meta

    @classmethod
    def from_state(cls, tensors: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> Router:
        """The router that gave this state.

        Raises:
            CorruptError: It is no router's state, or one that no fit gives.
        """
        facts = as_kind(_Facts, dict(meta))
        of_assigner = {
            name.removeprefix(_PREFIX): tensor
            for name, tensor in tensors.items()
            if name.startswith(_PREFIX)
        }
        assigner = assigner_from_state(of_assigner, facts.assigner)
        trained = tuple(facts.trained)
        if list(trained) != sorted({*trained} & {*range(assigner.partitions)}):
            raise CorruptError(
                f"trained: {list(trained)[:9]} are not numbers of the {assigner.partitions} "
                f"partitions in order, each once"
            )
        # Where there is nothing to fit it on, no distance is too far.
        threshold = tensor_of(tensors, "threshold", "float64", (1,), finite=False)
        check_range(threshold, "threshold", 0)
        return cls(
            assigner,
            trained,
            facts.method,
            scores_from_tensors(facts.method, tensors, assigner.dims, len(trained)),
            facts.top_k,
            facts.temperature,
            float(threshold[0]),
            facts.fit_flops,
        )
