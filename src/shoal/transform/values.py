"""Steps that change values and keep every row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, FiniteFloat, PositiveFloat

from shoal.errors import CorruptError, DataError, SettingsError, SourceError
from shoal.formats import tables
from shoal.formats.hashing import uniform
from shoal.settings.section import Section
from shoal.transform.step import TransformStep
from shoal_edge.canonical import canonical_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shoal.transform.step import Rows


def number_array(values: NDArray[np.float64]) -> pa.Array:
    """A float64 column, null where NaN."""
    return pa.array(values, type=pa.float64(), from_pandas=True)


class ImputeOptions(Section):
    """How missing values are filled."""

    strategy: Literal["mean", "median", "most_frequent", "constant"] = Field(
        description="what of the training rows fills the gaps; text takes the last two"
    )
    value: str | float | None = Field(default=None, description="for 'constant': the value")


class Impute(TransformStep):
    """Missing values become one value, found among the training rows or given."""

    name = "impute"
    works_on = ("numeric", "categorical", "text")
    fits_on = "sample"
    Options: ClassVar[type[Section]] = ImputeOptions
    Fitted: ClassVar[Any] = dict[str, FiniteFloat | str]

    def check(self) -> None:
        """Refuse a mean of text, and a constant that is absent or of another type."""
        strategy, value = self.options.strategy, self.options.value
        if (strategy == "constant") != (value is not None):
            raise SettingsError(f"{self.place}: 'value' goes with strategy 'constant', and only so")
        for column in self.columns:
            number = self.context.kinds[column] == "numeric"
            if strategy in ("mean", "median") and not number:
                raise SettingsError(f"{self.place}: column {column!r} has no {strategy}")
            if strategy == "constant" and isinstance(value, str) == number:
                kind = self.context.kinds[column]
                raise SettingsError(f"{self.place}: {value!r} does not fit {kind} {column!r}")

    def restore(self, fitted: object) -> None:
        """Take over the value of each column."""
        super().restore(fitted)
        for column in self.columns:
            wanted = float if self.context.kinds[column] == "numeric" else str
            value = self.fitted.get(column)
            if not isinstance(value, wanted):
                raise CorruptError(
                    f"{self.place}: fitted.{column}: {value!r} does not fill the column's gaps"
                )

    def fit_sample(self, sample: pa.Table) -> None:
        """Find the value of each column."""
        self.fitted = {column: self._value(sample, column) for column in self.columns}

    def _value(self, sample: pa.Table, column: str) -> str | float:
        strategy = self.options.strategy
        if strategy == "constant":
            value = self.options.value
            if not isinstance(value, str):
                return float(value)
            is_text = self.context.kinds[column] == "text"
            return value if is_text else str(canonical_text(value))
        present = sample[column].drop_null()
        if not len(present):
            raise DataError(
                f"{self.place}: column {column!r} has no value in the {len(sample)} training "
                f"rows that the step is fitted on; impute a constant or declare the column ignore"
            )
        if strategy == "most_frequent":
            counts = pc.value_counts(present.combine_chunks())
            pairs = [(-pair["counts"], pair["values"]) for pair in counts.to_pylist()]
            return min(pairs)[1]  # type: ignore[no-any-return]
        values = present.to_numpy()
        return float(values.mean() if strategy == "mean" else np.median(values))

    def apply(self, rows: Rows) -> Rows:
        """Fill the gaps."""
        for column in self.columns:
            value = self.fitted[column]
            rows = rows.with_column(column, pc.fill_null(rows.table[column], value))
        return rows


class ClipOptions(Section):
    """Bounds, as values or as quantiles of the training rows."""

    low: float | None = Field(default=None, description="smallest value")
    high: float | None = Field(default=None, description="largest value")
    low_quantile: float | None = Field(
        default=None, ge=0, le=1, description="share of training rows below the smallest value"
    )
    high_quantile: float | None = Field(
        default=None, ge=0, le=1, description="share of training rows below the largest value"
    )


class Clip(TransformStep):
    """Values beyond a bound become the bound; missing values stay missing."""

    name = "clip"
    works_on = ("numeric",)
    fits_on = "sample"
    Options: ClassVar[type[Section]] = ClipOptions
    Fitted: ClassVar[Any] = dict[str, tuple[FiniteFloat | None, FiniteFloat | None]]

    def check(self) -> None:
        """Refuse no bound, two of one side, and bounds in the wrong order."""
        bounds = self.options
        if all(value is None for value in bounds.as_json().values()):
            raise SettingsError(f"{self.place}: options: give a bound, such as 'high'")
        for side in ("low", "high"):
            value, quantile = getattr(bounds, side), getattr(bounds, f"{side}_quantile")
            if value is not None and quantile is not None:
                raise SettingsError(f"{self.place}: give {side} or {side}_quantile, not both")
        for low, high in ((bounds.low, bounds.high), (bounds.low_quantile, bounds.high_quantile)):
            if low is not None and high is not None and low > high:
                raise SettingsError(f"{self.place}: the lower bound {low} is above {high}")

    def restore(self, fitted: object) -> None:
        """Take over the bounds of each column."""
        super().restore(fitted)
        for column in self.columns:
            low, high = self.fitted.get(column, (None, None))
            if (low, high) == (None, None) or (None not in (low, high) and low > high):
                raise CorruptError(
                    f"{self.place}: fitted.{column}: {[low, high]} are no lower and upper bound"
                )

    def fit_sample(self, sample: pa.Table) -> None:
        """Find the bounds of each column."""
        self.fitted = {column: self._bounds(sample, column) for column in self.columns}

    def _bounds(self, sample: pa.Table, column: str) -> list[float | None]:
        present = sample[column].drop_null().to_numpy()
        bounds: list[float | None] = []
        for side in ("low", "high"):
            bound, quantile = getattr(self.options, side), getattr(self.options, f"{side}_quantile")
            if quantile is not None:
                if not len(present):
                    raise DataError(
                        f"{self.place}: column {column!r} has no value in the {len(sample)} "
                        f"training rows that the step is fitted on"
                    )
                bound = float(np.quantile(present, quantile))
            bounds.append(bound)
        low, high = bounds
        if low is not None and high is not None and low > high:
            raise DataError(
                f"{self.place}: column {column!r}: the lower bound {low:g} is above {high:g}"
            )
        return bounds

    def apply(self, rows: Rows) -> Rows:
        """Clip."""
        for column in self.columns:
            low, high = self.fitted[column]
            values = tables.numbers(rows.table, column)
            clipped = np.clip(values, -np.inf if low is None else low, high)
            rows = rows.with_column(column, number_array(clipped))
        return rows


class Log(TransformStep):
    """log(1 + value); missing values stay missing."""

    name = "log"
    works_on = ("numeric",)

    def apply(self, rows: Rows) -> Rows:
        """Take logarithms.

        Raises:
            SourceError: A value is -1 or below, where there is no logarithm.
        """
        for column in self.columns:
            values = tables.numbers(rows.table, column)
            bad = np.flatnonzero(values <= -1)
            if len(bad):
                raise SourceError(
                    f"{rows.place(bad[0], column)}: log(1 + value) does not exist for "
                    f"{values[bad[0]]:g}; clip the column at a low above -1 before the log"
                )
            rows = rows.with_column(column, number_array(np.log1p(values)))
        return rows


class Lower(TransformStep):
    """Lower-case letters."""

    name = "lower"
    works_on = ("categorical", "text")

    def apply(self, rows: Rows) -> Rows:
        """Lower the letters."""
        for column in self.columns:
            rows = rows.with_column(column, pc.utf8_lower(rows.table[column]))
        return rows


class NoiseOptions(Section):
    """How strong the noise is."""

    sd: PositiveFloat = Field(description="standard deviation, in the column's unit")


class Noise(TransformStep):
    """Gaussian noise on training rows, a function of seed, row key, step and column."""

    name = "noise"
    works_on = ("numeric",)
    training_only = True
    Options: ClassVar[type[Section]] = NoiseOptions
    draws = True

    def apply(self, rows: Rows) -> Rows:
        """Add noise."""
        from scipy.special import ndtri

        if not rows.training.any():
            return rows
        row_keys = tables.keys(rows.table)[rows.training]
        for column in self.columns:
            draws = uniform(row_keys, *self.salt(column))
            values = tables.numbers(rows.table, column).copy()
            # A draw of exactly 0 would be infinitely far out.
            values[rows.training] += self.options.sd * ndtri(np.maximum(draws, 2.0**-54))
            rows = rows.with_column(column, number_array(values))
        return rows
