"""The base class of column encoders, and the gaps of numeric columns."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import ConfigDict, Field, FiniteFloat
from typing_extensions import TypedDict

from shoal.errors import CorruptError, DataError, ModelError, SettingsError
from shoal.formats.stored import as_kind, naming
from shoal.settings.section import NoOptions, Section, parse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


@dataclass(frozen=True)
class ColumnSetting:
    """The column of an encoder, and the name of its setting in messages.

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
        y: Class codes, int64, or standardised numbers, float32, ``(rows,)``; of the task ``own``
            numbers as they are, ``(rows, labels)``.
        classes: Names of the classes; None where labels are numbers.
    """

    y: NDArray[Any]
    classes: list[str] | None


class ColumnEncoder(ABC):
    """One column to features, float32, a function of the row alone.

    Values come as float64 with NaN where missing (numeric), as an object array with None where
    missing (categorical, text), or as ``(rows, *shape)`` of numbers (image, vector).

    ``config/README.md`` lists encoders by their docstrings: its first paragraph, and the lines
    ``Missing:`` and ``Unseen:``, what a missing value becomes, and one that training did not have.

    Attributes:
        name: Its name in the settings.
        kinds: Kinds of column that it accepts.
        Options: Type of its settings; their descriptions are its documentation.
        Fitted: Type of its fitted state.
        fitted: The fitted state: JSON values and arrays.
    """

    name: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]]
    Options: ClassVar[type[Section]] = NoOptions
    Fitted: ClassVar[Any] = Annotated[dict[str, None], Field(max_length=0)]

    def __init__(self, place: ColumnSetting, options: Mapping[str, object]) -> None:
        if place.kind not in self.kinds:
            raise SettingsError(
                f"{place.setting}: encoder {self.name!r} works on {', '.join(self.kinds)}, "
                f"but column {place.column!r} is {place.kind}"
            )
        self.place = place
        self.column = place.column
        self.given = dict(options)
        self.options: Any = self.parsed(self.given)
        self.fitted: Any = {}

    def parsed(self, options: Mapping[str, object]) -> Any:  # noqa: ANN401 - its own options
        """The options, checked."""
        return parse(self.Options, options, self.place.setting)

    def stored(self) -> tuple[Mapping[str, object], Sequence[str]]:
        """The fitted state for a file: JSON values and arrays, and types to trust for it."""
        return self.fitted, ()

    def restore(self, fitted: object, trusted: Sequence[str] = ()) -> None:
        """Set the fitted state to that of a file.

        Args:
            fitted: What :meth:`stored` gave.
            trusted: Types or modules outside Shoal that may be imported for it.

        Raises:
            CorruptError: It is of another type.
            ModelError: It needs a type that is not trusted.
        """
        del trusted
        with naming(self._stored):
            self.fitted = dict(as_kind(self.Fitted, fitted))
            self.check_arrays()

    def check_arrays(self) -> None:  # noqa: B027 - nothing to check where there are none
        """Compare the arrays of the fitted state with what a fit gives.

        Raises:
            CorruptError: One is missing or of another type, shape or content.
        """

    @property
    def width(self) -> int:
        """Features of a row, counted before any is made or named.

        Raises:
            CorruptError: A state from a file does not tell.
        """
        try:
            return math.prod(self.shape)
        except (AttributeError, TypeError, ValueError) as error:
            raise CorruptError(f"{self._stored}: does not tell its features ({error})") from None

    def check(self) -> None:
        """Encode a missing value, so that a useless state is refused when it is loaded.

        Raises:
            CorruptError: It fails, or the result is no row of features.
        """
        try:
            with np.errstate(all="ignore"):
                features = self.encode(self._nothing())
        except Exception as error:  # a state from outside may be anything
            text = " ".join(f"{type(error).__name__}: {error}".split())
            raise CorruptError(f"{self._stored}: does not encode ({text})") from None
        if features.shape != (1, *self.shape) or not np.isfinite(features).all():
            raise CorruptError(
                f"{self._stored}: a row is of shape {features.shape[1:]}, or not finite; it must "
                f"be of shape {self.shape}"
            )

    def _nothing(self) -> NDArray[Any]:
        """One missing value."""
        return np.array([np.nan]) if self.place.kind == "numeric" else np.array([None], object)

    @property
    def _stored(self) -> str:
        return f"column {self.column!r}"

    @abstractmethod
    def fit(self, values: NDArray[Any], target: Target) -> None:
        """Fit on a sample of training rows."""

    @abstractmethod
    def encode(self, values: NDArray[Any]) -> Floats:
        """Features of at least one row, ``(rows, features)``; of an image ``(rows, *shape)``."""

    def decode(self, features: Floats) -> NDArray[Any]:
        """Values of features, as :meth:`encode` took them, to the precision of float32.

        Args:
            features: Result of :meth:`encode`, ``(rows, *shape)``.

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

    @property
    def vocabulary(self) -> int | None:
        """How many whole numbers there are, where features are numbers of tokens; else None."""
        return None


class Gaps(TypedDict):
    """State of the gaps of a numeric column: their filling, and whether a feature marks them."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    fill: FiniteFloat
    marked: bool


def no_value(column: str, rows: int) -> DataError:
    """The error for a column that is empty where encoders are fitted."""
    return DataError(
        f"column {column!r} has no value in the {rows} training rows that encoders are fitted on; "
        f"declare it ignore, or raise encode.fit_rows if it is only sparse"
    )


def fit_gaps(values: NDArray[np.float64], column: str) -> Gaps:
    """Fill gaps with the mean, and mark them where there are any.

    Raises:
        DataError: The column has no value at all.
    """
    missing = np.isnan(values)
    if missing.all():
        raise no_value(column, len(values))
    mean, marked = float(values[~missing].mean()), bool(missing.any())
    return {"fill": mean, "marked": marked}  # type: ignore[typeddict-item]  # pydantic's config


def fill_gaps(values: NDArray[np.float64], fitted: Gaps) -> tuple[NDArray[np.float64], Floats]:
    """The column without gaps, ``(rows, 1)``, and the mark of gaps, ``(rows, 0 or 1)``."""
    missing = np.isnan(values)
    filled = np.where(missing, fitted["fill"], values)[:, np.newaxis]
    marks = missing.astype(np.float32)[:, np.newaxis]
    return filled, marks if fitted["marked"] else marks[:, :0]


def open_gaps(values: NDArray[np.float64], features: Floats, fitted: Gaps) -> NDArray[np.float64]:
    """Numbers ``(rows,)`` with NaN where the last feature marks a gap: undoes :func:`fill_gaps`."""
    return np.where(features[:, -1] == 1, np.nan, values) if fitted["marked"] else values


def gap_names(column: str, fitted: Gaps) -> list[str]:
    """Name of the mark, if there is one."""
    return [f"{column} (missing)"] if fitted["marked"] else []
