"""Sketch of a shard: what the check of all rows needs of it and its table does not hold.

It is two files. One is a sample of rows (:class:`shoal.split.leaks.Sample`). The other has facts
about the shard, and where keys are those of ids, a hash of each row's inputs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from typing_extensions import TypedDict

from shoal.formats import tables
from shoal.formats.fitted_state import save_state, sliced
from shoal.formats.headers import read_weights
from shoal.formats.json_file import parse_json
from shoal.formats.kinds import OUTSIDE, TRAIN
from shoal.formats.stored import as_kind, naming
from shoal.split.keys import input_hashes
from shoal.split.leaks import Sample
from shoal.split.spellings import Spellings

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from shoal.formats.tables import Columns

    Numbers = NDArray[np.uint64]

_INPUT = "input"
_VALUES = "values of "
_SPELLED = ("label", "categorical", "group")


class Summary(TypedDict):
    """Facts about a shard.

    Attributes:
        rows: Its rows.
        folds: Rows of each fold, and of none.
        labels: At most two distinct labels of the training fold.
    """

    rows: int
    folds: list[int]
    labels: list[str] | list[float]


def has_inputs_of_its_own(columns: Columns) -> bool:
    """Whether a row's inputs are hashed beside its key."""
    return bool(columns.of_kind("id") and columns.inputs)


def as_numbers(hashes: NDArray[np.uint8]) -> Numbers:
    """Hashes of 16 bytes as pairs of numbers that sort as they do, ``(rows, 2)``."""
    return np.ascontiguousarray(hashes).view(">u8").astype(np.uint64)


def spellings_of(columns: Columns) -> list[Spellings]:
    """An empty count for each column whose spellings are checked."""
    names = columns.of_kind(*_SPELLED)
    return [Spellings(name) for name in names if columns.arrow_type(name) == "string"]


class Sketch:
    """Sketch of the shard whose rows are added."""

    def __init__(self, columns: Columns) -> None:
        """Take the frozen columns."""
        self._columns = columns
        self._rows = 0
        self._inputs: list[Numbers] = []
        self._folds = np.zeros(OUTSIDE + 1, dtype=np.int64)
        self._labels: set[Any] = set()
        self._spellings = spellings_of(columns)
        self._sample = Sample(columns)

    def add(self, rows: pa.Table) -> None:
        """Take the next rows of the table."""
        columns, folds = self._columns, tables.folds(rows)
        if has_inputs_of_its_own(columns):
            self._inputs.append(as_numbers(input_hashes(rows, columns)))
        if columns.label is not None and len(self._labels) < 2:
            training = rows[columns.label].filter(folds == TRAIN)
            self._labels |= set(training.unique().to_pylist()[:2])
        for spellings in self._spellings:
            spellings.add(rows[spellings.column])
        self._sample.add(rows)
        self._folds += np.bincount(folds, minlength=OUTSIDE + 1)
        self._rows += len(rows)

    def save(self, facts: Path, sample: Path) -> None:
        """Write both files.

        Args:
            facts: Hashes of inputs, labels and spellings, safetensors.
            sample: The sample of rows, Parquet.
        """
        tensors: dict[str, NDArray[Any]] = {}
        if self._inputs:
            tensors[_INPUT] = np.concatenate(self._inputs)
        for spellings in self._spellings:
            if spellings.counts is not None:
                text = json.dumps(spellings.counts, sort_keys=True, ensure_ascii=False)
                tensors[_VALUES + spellings.column] = np.frombuffer(text.encode(), np.uint8)
        labels: Any = sorted(self._labels)[:2]
        summary = Summary(rows=self._rows, folds=self._folds.tolist(), labels=labels)
        save_state(facts, tensors, summary)
        self._sample.save(sample)


@dataclass(frozen=True)
class Facts:
    """Reader of the facts about a shard.

    Attributes:
        path: The file.
        summary: What is counted.
        names: Its tensors.
    """

    path: Path
    summary: Summary
    names: frozenset[str]

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read the header.

        Raises:
            SourceError: There is no such file.
            CorruptError: It is not such a file.
        """
        with sliced(path):
            header = read_weights(path)
        with naming(path):
            summary = as_kind(Summary, header.meta)
        return cls(path, summary, frozenset(each.name for each in header.tensors))

    def values(self, column: str) -> dict[str, int] | None:
        """Rows of each value of a column; None where there are too many."""
        if _VALUES + column not in self.names:
            return None
        with sliced(self.path) as file:
            text = file.get_tensor(_VALUES + column).tobytes()
        return parse_json(text, self.path, dict[str, int])

    def inputs(self, start: int, rows: int) -> Numbers:
        """Hash of the inputs of some consecutive rows, ``(rows, 2)``."""
        with sliced(self.path) as file:
            found: Numbers = file.get_slice(_INPUT)[start : start + rows]
        return found
