"""Steps that mask, swap, cut or reverse values and texts, mostly of training rows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, PositiveInt

from shoal.errors import SettingsError, SourceError
from shoal.formats import tables
from shoal.formats.hashing import uniform, uniform_streams
from shoal.settings.section import Section
from shoal.transform.step import TransformStep

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from shoal.transform.step import Rows

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
    """Rows with changed texts in the training fold; missing ones stay missing.

    Args:
        rows: The rows.
        column: A text column.
        salt: Distinguishes these draws from others.
        count: Numbers in [0, 1) that the change of a text needs.
        change: From a text and its numbers to the new text.
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

    def apply(self, rows: Rows) -> Rows:
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

    def apply(self, rows: Rows) -> Rows:
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


class MaskOptions(Section):
    """How much is hidden, and behind what."""

    share: float = Field(gt=0, lt=1, description="share of values, of a text's characters, masked")
    character: str = Field(
        default="*", min_length=1, max_length=1, description="what stands for a text's character"
    )


class Mask(TransformStep):
    """Numbers and categories of training rows go missing, characters of texts are replaced."""

    name = "mask"
    works_on = ("numeric", "categorical", "text")
    training_only = True
    Options: ClassVar[type[Section]] = MaskOptions
    draws = True

    def apply(self, rows: Rows) -> Rows:
        """Mask."""
        for column in self.columns:
            text = self.context.kinds[column] == "text"
            rows = self._characters(rows, column) if text else self._values(rows, column)
        return rows

    def _values(self, rows: Rows, column: str) -> Rows:
        if not rows.training.any():
            return rows
        masked = rows.training.copy()
        row_keys = tables.keys(rows.table)[rows.training]
        masked[rows.training] = uniform(row_keys, *self.salt(column)) < self.options.share
        values = rows.table[column]
        nothing = pa.scalar(None, values.type)
        return rows.with_column(column, pc.if_else(pa.array(masked), nothing, values))

    def _characters(self, rows: Rows, column: str) -> Rows:
        share, character = self.options.share, self.options.character

        def masked(text: str, draws: NDArray[np.float64]) -> str:
            pairs = zip(text, (draws < share).tolist(), strict=True)
            return "".join(character if hidden else letter for letter, hidden in pairs)

        return with_texts(rows, column, self.salt(column), len, masked)


class SwapOptions(Section):
    """How much changes places."""

    share: float = Field(
        gt=0, le=1, description="share of the parts that swap places with another one, drawn anew"
    )
    unit: Literal["character", "word"] = Field(default="character", description="parts of a text")


class Swap(TransformStep):
    """Parts of a text of a training row swap places, or the row's values of several columns.

    Columns are all texts, or two and more of one other kind.
    """

    name = "swap"
    works_on = ("numeric", "categorical", "text")
    training_only = True
    Options: ClassVar[type[Section]] = SwapOptions
    draws = True

    def check(self) -> None:
        """Refuse columns whose values cannot be swapped."""
        kinds = sorted({self.context.kinds[column] for column in self.columns})
        if kinds == ["text"]:
            return
        if len(kinds) > 1 or len(self.columns) < 2:
            raise SettingsError(
                f"{self.place}: columns: name texts, each of which is mixed up in itself, or at "
                f"least two numeric or two categorical columns, whose values swap places; "
                f"{', '.join(self.columns)} is {' and '.join(kinds)}"
            )

    def apply(self, rows: Rows) -> Rows:
        """Swap."""
        if self.context.kinds[self.columns[0]] != "text":
            return self._values(rows)
        for column in self.columns:
            rows = with_texts(rows, column, self.salt(column), self._draws, self._mixed)
        return rows

    def _draws(self, text: str) -> int:
        """Numbers that a text needs: two per part."""
        return 2 * len(self._parts(text)[1])

    def _parts(self, text: str) -> tuple[list[str], list[int]]:
        """A text in pieces, and the places of those that may move."""
        if self.options.unit == "character":
            return list(text), list(range(len(text)))
        pieces = re.split(r"(\s+)", text)
        return pieces, [place for place, piece in enumerate(pieces) if piece.strip()]

    def _mixed(self, text: str, draws: NDArray[np.float64]) -> str:
        pieces, places = self._parts(text)
        moved = [pieces[places[index]] for index in swapped(draws, self.options.share)]
        for place, piece in zip(places, moved, strict=True):
            pieces[place] = piece
        return "".join(pieces)

    def _values(self, rows: Rows) -> Rows:
        """Values of the columns, within each training row."""
        places = np.flatnonzero(rows.training)
        if not len(places):
            return rows
        values = [rows.table[column].to_pylist() for column in self.columns]
        counts = [2 * len(values)] * len(places)
        row_keys = tables.keys(rows.table)[places]
        streams = uniform_streams(row_keys, counts, *self.salt("/".join(self.columns)))
        for place, draws in zip(places.tolist(), streams, strict=True):
            before = [column[place] for column in values]
            for column, index in zip(values, swapped(draws, self.options.share), strict=True):
                column[place] = before[index]
        for name, column in zip(self.columns, values, strict=True):
            rows = rows.with_column(name, pa.array(column, rows.table.schema.field(name).type))
        return rows


def swapped(draws: NDArray[np.float64], share: float) -> Sequence[int]:
    """The order of items after some have swapped places with another item.

    Args:
        draws: Two numbers in [0, 1) per item: whether it swaps, and with which other.
        share: Share of items that swap.

    Returns:
        Item of each place, counted from 0; each item once.
    """
    items = len(draws) // 2
    order = list(range(items))
    if items < 2:
        return order
    other = np.floor(draws[items:] * (items - 1)).astype(np.int64)
    other += other >= np.arange(items)
    for one in np.flatnonzero(draws[:items] < share).tolist():
        order[one], order[other[one]] = order[other[one]], order[one]
    return order
