"""The router as a fit makes it and files hold it; :mod:`shoal_edge.routing` routes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from shoal.cluster.assigner import AtomAssigner, assigner_from_state
from shoal.errors import CorruptError, SettingsError
from shoal.formats.fitted_state import State
from shoal.formats.stored import Stored, as_kind, check_range, tensor_of
from shoal_edge.routing import ByClassifier, ByDistance, ByNeighbours, Routing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from shoal.cluster.assigner import ColumnAssigner
    from shoal.formats.fitted_state import Tensors
    from shoal_edge.routing import Routes, Scores

    Float64 = NDArray[np.float64]
    Rows = NDArray[np.float32]

_ROUNDING = 1e-3


def scores_from_tensors(method: str, tensors: Tensors, dims: int | None, trained: int) -> Scores:
    """The scores whose tensors these are.

    Args:
        method: Which scores.
        tensors: Those of :meth:`Scores.tensors`, and others.
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


_PREFIX = "assigner."


class _Facts(Stored):
    """Facts of a router, besides its tensors."""

    assigner: dict[str, object]
    method: Literal["nearest_atom", "knn", "classifier"]
    trained: list[NonNegativeInt]
    top_k: PositiveInt
    temperature: PositiveFloat
    fit_flops: NonNegativeFloat


@dataclass(frozen=True)
class Router(Routing):
    """A fitted router; complete in itself, with a copy of the assigner.

    Attributes:
        fit_flops: FLOPs of fitting its scores; the distances of rows are those of their assignment.
    """

    assigner: AtomAssigner | ColumnAssigner
    fit_flops: float

    def route(
        self, embedding: Rows, values: Sequence[Any] | None = None, k: int | None = None
    ) -> Routes:
        """As :meth:`shoal_edge.routing.Routing.route`.

        Raises:
            SettingsError: ``k`` is below 1.
        """
        if k is not None and k < 1:
            raise SettingsError(f"top_k: 1 or more specialists are asked for a row, not {k}")
        return super().route(embedding, values, k)

    def softened(self, softness: float | None) -> Router:
        """The router that asks two specialists a row, with weights of this temperature.

        Args:
            softness: The temperature; None for the router as it is.
        """
        if softness is None:
            return self
        return replace(self, top_k=2, temperature=softness)

    @property
    def flops_per_row(self) -> float:
        """FLOPs of routing one row: assignment and scores."""
        return self.assigner.flops_per_row + self.scores.flops_per_row

    def state(self) -> State:
        """State for one safetensors file, the assigner's included."""
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
        return State(own | {_PREFIX + name: tensor for name, tensor in tensors.items()}, meta)

    @classmethod
    def from_state(cls, tensors: Tensors, meta: Mapping[str, object]) -> Router:
        """The router whose :meth:`state` this is.

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
