"""What every column encoder is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from shoal.errors import DataError, ModelError, SettingsError
from shoal.settings.section import Section, parse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


class NoOptions(Section):
    """The options of an encoder that has none."""


@dataclass(frozen=True)
class Place:
    """Which column an encoder is for, and what its settings are called in messages.

    Attributes:
        column: The column.
        kind: Its kind: numeric, categorical, text, image or vector.
        setting: Where the encoder is set, such as ``encode.kinds.numeric``.
        seed: Seed of encoders that draw.
    """

    column: str
    kind: str
    setting: str
    seed: int


@dataclass(frozen=True)
class Target:
    """Labels of the rows that encoders are fitted on.

    Attributes:
        y: Class codes, int64, or standardised numbers, float32; ``(rows,)``.
        classes: Names of the classes; None in regression.
    """

    y: NDArray[Any]
    classes: list[str] | None


class ColumnEncoder(ABC):
    """One column to features, float32, a function of the row alone.

    Values come as float64 with NaN where missing (numeric), as an object array with None where
    missing (categorical, text), or as ``(rows, *shape)`` of numbers (image, vector).

    Attributes:
        name: What settings call it.
        kinds: Kinds of column that it accepts.
        fitted: What fitting found: plain JSON values, arrays and scikit-learn estimators.
    """

    name: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]]
    Options: ClassVar[type[Section]] = NoOptions

    def __init__(self, place: Place, options: Mapping[str, Any]) -> None:
        if place.kind not in self.kinds:
            raise SettingsError(
                f"{place.setting}: encoder {self.name!r} works on {', '.join(self.kinds)}, "
                f"but column {place.column!r} is {place.kind}"
            )
        self.place = place
        self.column = place.column
        self.given = dict(options)
        self.options: Any = self.parsed(self.given)
        self.fitted: dict[str, Any] = {}

    def parsed(self, options: dict[str, Any]) -> Any:  # noqa: ANN401 - the encoder's own options
        """The options, checked."""
        return parse(self.Options, options, self.place.setting)

    @abstractmethod
    def fit(self, values: NDArray[Any], target: Target) -> None:
        """Fit on a sample of training rows."""

    @abstractmethod
    def encode(self, values: NDArray[Any]) -> Floats:
        """Features of at least one row, ``(rows, features)``; of an image ``(rows, *shape)``."""

    def decode(self, features: Floats) -> NDArray[Any]:
        """Values of features, as :meth:`encode` took them, to the precision of float32.

        Args:
            features: What :meth:`encode` gave, ``(rows, *shape)``.

        Raises:
            ModelError: The encoder cannot be inverted: features do not tell the value.
        """
        del features
        raise ModelError(
            f"{self.place.setting}: encoder {self.name!r} of column {self.column!r} has no inverse"
        )

    @property
    @abstractmethod
    def names(self) -> list[str]:
        """Name of each feature, in order."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row's features."""
        return (len(self.names),)


def no_value(column: str, rows: int) -> DataError:
    """The error that a column is empty where encoders are fitted."""
    return DataError(
        f"column {column!r} has no value in the {rows} training rows that encoders are fitted on; "
        f"declare it ignore, or raise encode.fit_rows if it is only sparse"
    )


def fit_gaps(values: NDArray[np.float64], column: str) -> dict[str, Any]:
    """What fills the gaps of a numeric column, and whether they are marked.

    Raises:
        DataError: The column has no value at all.
    """
    missing = np.isnan(values)
    if missing.all():
        raise no_value(column, len(values))
    return {"fill": float(values[~missing].mean()), "marked": bool(missing.any())}


def fill_gaps(
    values: NDArray[np.float64], fitted: Mapping[str, Any]
) -> tuple[NDArray[np.float64], Floats]:
    """The column without gaps, ``(rows, 1)``, and the mark of gaps, ``(rows, 0 or 1)``."""
    missing = np.isnan(values)
    filled = np.where(missing, fitted["fill"], values)[:, np.newaxis]
    marks = missing.astype(np.float32)[:, np.newaxis]
    return filled, marks if fitted["marked"] else marks[:, :0]


def open_gaps(
    values: NDArray[np.float64], features: Floats, fitted: Mapping[str, Any]
) -> NDArray[np.float64]:
    """Numbers ``(rows,)`` with NaN where the last feature marks a gap: undoes :func:`fill_gaps`."""
    return np.where(features[:, -1] == 1, np.nan, values) if fitted["marked"] else values


def gap_names(column: str, fitted: Mapping[str, Any]) -> list[str]:
    """Name of the mark, if there is one."""
    return [f"{column} (missing)"] if fitted["marked"] else []
