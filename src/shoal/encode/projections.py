"""How a class of scikit-learn's transforms rows so that each gives the same bits anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.training.exact import BLOCK_ROWS, ExactProduct

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Float64 = NDArray[np.float64]

_PROJECTIONS = (
    "sklearn.decomposition.PCA",
    "sklearn.decomposition.IncrementalPCA",
    "sklearn.decomposition.TruncatedSVD",
    "sklearn.random_projection.GaussianRandomProjection",
    "sklearn.random_projection.SparseRandomProjection",
)
_WITHOUT_PRODUCTS = ("sklearn.preprocessing", "sklearn.feature_extraction")
_OF_THE_USER = "sklearn.preprocessing.FunctionTransformer"


class Projection:
    """A linear projection as scikit-learn fitted it, applied by an exact product."""

    def __init__(self, estimator: Any) -> None:  # noqa: ANN401 - one of _PROJECTIONS
        """Take over mean, components and, where it whitens, deviations."""
        components = estimator.components_
        dense = components.toarray() if hasattr(components, "toarray") else components
        self._product = ExactProduct(dense.T, getattr(estimator, "mean_", 0.0))
        self._spread: Float64 | float = 1.0
        if getattr(estimator, "whiten", False):
            variance = np.asarray(estimator.explained_variance_)
            least = np.finfo(variance.dtype).eps
            self._spread = np.maximum(np.sqrt(variance), least).astype(np.float64)

    def __call__(self, rows: Any) -> Float64:  # noqa: ANN401 - what the class would be given
        """The projected rows, float64 ``(rows, components)``."""
        return self._product(rows) / self._spread


def projection_of(estimator: Any) -> Projection | None:  # noqa: ANN401 - any class
    """The estimator as an exact projection, if it is one of scikit-learn's that is linear."""
    return Projection(estimator) if _name(estimator) in _PROJECTIONS else None


def rows_at_once(estimator: Any) -> int:  # noqa: ANN401 - any class
    """How many rows a class may be given together: one, unless it is known to multiply none."""
    name = _name(estimator)
    alone = name == _OF_THE_USER or name.rpartition(".")[0] not in _WITHOUT_PRODUCTS
    return 1 if alone else BLOCK_ROWS


def _name(estimator: Any) -> str:  # noqa: ANN401 - any class
    """The public name of a class of scikit-learn's: its modules' names below are private."""
    kind = type(estimator)
    return ".".join([*kind.__module__.split(".")[:2], kind.__name__])
