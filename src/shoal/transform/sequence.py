"""Steps on texts that are sequences: a piece of them, the other strand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, PositiveInt

from shoal.errors import SourceError
from shoal.formats import tables
from shoal.formats.hashing import uniform, uniform_streams
from shoal.settings.section import Section
from shoal.transform.step import TransformStep

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from shoal.transform.rows import Rows

_CODES, _COMPLEMENTS = "ACGTURYSWKMBDHVN-*", "TGCAAYRSWMKVHDBN-*"
_COMPLEMENT = str.maketrans(_CODES + _CODES.lower(), _COMPLEMENTS + _COMPLEMENTS.lower())
_LETTERS = frozenset(_CODES + _CODES.lower())


def with_texts(
    rows: Rows,
    column: str,
    salt: tuple[Any, ...],
    count: Callable[[str], int],
    change: Callable[[str, NDArray[np.float64]], str],
) -> Rows:
    """Rows with other texts in the training fold; missing ones stay missing.

    Args:
        rows: The rows.
        column: A text column.
        salt: What distinguishes these draws from others.
        count: Numbers in [0, 1) that the change of a text needs.
        change: The text that becomes of a text and its numbers.
    """
    texts = rows.table[column].to_pylist()
    places = [place for place in np.flatnonzero(rows.training) if texts[place] is not None]
    if not places:
        return rows
    row_keys = tables.keys(rows.table)[places]
    streams = uniform_streams(row_keys, [count(texts[place]) for place in places], *salt)
    for place, draws in zip(places, streams, strict=True):
        texts[place] = change(texts[place], draws)
    return rows.with_column(column, pa.array(texts, pa.string()))


class ChunkOptions(Section):
    """How long a piece is kept, and from where."""

    length: PositiveInt = Field(description="characters that are kept; shorter texts stay whole")
    place: Literal["start", "end", "random"] = Field(
        default="start",
        description="where they are; 'random' is for training rows, others keep the middle",
    )


class Chunk(TransformStep):
    """A piece of each text, in every fold; where it lies is random in training rows at most."""

    name = "chunk"
    works_on = ("categorical", "text")
    Options: ClassVar[type[Section]] = ChunkOptions

    def check(self) -> None:
        """A random place is drawn."""
        self.draws = self.options.place == "random"

    def apply(self, rows: Rows, memory: dict[str, Any]) -> Rows:  # noqa: ARG002
        """Cut."""
        for column in self.columns:
            texts = rows.table[column].to_pylist()
            starts = self._starts(rows, column, texts)
            length = self.options.length
            pieces = [
                None if text is None else text[start : start + length]
                for text, start in zip(texts, starts, strict=True)
            ]
            rows = rows.with_column(column, pa.array(pieces, pa.string()))
        return rows

    def _starts(self, rows: Rows, column: str, texts: list[str | None]) -> list[int]:
        """First character of each piece."""
        lengths = np.array([len(text or "") for text in texts], dtype=np.int64)
        spare = np.maximum(lengths - self.options.length, 0)
        share = np.full(len(texts), {"start": 0.0, "end": 1.0, "random": 0.5}[self.options.place])
        if self.options.place != "random":
            return (spare * share).astype(np.int64).tolist()  # type: ignore[no-any-return]
        starts = spare // 2
        if rows.training.any():
            row_keys = tables.keys(rows.table)[rows.training]
            draws = uniform(row_keys, *self.salt(column))
            starts[rows.training] = np.floor(draws * (spare[rows.training] + 1)).astype(np.int64)
        return starts.tolist()  # type: ignore[no-any-return]


class ReverseComplementOptions(Section):
    """Which rows are turned."""

    share: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="share of training rows that are turned; without it all rows of every fold are",
    )


class ReverseComplement(TransformStep):
    """DNA read from the other strand: with a share, of some training rows; without, of all rows.

    Letters are those of IUPAC, with ``-`` for gaps and ``*`` for what ``mask`` hid; U counts as T.
    """

    name = "reverse_complement"
    works_on = ("categorical", "text")
    by_options = True
    Options: ClassVar[type[Section]] = ReverseComplementOptions

    def check(self) -> None:
        """A share makes it an augmentation."""
        self.training_only = self.draws = self.options.share is not None

    def apply(self, rows: Rows, memory: dict[str, Any]) -> Rows:  # noqa: ARG002
        """Turn.

        Raises:
            SourceError: A text has another letter.
        """
        for column in self.columns:
            texts = rows.table[column].to_pylist()
            for place in np.flatnonzero(self._turned(rows, column)).tolist():
                if texts[place] is not None:
                    texts[place] = self._other_strand(texts[place], place, column, rows)
            rows = rows.with_column(column, pa.array(texts, pa.string()))
        return rows

    def _turned(self, rows: Rows, column: str) -> NDArray[np.bool_]:
        if self.options.share is None:
            return np.ones(len(rows.table), dtype=bool)
        turned = rows.training.copy()
        if turned.any():
            row_keys = tables.keys(rows.table)[rows.training]
            turned[rows.training] = uniform(row_keys, *self.salt(column)) < self.options.share
        return turned

    def _other_strand(self, text: str, place: int, column: str, rows: Rows) -> str:
        if not _LETTERS.issuperset(text):
            number = next(n for n, letter in enumerate(text) if letter not in _LETTERS)
            raise SourceError(
                f"{rows.place(place, column)}: character {number + 1}, {text[number]!r}, is no "
                f"letter of DNA; {self.name} works on DNA alone"
            )
        return text.translate(_COMPLEMENT)[::-1]
