"""Encoders of numeric columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NotRequired

import numpy as np

from shoal.encode.column import (
    ColumnEncoder,
    Gaps,
    Target,
    fill_gaps,
    fit_gaps,
    gap_names,
    open_gaps,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shoal.encode.column import Floats

_QUANTILES = 1000


class _Fitted(Gaps):
    estimator: NotRequired[Any]


class _Numeric(ColumnEncoder):
    """Gaps become the training mean and, where training had any, a feature of their own."""

    kinds = ("numeric",)
    Fitted: ClassVar[Any] = _Fitted

    def fit(self, values: NDArray[Any], target: Target) -> None:  # noqa: ARG002
        self.fitted = fit_gaps(values, self.column)
        estimator = self._estimator(len(values))
        if estimator is not None:
            self.fitted["estimator"] = estimator.fit(fill_gaps(values, self.fitted)[0])

    def _estimator(self, rows: int) -> Any:  # noqa: ANN401, ARG002 - a scikit-learn transformer
        return None

    @property
    def estimator_class(self) -> type:
        return type(self._estimator(1))

    def encode(self, values: NDArray[Any]) -> Floats:
        filled, marks = fill_gaps(values, self.fitted)
        if "estimator" in self.fitted:
            filled = self.fitted["estimator"].transform(filled)
        with np.errstate(over="ignore"):  # what is not finite is reported by the caller
            return np.concatenate([filled.astype(np.float32), marks], axis=1)

    def decode(self, features: Floats) -> NDArray[np.float64]:
        values = features[:, :1].astype(np.float64)
        if "estimator" in self.fitted:
            values = self.fitted["estimator"].inverse_transform(values)
        return open_gaps(values[:, 0], features, self.fitted)

    @property
    def names(self) -> list[str]:
        return [self.column, *gap_names(self.column, self.fitted)]


class Scale(_Numeric):
    """Less the training mean, over the training standard deviation (0 for a constant column)."""

    name = "scale"

    def _estimator(self, rows: int) -> Any:  # noqa: ANN401, ARG002
        from sklearn.preprocessing import StandardScaler

        return StandardScaler()


class Quantile(_Numeric):
    """The normal deviate of the value's quantile among training rows; robust to outliers."""

    name = "quantile"

    def _estimator(self, rows: int) -> Any:  # noqa: ANN401
        from sklearn.preprocessing import QuantileTransformer

        return QuantileTransformer(
            n_quantiles=min(_QUANTILES, rows), output_distribution="normal", subsample=None
        )


class Rank(_Numeric):
    """The value's rank among training values, from 0 to 1; between two of them in proportion."""

    name = "rank"

    def _estimator(self, rows: int) -> Any:  # noqa: ANN401
        from sklearn.preprocessing import QuantileTransformer

        # As many quantiles as rows: the training values themselves. Equal ones share a rank.
        return QuantileTransformer(n_quantiles=rows, subsample=None)


class Passthrough(_Numeric):
    """The value itself."""

    name = "passthrough"
