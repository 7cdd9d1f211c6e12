"""Encoders of numeric and categorical columns, one feature or several per column.

Some are fitted by scikit-learn; none needs it to encode, and gives what scikit-learn would, bit for
bit.
"""

from __future__ import annotations

import json
import warnings
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import ConfigDict, Field, FiniteFloat
from typing_extensions import TypedDict

from shoal.encode.column import (
    ColumnEncoder,
    Gaps,
    Target,
    fill_gaps,
    fit_gaps,
    gap_names,
    no_value,
    open_gaps,
)
from shoal.errors import CorruptError, DataError, SettingsError
from shoal.formats.json_file import parse_json
from shoal.formats.stored import tensor_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from shoal.encode.column import Floats

    Float64 = NDArray[np.float64]

_QUANTILES = 1000
_NEAR = 1e-7
"""How near to the least and largest training value counts as that value, as in scikit-learn."""


class _Numeric(ColumnEncoder):
    """A number.

    Missing: the training mean, and 1 in a further feature where training had gaps.
    """

    kinds = ("numeric",)
    Fitted: ClassVar[Any] = Gaps

    def fit(self, values: NDArray[Any], target: Target) -> None:  # noqa: ARG002
        gaps = fit_gaps(values, self.column)
        self.fitted = {**gaps, **self._learn(fill_gaps(values, gaps)[0])}

    def encode(self, values: NDArray[Any]) -> Floats:
        filled, marks = fill_gaps(values, self.fitted)
        with np.errstate(over="ignore"):  # what is not finite is reported by the caller
            return np.concatenate([self._apply(filled).astype(np.float32), marks], axis=1)

    def decode(self, features: Floats) -> Float64:
        values = self._undo(features[:, 0].astype(np.float64))
        return open_gaps(values, features, self.fitted)

    def _learn(self, values: Float64) -> dict[str, object]:  # noqa: ARG002
        """Fitted state beside the gaps, from training values ``(rows, 1)``."""
        return {}

    def _apply(self, values: Float64) -> Float64:
        """Encoded values, of the same shape."""
        return values

    def _undo(self, encoded: Float64) -> Float64:
        """Values that were encoded so."""
        return encoded

    @property
    def names(self) -> list[str]:
        return [self.column, *gap_names(self.column, self.fitted)]


class _ScaleFitted(Gaps):
    mean: FiniteFloat
    spread: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Scale(_Numeric):
    """Less the training mean, over the training standard deviation (0 for a constant column).

    Unseen: scaled.
    """

    name = "scale"
    Fitted: ClassVar[Any] = _ScaleFitted

    def _learn(self, values: Float64) -> dict[str, object]:
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler().fit(values)
        return {"mean": float(scaler.mean_[0]), "spread": float(scaler.scale_[0])}

    def _apply(self, values: Float64) -> Float64:
        scaled: Float64 = (values - self.fitted["mean"]) / self.fitted["spread"]
        return scaled

    def _undo(self, encoded: Float64) -> Float64:
        values: Float64 = encoded * self.fitted["spread"] + self.fitted["mean"]
        return values


class _QuantileFitted(Gaps):
    quantiles: Any


