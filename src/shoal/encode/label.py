"""Labels as class codes, standardised numbers or numbers as they are, and back."""

from __future__ import annotations

import math
from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from pydantic import PositiveFloat, PositiveInt

from shoal.errors import CorruptError, DataError
from shoal.formats import tables
from shoal.formats.stored import Stored, as_kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray


class ClassLabel(Stored):
    """Classes of the training fold, sorted; a class that it did not hold is -1.

    Attributes:
        column: Name of the label column.
        classes: Names of the classes, by code.
        rows: Training rows of each.
        dtype: numpy type of the codes.
        shape: Shape of one row's.
    """

    dtype: ClassVar[str] = "int64"
    shape: ClassVar[tuple[int, ...]] = ()
    column: str
    classes: list[str]
    rows: list[PositiveInt]

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
        classes = sorted(counts)
        return cls(column=column, classes=classes, rows=[counts[name] for name in classes])

    @property
    def columns(self) -> list[str]:
        """The label column."""
        return [self.column]

    @cached_property
    def _codes(self) -> dict[str, int]:
        return {name: code for code, name in enumerate(self.classes)}

    def encode(self, table: pa.Table) -> NDArray[Any]:
        """Class codes of a table's labels, int64 ``(rows,)``."""
        encoded = table[self.column].combine_chunks().dictionary_encode()
        known = [self._codes.get(name, -1) for name in encoded.dictionary.to_pylist()]
        places = np.asarray(encoded.indices.fill_null(len(known)))
        codes: NDArray[Any] = np.array([*known, -1], dtype=np.int64)[places]
        return codes

    def decode(self, y: NDArray[Any]) -> NDArray[Any]:
        """Class names, an object array ``(rows,)``; None for -1."""
        names: NDArray[Any] = np.array([*self.classes, None], dtype=object)
        labels: NDArray[Any] = names[np.asarray(y)]
        return labels


class NumberLabel(Stored):
    """Numbers less the training mean, over the training standard deviation.

    Attributes:
        column: Name of the label column.
        classes: None: there are no classes.
        dtype: numpy type of the codes.
        shape: Shape of one row's.
    """

    dtype: ClassVar[str] = "float32"
    shape: ClassVar[tuple[int, ...]] = ()
    classes: ClassVar[None] = None
    column: str
    mean: float
    sd: PositiveFloat

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
        with np.errstate(over="ignore"):
            mean, sd = float(ordered.mean()), float(ordered.std())
        if not math.isfinite(sd):
            raise DataError(f"column {column!r}: labels spread too far for float64; rescale them")
        return cls(column=column, mean=mean, sd=sd)

    @property
    def columns(self) -> list[str]:
        """The label column."""
        return [self.column]

    def encode(self, table: pa.Table) -> NDArray[Any]:
        """Standardised numbers of a table's labels, float32 ``(rows,)``."""
        values = (tables.numbers(table, self.column) - self.mean) / self.sd
        with np.errstate(over="ignore"):  # what is not finite is reported by the caller
            return values.astype(np.float32)

    def decode(self, y: NDArray[Any]) -> NDArray[Any]:
        """Numbers in the label's own unit, float64 ``(rows,)``."""
        return np.asarray(y, dtype=np.float64) * self.sd + self.mean


class OwnLabels(Stored):
    """Numbers of any columns as they are, for a model with a loss of its own.

    Attributes:
        columns: Names of the label columns; there may be none.
        classes: None: there are no classes.
        dtype: numpy type of the numbers.
    """

    dtype: ClassVar[str] = "float32"
    classes: ClassVar[None] = None
    columns: list[str]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row's: the number of labels."""
        return (len(self.columns),)

    def encode(self, table: pa.Table) -> NDArray[Any]:
        """Numbers of a table's labels, float32 ``(rows, labels)``."""
        y = np.empty((len(table), len(self.columns)), dtype=np.float32)
        with np.errstate(over="ignore"):  # what is not finite is reported by the caller
            for place, column in enumerate(self.columns):
                y[:, place] = tables.numbers(table, column)
        return y

    def decode(self, y: NDArray[Any]) -> NDArray[Any]:
        """The same numbers, float64 ``(rows, labels)``."""
        return np.asarray(y, dtype=np.float64)


Label = ClassLabel | NumberLabel | OwnLabels


def label_from_state(state: Mapping[str, object]) -> Label:
    """The coding of which this is the ``model_dump``.

    Raises:
        CorruptError: It is of none.
    """
    if "columns" in state:
        return as_kind(OwnLabels, dict(state), "label")
    if "classes" not in state:
        return as_kind(NumberLabel, dict(state), "label")
    label = as_kind(ClassLabel, dict(state), "label")
    if len(set(label.classes)) < len(label.classes):
        raise CorruptError("label.classes: one of them is there twice")
    if len(label.rows) != len(label.classes):
        raise CorruptError("label.rows: not one number per class")
    return label


class LabelSurvey:
    """Labels of all training rows, from batches; eight bytes per number.

    Attributes:
        rows: Training rows so far.
    """

    def __init__(self, columns: Sequence[str], task: str) -> None:
        self.rows = 0
        self._columns = columns
        self._task = task
        self._counts: Counter[str] = Counter()
        self._numbers: list[NDArray[np.float64]] = [np.empty(0)]

    def add(self, table: pa.Table) -> None:
        """Take more training rows."""
        self.rows += len(table)
        if self._task == "classification":
            for each in table[self._columns[0]].value_counts().to_pylist():
                self._counts[each["values"]] += each["counts"]
        elif self._task == "regression":
            self._numbers.append(tables.numbers(table, self._columns[0]).copy())

    def label(self) -> Label:
        """The coding of the labels so far."""
        if self._task == "own":
            return OwnLabels(columns=list(self._columns))
        (column,) = self._columns
        if self._task == "classification":
            return ClassLabel.of(column, self._counts)
        return NumberLabel.of(column, np.concatenate(self._numbers))
