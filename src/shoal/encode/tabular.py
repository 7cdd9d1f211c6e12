"""Encoders of numeric and categorical columns, one feature or several per column."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, ClassVar, NotRequired

import numpy as np
import pyarrow as pa

from shoal.encode.column import (
    ColumnEncoder,
    Estimator,
    Gaps,
    Target,
    fill_gaps,
    fit_gaps,
    gap_names,
    no_value,
    open_gaps,
)
from shoal.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shoal.encode.column import Floats

_QUANTILES = 1000


class _NumericFitted(Gaps):
    estimator: NotRequired[Any]


class _Numeric(ColumnEncoder):
    """A number.

    Missing: the training mean, and 1 in a further feature where training had gaps.
    """

    kinds = ("numeric",)
    Fitted: ClassVar[Any] = _NumericFitted

    def fit(self, values: NDArray[Any], target: Target) -> None:  # noqa: ARG002
        self.fitted = fit_gaps(values, self.column)
        estimator = self.estimator(len(values))
        if estimator is not None:
            self.fitted["estimator"] = estimator.fit(fill_gaps(values, self.fitted)[0])

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
    """Less the training mean, over the training standard deviation (0 for a constant column).

    Unseen: scaled.
    """

    name = "scale"

    def estimator(self, rows: int) -> Any:  # noqa: ANN401, ARG002
        """scikit-learn's."""
        from sklearn.preprocessing import StandardScaler

        return StandardScaler()


class Quantile(_Numeric):
    """The normal deviate of the value's quantile among training rows; robust to outliers.

    Unseen: mapped, beyond the ends to the end.
    """

    name = "quantile"

    def estimator(self, rows: int) -> Any:  # noqa: ANN401
        """scikit-learn's."""
        from sklearn.preprocessing import QuantileTransformer

        return QuantileTransformer(
            n_quantiles=min(_QUANTILES, rows), output_distribution="normal", subsample=None
        )


class Rank(_Numeric):
    """The value's rank among training values, from 0 to 1; between two of them in proportion.

    Unseen: mapped, beyond the ends to the end.
    """

    name = "rank"

    def estimator(self, rows: int) -> Any:  # noqa: ANN401
        """scikit-learn's."""
        from sklearn.preprocessing import QuantileTransformer

        # As many quantiles as rows: the training values themselves. Equal ones share a rank.
        return QuantileTransformer(n_quantiles=rows, subsample=None)


class Passthrough(_Numeric):
    """The value itself.

    Unseen: left as it is.
    """

    name = "passthrough"


class _Categorical(ColumnEncoder):
    """A category.

    Missing: a category of its own where training had gaps, else as unseen.
    """

    kinds = ("categorical", "text")
    Fitted: ClassVar[Any] = Estimator

    def encode(self, values: NDArray[Any]) -> Floats:
        encoded = pa.array(values, pa.string()).dictionary_encode()
        distinct = np.array([*encoded.dictionary.to_pylist(), None], dtype=object)
        places = np.asarray(encoded.indices.fill_null(len(distinct) - 1))
        features: Floats = self.encode_distinct(distinct)[places]
        return features

    def encode_distinct(self, values: NDArray[Any]) -> Floats:
        """Features of some categories, ``(categories, features)``."""
        encoded = self.fitted["estimator"].transform(values[:, np.newaxis])
        return np.asarray(encoded, dtype=np.float32)


class OneHot(_Categorical):
    """One feature per category of the training fold.

    Unseen: 0 in every feature.
    """

    name = "one_hot"

    def estimator(self, rows: int) -> Any:  # noqa: ANN401, ARG002
        """scikit-learn's."""
        from sklearn.preprocessing import OneHotEncoder

        return OneHotEncoder(handle_unknown="ignore", sparse_output=False, dtype=np.float32)

    def fit(self, values: NDArray[Any], target: Target) -> None:  # noqa: ARG002
        """Learn the categories."""
        self.fitted = {"estimator": self.estimator(len(values)).fit(values[:, np.newaxis])}

    def decode(self, features: Floats) -> NDArray[Any]:
        """Categories; None for a gap, and where no feature is 1."""
        values = self.fitted["estimator"].inverse_transform(features)
        return np.asarray(values, dtype=object)[:, 0]

    @property
    def names(self) -> list[str]:
        """``column=category``, and ``column (missing)``."""
        (categories,) = self.fitted["estimator"].categories_
        return [
            f"{self.column} (missing)" if category is None else f"{self.column}={category}"
            for category in categories.tolist()
        ]