class _Quantiles(_Numeric):
    """A value's place among training values, from 0 to 1."""

    Fitted: ClassVar[Any] = _QuantileFitted

    def _learn(self, values: Float64) -> dict[str, object]:
        from sklearn.preprocessing import QuantileTransformer

        count = self._count(len(values))
        fitted = QuantileTransformer(n_quantiles=count, subsample=None).fit(values)
        return {"quantiles": fitted.quantiles_[:, 0]}

    def _count(self, rows: int) -> int:
        """Quantiles that are kept of so many training rows."""
        return rows

    def check_arrays(self) -> None:
        """Compare the quantiles with what a fit gives."""
        if (np.diff(tensor_of(self.fitted, "quantiles", "float64", (None,))) < 0).any():
            raise CorruptError("tensor 'quantiles' is not in order")

    @cached_property
    def _ranks(self) -> Float64:
        """Rank of each quantile."""
        return np.linspace(0, 1, len(self.fitted["quantiles"]))

    def _apply(self, values: Float64) -> Float64:
        # Equal quantiles have several ranks: the mean of the first and the last.
        quantiles, ranks = self.fitted["quantiles"], self._ranks
        low = -np.interp(-values, -quantiles[::-1], -ranks[::-1])
        encoded: Float64 = 0.5 * (np.interp(values, quantiles, ranks) + low)
        encoded[self._is_end(values, quantiles[-1], 1)] = 1
        encoded[self._is_end(values, quantiles[0], -1)] = 0
        return encoded

    def _undo(self, encoded: Float64) -> Float64:
        quantiles = self.fitted["quantiles"]
        values: Float64 = np.interp(encoded, self._ranks, quantiles)
        values[self._is_end(encoded, 1, 1)] = quantiles[-1]
        values[self._is_end(encoded, 0, -1)] = quantiles[0]
        return values

    def _is_end(self, values: Float64, end: float, side: int) -> NDArray[np.bool_]:  # noqa: ARG002
        """Which values count as the largest (``side`` 1) or least (-1)."""
        is_end: NDArray[np.bool_] = values == end
        return is_end


class Quantile(_Quantiles):
    """The normal deviate of the value's quantile among training rows; robust to outliers.

    Unseen: mapped, beyond the ends to the end.
    """

    name = "quantile"

    def _count(self, rows: int) -> int:
        return min(_QUANTILES, rows)

    def _apply(self, values: Float64) -> Float64:
        from scipy.special import ndtri

        least = _NEAR - np.spacing(1)
        encoded: Float64 = np.clip(ndtri(super()._apply(values)), ndtri(least), ndtri(1 - least))
        return encoded

    def _undo(self, encoded: Float64) -> Float64:
        from scipy.special import ndtr

        return super()._undo(ndtr(encoded))

    def _is_end(self, values: Float64, end: float, side: int) -> NDArray[np.bool_]:
        is_end: NDArray[np.bool_] = (values + side * _NEAR - end) * side > 0
        return is_end


class Rank(_Quantiles):
    """The value's rank among training values, from 0 to 1; between two of them in proportion.

    Unseen: mapped, beyond the ends to the end.
    """

    name = "rank"


class Passthrough(_Numeric):
    """The value itself.

    Unseen: left as it is.
    """

    name = "passthrough"


class _CategoricalFitted(TypedDict):
    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    categories: Any


