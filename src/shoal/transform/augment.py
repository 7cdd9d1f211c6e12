"""Steps that hide or mix up parts of training rows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from shoal.errors import SettingsError
from shoal.formats import tables
from shoal.formats.hashing import uniform, uniform_streams
from shoal.settings.section import Section
from shoal.transform.sequence import with_texts
from shoal.transform.step import TransformStep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from shoal.transform.rows import Rows


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

    def apply(self, rows: Rows, memory: dict[str, Any]) -> Rows:  # noqa: ARG002
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
        """Refuse columns whose values cannot change places, and a unit where there is no text."""
        kinds = sorted({self.context.kinds[column] for column in self.columns})
        if kinds == ["text"]:
            return
        if len(kinds) > 1 or len(self.columns) < 2:
            raise SettingsError(
                f"{self.place}: columns: name texts, each of which is mixed up in itself, or at "
                f"least two numeric or two categorical columns, whose values swap places; "
                f"{', '.join(self.columns)} is {' and '.join(kinds)}"
            )

    def apply(self, rows: Rows, memory: dict[str, Any]) -> Rows:  # noqa: ARG002
        """Swap."""
        if self.context.kinds[self.columns[0]] != "text":
            return self._values(rows)
        for column in self.columns:
            rows = with_texts(rows, column, self.salt(column), self._draws, self._mixed)
        return rows

    def _draws(self, text: str) -> int:
        """Numbers that a text needs: two a part."""
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
    """An order of things after some have swapped places with another one each.

    Args:
        draws: Two numbers in [0, 1) a thing: whether it swaps, and with which other.
        share: Share of things that swap.

    Returns:
        For each place the thing that it gets, counted from 0; each thing once.
    """
    things = len(draws) // 2
    order = list(range(things))
    if things < 2:
        return order
    other = np.floor(draws[things:] * (things - 1)).astype(np.int64)
    other += other >= np.arange(things)
    for one in np.flatnonzero(draws[:things] < share).tolist():
        order[one], order[other[one]] = order[other[one]], order[one]
    return order
