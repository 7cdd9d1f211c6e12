"""The label as a class code or a standardised number, and back."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
from pydantic import PositiveFloat

from shoal.errors import CorruptError, DataError
from shoal.formats import tables
from shoal.formats.stored import Stored, as_kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa
    from numpy.typing import NDArray


class Label(Protocol):
    """Coding of an experiment's label.

    Attributes:
        column: Name of the label column.
        classes: Names of the classes, by code; None in regression.
        dtype: numpy type of the codes.
    """

    column: str
    classes: list[str] | None
    dtype: str

    def encode(self, table: pa.Table) -> NDArray[Any]:
        """Codes of a table's labels, ``(rows,)``."""

    def decode(self, y: NDArray[Any]) -> NDArray[Any]:
        """Labels of codes, ``(rows,)``."""

    def state(self) -> dict[str, object]:
        """The coding as JSON."""


class ClassLabel:
    """Classes of the training fold, sorted; a class that it did not hold is -1."""

    dtype = "int64"

    def __init__(self, column: str, classes: list[str]) -> None:
        self.column = column
        self.classes: list[str] | None = list(classes)
        self._codes = {name: code for code, name in enumerate(classes)}

    @classmethod
    def of(cls, column: str, counts: Counter[str]) -> Self:
        """The coding of a training fold's classes.

        Raises:
            DataError: There are fewer than two.
        """
        if len(counts) < 2:
            held = f"only {next(iter(counts))!r}" if counts else "no label at all"
            raise DataError(
                f"column {column!r}: the training fold holds {held}; a label needs two classes"
            )
        return cls(column, sorted(counts))

    def encode(self, table: pa.Table) -> NDArray[Any]:
        """Class codes, int64."""
        labels = table[self.column].to_pylist()
        return np.array([self._codes.get(name, -1) for name in labels], dtype=np.int64)

    def decode(self, y: NDArray[Any]) -> NDArray[Any]:
        """Class names, an object array; None for -1."""
        names: NDArray[Any] = np.array([*(self.classes or ()), None], dtype=object)
        labels: NDArray[Any] = names[np.asarray(y)]
        return labels

    def state(self) -> dict[str, object]:
        """The classes."""
        return {"column": self.column, "classes": self.classes}


class NumberLabel:
    """Numbers less the training mean, over the training standard deviation."""

    dtype = "float32"

    def __init__(self, column: str, mean: float, sd: float) -> None:
        self.column = column
        self.classes: list[str] | None = None
        self.mean = mean
        self.sd = sd

    @classmethod
    def of(cls, column: str, values: NDArray[np.float64]) -> Self:
        """The coding of a training fold's numbers, whatever their order.

        Raises:
            DataError: There are none, or they are all the same.
        """
        ordered = np.sort(values)
        if not len(ordered):
            raise DataError(f"column {column!r}: the training fold holds no label at all")
        if ordered[0] == ordered[-1]:
            raise DataError(
                f"column {column!r}: every label of the training fold is {ordered[0]:g}; "
                f"there is nothing to learn"
            )
        return cls(column, float(ordered.mean()), float(ordered.std()))

    def encode(self, table: pa.Table) -> NDArray[Any]:
        """Standardised numbers, float32."""
        values = (tables.numbers(table, self.column) - self.mean) / self.sd
        with np.errstate(over="ignore"):  # what is not finite is reported by the caller
            return values.astype(np.float32)

    def decode(self, y: NDArray[Any]) -> NDArray[Any]:
        """Numbers in the label's own unit, float64."""
        return np.asarray(y, dtype=np.float64) * self.sd + self.mean

    def state(self) -> dict[str, object]:
        """Mean and standard deviation."""
        return {"column": self.column, "mean": self.mean, "sd": self.sd}


def label_from_state(state: Mapping[str, object]) -> Label:
    """The coding whose state this is.

    Raises:
        CorruptError: It is none.
    """
    if "classes" in state:
        of_classes = as_kind(_Classes, dict(state), "label")
        if len(set(of_classes.classes)) < len(of_classes.classes):
            raise CorruptError("label.classes: one of them is there twice")
        return ClassLabel(of_classes.column, of_classes.classes)
    of_numbers = as_kind(_Numbers, dict(state), "label")
    return NumberLabel(of_numbers.column, of_numbers.mean, of_numbers.sd)


class _Classes(Stored):
    column: str
    classes: list[str]


class _Numbers(Stored):
    column: str
    mean: float
    sd: PositiveFloat


class LabelSurvey:
    """Labels of all training rows, from batches; eight bytes per number.

    Attributes:
        rows: Training rows so far.
    """

    def __init__(self, column: str, task: str) -> None:
        self.rows = 0
        self._column = column
        self._task = task
        self._counts: Counter[str] = Counter()
        self._numbers: list[NDArray[np.float64]] = [np.empty(0)]

    def add(self, table: pa.Table) -> None:
        """Take more training rows."""
        self.rows += len(table)
        if self._task == "classification":
            self._counts.update(table[self._column].to_pylist())
        else:
            self._numbers.append(tables.numbers(table, self._column).copy())

    def label(self) -> Label:
        """The coding of the labels so far."""
        if self._task == "classification":
            return ClassLabel.of(self._column, self._counts)
        return NumberLabel.of(self._column, np.concatenate(self._numbers))