class Ordinal(_Categorical):
    """The category's place among the sorted ones of the training fold.

    Missing: -2.
    Unseen: -1.
    """

    name = "ordinal"

    def estimator(self, rows: int) -> Any:  # noqa: ANN401, ARG002
        """scikit-learn's."""
        from sklearn.preprocessing import OrdinalEncoder

        return OrdinalEncoder(
            handle_unknown="use_encoded_value", unknown_value=-1, dtype=np.float32
        )

    def fit(self, values: NDArray[Any], target: Target) -> None:  # noqa: ARG002
        """Learn the categories, sorted.

        Raises:
            DataError: The column has no value at all.
        """
        present = np.array([value for value in values if value is not None], dtype=object)
        if not len(present):
            raise no_value(self.column, len(values))
        self.fitted = {"estimator": self.estimator(len(present)).fit(present[:, np.newaxis])}

    def encode_distinct(self, values: NDArray[Any]) -> Floats:
        """One feature, a whole number."""
        encoded = super().encode_distinct(values)
        encoded[[value is None for value in values]] = -2
        return encoded

    def decode(self, features: Floats) -> NDArray[Any]:
        """Categories; None for a gap, and for an unseen category."""
        (categories,) = self.fitted["estimator"].categories_
        # -1 and -2 find the two that stand last.
        known: NDArray[Any] = np.array([*categories, None, None], dtype=object)
        values: NDArray[Any] = known[features[:, 0].astype(np.int64)]
        return values

    @property
    def names(self) -> list[str]:
        """The column's name."""
        return [self.column]


class _TargetFitted(Estimator):
    names: list[str]


class TargetMean(_Categorical):
    """The label's mean among training rows of the category, shrunk towards the overall mean.

    One feature for numbers and for two classes, one per class for more. Training rows are encoded
    with means that their own labels are part of, since every row is encoded alike: prefer
    ``one_hot`` where categories are rare.

    Unseen: the label's mean (a class's share) over the training rows.

    Source:
        Micci-Barreca 2001, as scikit-learn's ``TargetEncoder``.
    """

    name = "target"
    Fitted: ClassVar[Any] = _TargetFitted

    def estimator(self, rows: int) -> Any:  # noqa: ANN401, ARG002
        """scikit-learn's."""
        from sklearn.preprocessing import TargetEncoder

        return TargetEncoder(random_state=self.place.seed)

    def fit(self, values: NDArray[Any], target: Target) -> None:
        """Learn the label's mean in each category.

        Raises:
            DataError: The sample holds one class only.
        """
        kind = "continuous"
        names = [f"{self.column} (mean label)"]
        if target.classes is not None:
            codes = np.unique(target.y).tolist()
            if len(codes) < 2:
                raise DataError(
                    f"column {self.column!r}: the rows that encoders are fitted on hold one class "
                    f"only; raise encode.fit_rows or use another encoder than 'target'"
                )
            kind = "binary" if len(codes) == 2 else "multiclass"
            shown = codes[1:] if len(codes) == 2 else codes
            names = [f"{self.column} (share of {target.classes[code]})" for code in shown]
        encoder = self.estimator(len(values)).set_params(target_type=kind)
        with warnings.catch_warnings():
            # Many classes are no mistake here: the type of the label is known.
            warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
            encoder.fit(values[:, np.newaxis], target.y)
        self.fitted = {"estimator": encoder, "names": names}

    @property
    def names(self) -> list[str]:
        """``column (mean label)``, or ``column (share of class)``."""
        return list(self.fitted["names"])