class _Categorical(ColumnEncoder):
    """A category.

    Missing: a category of its own where training had gaps, else as unseen.
    """

    kinds = ("categorical", "text")
    Fitted: ClassVar[Any] = _CategoricalFitted

    def check_arrays(self) -> None:
        """Compare the categories with what a fit gives."""
        tensor_of(self.fitted, "categories", "uint8", (None,))
        if len(self._codes) < len(self.categories):
            raise CorruptError("tensor 'categories' names one of them twice")

    @cached_property
    def categories(self) -> list[str | None]:
        """Those of the training fold, sorted; None, for a missing value, last.

        Raises:
            CorruptError: A state from a file holds none.
        """
        raw = self.fitted["categories"].tobytes()
        found: list[str | None] = parse_json(
            raw, "tensor 'categories'", list[str | None], limit=len(raw)
        )
        if not found:
            raise CorruptError("tensor 'categories' names none of them")
        return found

    @cached_property
    def _codes(self) -> dict[str | None, int]:
        return {category: code for code, category in enumerate(self.categories)}

    def codes(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Place of each value among the categories, int64 ``(rows,)``; -1 for others."""
        known = self._codes
        return np.fromiter((known.get(value, -1) for value in values), np.int64, len(values))


def _as_array(categories: Iterable[str | None]) -> NDArray[np.uint8]:
    """Categories as the bytes of a JSON text, sorted, None last."""
    ordered = sorted(set(categories), key=lambda category: (category is None, category or ""))
    return np.frombuffer(json.dumps(ordered, ensure_ascii=False).encode(), np.uint8)


class OneHot(_Categorical):
    """One feature per category of the training fold.

    Unseen: 0 in every feature.
    """

    name = "one_hot"

    def fit(self, values: NDArray[Any], target: Target) -> None:  # noqa: ARG002
        """Learn the categories."""
        self.fitted = {"categories": _as_array(values)}

    def encode(self, values: NDArray[Any]) -> Floats:
        """0 or 1, ``(rows, categories)``."""
        codes = self.codes(values)
        features = np.zeros((len(values), len(self.categories)), np.float32)
        known = np.flatnonzero(codes >= 0)
        features[known, codes[known]] = 1
        return features

    def decode(self, features: Floats) -> NDArray[Any]:
        """Categories; None for a gap, and where no feature is 1."""
        known: NDArray[Any] = np.array([*self.categories, None], dtype=object)
        codes = np.where(features.any(axis=1), features.argmax(axis=1), -1)
        values: NDArray[Any] = known[codes]
        return values

    @property
    def names(self) -> list[str]:
        """``column=category``, and ``column (missing)``."""
        return [
            f"{self.column} (missing)" if category is None else f"{self.column}={category}"
            for category in self.categories
        ]


class Ordinal(_Categorical):
    """The category's place among the sorted ones of the training fold.

    Missing: -2.
    Unseen: -1.
    """

    name = "ordinal"

    def fit(self, values: NDArray[Any], target: Target) -> None:  # noqa: ARG002
        """Learn the categories, sorted.

        Raises:
            DataError: The column has no value at all.
        """
        present = [value for value in values if value is not None]
        if not present:
            raise no_value(self.column, len(values))
        self.fitted = {"categories": _as_array(present)}

    def encode(self, values: NDArray[Any]) -> Floats:
        """One feature, a whole number."""
        codes = self.codes(values)
        codes[[value is None for value in values]] = -2
        return codes.astype(np.float32)[:, np.newaxis]

    def decode(self, features: Floats) -> NDArray[Any]:
        """Categories; None for a gap, and for an unseen category."""
        # -1 and -2 find the two that stand last.
        known: NDArray[Any] = np.array([*self.categories, None, None], dtype=object)
        values: NDArray[Any] = known[features[:, 0].astype(np.int64)]
        return values

    @property
    def names(self) -> list[str]:
        """The column's name."""
        return [self.column]


class _TargetFitted(_CategoricalFitted):
    means: Any
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

    def check_arrays(self) -> None:
        """Compare categories and means with what a fit gives."""
        super().check_arrays()
        shape = (len(self.categories) + 1, len(self.fitted["names"]))
        tensor_of(self.fitted, "means", "float64", shape)

    def fit(self, values: NDArray[Any], target: Target) -> None:
        """Learn the label's mean in each category.

        Raises:
            SettingsError: There is not one label.
            DataError: The sample holds one class only.
        """
        from sklearn.preprocessing import TargetEncoder

        if target.y.ndim > 1:
            raise SettingsError(
                f"{self.place.setting}: encoder 'target' takes a mean of the label, and where "
                f"sources.task is own there may be any number; choose another, such as 'one_hot'"
            )
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
        encoder = TargetEncoder(target_type=kind, random_state=self.place.seed)
        with warnings.catch_warnings():
            # Many classes are no mistake here: the type of the label is known.
            warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
            encoder.fit(values[:, np.newaxis], target.y)
        means = np.column_stack(encoder.encodings_)
        others = np.atleast_1d(encoder.target_mean_)[np.newaxis]
        self.fitted = {
            "categories": _as_array(encoder.categories_[0].tolist()),
            "means": np.concatenate([means, others]).astype(np.float64),
            "names": names,
        }

    def encode(self, values: NDArray[Any]) -> Floats:
        """Means of the categories; the last row of the table, which -1 finds, is of all others."""
        means: Floats = self.fitted["means"].astype(np.float32)
        return means[self.codes(values)]

    @property
    def names(self) -> list[str]:
        """``column (mean label)``, or ``column (share of class)``."""
        return list(self.fitted["names"])
