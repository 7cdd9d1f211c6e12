"""Raw columns to typed ones: what a value means, and what is said when it has no meaning.

Missing are nulls, NaN in a number, and the strings in :data:`MISSING`, spelled just so. A
value means the same in every format: categories, labels, ids and groups have one text a value
(:mod:`shoal.sources.canonical`), and a 32-bit 0.1 is the number that its digits say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shoal.errors import SourceError
from shoal.sources.canonical import FALSE, TRUE, canonical, widened
from shoal.sources.tensors import holds_arrays

if TYPE_CHECKING:
    from numpy.typing import NDArray

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None")
NUMBER = r"^[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|(?i:inf|infinity|nan))$"


@dataclass(frozen=True)
class Place:
    """Where a column's values lie, for messages.

    Attributes:
        source: The file.
        first_row: Row of the first value, counted from 1 in the file.
        column: Name of the column.
        inferred: Whether its kind was inferred, from the rows that the generation was fitted on.
        predicted: Whether its rows are to be predicted by a pool.
    """

    source: str
    first_row: int
    column: str
    inferred: bool = False
    predicted: bool = False

    def error(self, index: int, problem: str, advice: str = "") -> SourceError:
        """An error about one value.

        Args:
            index: Its row, from 0.
            problem: What is wrong with it.
            advice: What to change in the settings, which who predicts with a pool does not have.
        """
        row = self.first_row + index
        inferred = "its kind was inferred: declare it, or `shoal refit` infers it anew"
        hints = [] if self.predicted else [advice, inferred if self.inferred else ""]
        said = "".join(f"; {hint}" for hint in hints if hint)
        return SourceError(f"{self.source}: row {row}, column {self.column!r}: {problem}{said}")

    def whole(self, problem: str) -> SourceError:
        """An error about the whole column."""
        return SourceError(f"{self.source}: column {self.column!r} {problem}")


def plain(values: pa.ChunkedArray) -> pa.Array:
    """One array, dictionaries decoded and every kind of string a ``string``."""
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_large_string(values.type) or pa.types.is_string_view(values.type):
        values = values.cast(pa.string())
    return values.combine_chunks()


def storage(kind: pa.DataType) -> str:
    """How a column is stored: number, string, time, array, nothing (null) or other."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    types = pa.types
    if types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind):
        return "number"
    if types.is_decimal(kind):
        return "number"
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return "string"
    if types.is_timestamp(kind) or types.is_date(kind):
        return "time"
    if types.is_null(kind):
        return "nothing"
    return "array" if holds_arrays(kind) else "other"


def without_missing(values: pa.Array) -> pa.Array:
    """Strings with null for those that spell a missing value."""
    missing = pc.is_in(values, pa.array(MISSING))
    return pc.if_else(missing, pa.scalar(None, pa.string()), values)


def numeric(values: pa.Array, place: Place) -> pa.Array:
    """Finite float64, null where missing; truth values are 1 and 0.

    Raises:
        SourceError: A value is no number, or infinite.
    """
    how = storage(values.type)
    if how == "nothing":
        return pa.nulls(len(values), pa.float64())
    if how not in ("number", "string"):
        raise place.whole(f"holds {article(how)}, but its kind is a number")
    parsed = _parsed(values, place) if how == "string" else widened(values)
    parsed = pc.if_else(pc.is_nan(parsed), pa.scalar(None, pa.float64()), parsed)
    infinite = np.flatnonzero(np.isinf(np.asarray(parsed.fill_null(0.0))))
    if len(infinite):
        raise place.error(
            int(infinite[0]),
            f"{values[int(infinite[0])].as_py()!r} is infinite; a division by zero or an "
            f"overflow before the data was written, leave such values empty",
        )
    return parsed


def text(values: pa.Array, place: Place, *, as_written: bool = False) -> pa.Array:
    """Canonical texts (:func:`shoal.sources.canonical.canonical`), null where missing.

    Args:
        values: Strings, numbers, truth values or times.
        place: Where they lie.
        as_written: Whether strings stay to the letter, as free text does.

    Raises:
        SourceError: The column holds arrays or nested values.
    """
    how = storage(values.type)
    if how == "nothing":
        return pa.nulls(len(values), pa.string())
    if how in ("array", "other"):
        raise place.whole(f"holds {article(how)}, but its kind is a text or a category")
    if how == "string":
        values = without_missing(values)
    return values if how == "string" and as_written else canonical(values)


def _parsed(values: pa.Array, place: Place) -> pa.Array:
    """Numbers that strings spell."""
    strings = without_missing(pc.utf8_trim_whitespace(values))
    bad = np.flatnonzero(bad_numbers(strings))
    if len(bad):
        raise place.error(
            int(bad[0]),
            f"{values[int(bad[0])].as_py()!r} is not a number, but the column's kind is",
            "declare it categorical or clean it",
        )
    strings = pc.if_else(pc.is_in(strings, pa.array(TRUE)), "1", strings)
    strings = pc.if_else(pc.is_in(strings, pa.array(FALSE)), "0", strings)
    return strings.cast(pa.float64())


def bad_numbers(strings: pa.Array) -> NDArray[np.bool_]:
    """Which strings are neither missing nor a number nor a truth value."""
    number = pc.match_substring_regex(pc.utf8_trim_whitespace(strings), NUMBER)
    fits = pc.or_(number, pc.is_in(strings, pa.array(TRUE + FALSE)))
    return ~np.asarray(fits.fill_null(True))


def is_number(strings: pa.Array) -> bool:
    """Whether all strings that are not missing spell numbers or truth values."""
    return not bad_numbers(strings).any()


def article(how: str) -> str:
    """Words for the values of a column of this :func:`storage`."""
    return {"other": "nested or binary values", "string": "text"}.get(how, f"{how}s")
