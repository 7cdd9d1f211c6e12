"""Raw columns to typed ones, by the frozen kind of each column.

Missing values are nulls, NaN in a number, and the strings in :data:`MISSING`, spelled just so. A
value means the same in every format: categories, labels, ids and groups have one text per value
(:mod:`shoal.sources.canonical`), and a 32-bit 0.1 is the number that its digits say. How the times
of a column are written is decided once, for all files and rows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shoal.errors import SourceError, nearest
from shoal.formats.tables import ARRAY_KINDS, image_array
from shoal.sources.canonical import canonical, widened
from shoal.sources.tensors import arrays, holds_arrays, holds_pictures
from shoal_edge.canonical import FALSE, MISSING, NUMBER, TRUE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from shoal.formats.tables import Columns

_REMEMBERED = 4096
_FEW = 8
"""Texts that are looked at one by one, sooner than a dictionary of them is made."""


@dataclass(frozen=True)
class Place:
    """Source of a column's values, for messages.

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
            advice: Setting to change; left out for a user of a pool, who has no settings.
        """
        inferred = "its kind was inferred: declare it, or `shoal refit` infers it anew"
        hints = [] if self.predicted else [advice, inferred if self.inferred else ""]
        problem += "".join(f"; {hint}" for hint in hints if hint)
        row = self.first_row + index
        return SourceError(f"{self.source}: row {row}, column {self.column!r}: {problem}")

    def whole(self, problem: str) -> SourceError:
        """An error about the whole column."""
        return SourceError(f"{self.source}: column {self.column!r} {problem}")


def plain(values: pa.ChunkedArray) -> pa.Array:
    """One array, dictionaries decoded and every kind of string a ``string``."""
    if values.num_chunks == 1 and (
        values.type == pa.string() or pa.types.is_primitive(values.type)
    ):
        return values.chunk(0)
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
    if types.is_boolean(kind) or types.is_decimal(kind):
        return "number"
    if types.is_integer(kind) or types.is_floating(kind):
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
    if not pc.any(missing).as_py():
        return values
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
    parsed = values
    if values.type != pa.float64():
        parsed = _parsed(values, place) if how == "string" else widened(values)
    if not parsed.null_count and np.isfinite(np.asarray(parsed)).all():
        return parsed
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

    Unless they are few, those to be predicted stay encoded by a dictionary, which encoders ask for
    next.

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
    if how != "string":
        return canonical(values)
    meaning = _present if as_written else _canonical_string
    if len(values) <= _FEW:
        given = values.to_pylist()
        few = [None if each is None else meaning(each) for each in given]
        return values if few == given else pa.array(few, pa.string())
    encoded = values.dictionary_encode()
    distinct = encoded.dictionary
    if len(distinct) > _REMEMBERED // 4:
        texts = without_missing(distinct)
        texts = texts if as_written else canonical(texts)
    else:
        texts = pa.array([meaning(each) for each in distinct.to_pylist()], pa.string())
    if place.predicted:
        return pa.DictionaryArray.from_arrays(encoded.indices, texts)
    return values if texts.equals(distinct) else texts.take(encoded.indices)


def _present(string: str) -> str | None:
    """A string, None where it spells a missing value."""
    return None if string in MISSING else string


@lru_cache(_REMEMBERED)
def _canonical_string(string: str) -> str | None:
    """The canonical text of a string; categories recur in each batch."""
    text: str | None = canonical(without_missing(pa.array([string], pa.string())))[0].as_py()
    return text


def _parsed(values: pa.Array, place: Place) -> pa.Array:
    """Numbers that strings spell."""
    try:
        parsed = without_missing(values).cast(pa.float64())
    except pa.ArrowInvalid:
        parsed = None
    if parsed is not None and not pc.any(pc.is_nan(parsed)).as_py():
        return parsed
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


def article(how: str) -> str:
    """Words for the values of a column of this :func:`storage`."""
    return {"other": "nested or binary values", "string": "text"}.get(how, f"{how}s")


def seconds(values: pa.Array, place: Place, written: str) -> pa.Array:
    """Seconds since 1970, float64, null where missing; a time without a zone is UTC.

    Args:
        values: Times, dates, ISO 8601 strings or numbers.
        place: Where they lie.
        written: ``dates``, of which a number is one as 20260131, or ``numbers``, which are taken
            as they are.

    Raises:
        SourceError: A value is no time, or is not written so.
    """
    how = storage(values.type)
    if how in ("image", "other") or (how == "time" and written == "numbers"):
        raise place.whole(f"holds {article(how)}, but its times are {written}")
    if how == "time":
        if pa.types.is_date(values.type):
            values = values.cast(pa.timestamp("s"))
        micro = values.cast(pa.timestamp("us", values.type.tz), safe=False).cast(pa.int64())
        return pc.divide(micro.cast(pa.float64(), safe=False), 1e6)
    if written == "numbers":
        bad = bad_numbers(_texts(values)) if how == "string" else np.zeros(0, bool)
        if bad.any():
            index = int(np.argmax(bad))
            value = values[index].as_py()
            raise place.error(index, f"{value!r} is not a number, but times of this column are")
        return numeric(values, place)
    encoded = _texts(values).dictionary_encode()
    first = dict(zip(*np.unique(encoded.indices.drop_null(), return_index=True), strict=True))
    present = np.flatnonzero(encoded.indices.is_valid())
    distinct = enumerate(encoded.dictionary.to_pylist())
    moments = [_seconds(text, place, int(present[first[code]])) for code, text in distinct]
    return pa.array(moments, pa.float64()).take(encoded.indices)


def time_formats(values: pa.Array) -> set[str]:
    """How the times of a column are written, as far as its values say.

    Returns:
        Some of ``dates``; ``numbers``; ``either``, where all numbers are dates such as 20260131.
    """
    how = storage(values.type)
    if how in ("time", "nothing"):
        return {"dates"} if values.null_count < len(values) else set()
    if how not in ("string", "number"):
        return set()
    texts = _texts(values).drop_null()
    is_number = pc.match_substring_regex(texts, NUMBER)
    numbers = texts.filter(is_number)
    formats = {"dates"} if len(numbers) < len(texts) else set()
    if len(numbers):
        compact = all(map(_is_compact_date, numbers.unique().to_pylist()))
        formats.add("either" if compact else "numbers")
    return formats


def _texts(values: pa.Array) -> pa.Array:
    """Canonical texts without blanks around them, null where missing."""
    if storage(values.type) == "string":
        values = without_missing(pc.utf8_trim_whitespace(values))
    return text(values, Place("", 1, ""))


def _is_compact_date(number: str) -> bool:
    """Whether a number is a date in ISO 8601's basic format, such as 20260131."""
    try:
        return len(number) == 8 and bool(datetime.strptime(number, "%Y%m%d"))
    except ValueError:
        return False


def _seconds(value: str, place: Place, index: int) -> float:
    is_number = re.match(NUMBER, value)
    try:
        if is_number and not _is_compact_date(value):
            raise ValueError
        moment = datetime.fromisoformat(value)
    except ValueError:
        known = "a number, but times of this column are dates" if is_number else "not a time"
        raise place.error(
            index,
            f"{value!r} is {known}; write 2026-01-31 or 2026-01-31T12:30:00, or all as numbers",
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def needed(columns: Columns) -> list[str]:
    """Names of the columns that are read: all but the ignored."""
    return [name for name, kind in columns.kinds.items() if kind != "ignore"]


def typed(
    raw: pa.Table,
    columns: Columns,
    source: str,
    first_row: int = 1,
    names: Sequence[str] | None = None,
    *,
    predicted: bool = False,
) -> pa.Table:
    """Rows with their columns typed by kind; other columns of ``raw`` are left out.

    Args:
        raw: Rows as :func:`shoal.sources.readers.raw_batches` gives them.
        columns: The frozen columns.
        source: The file, for messages.
        first_row: Row of the first of these rows in the file, from 1.
        names: Columns to type, all that are :func:`needed` by default.
        predicted: Whether the rows are to be predicted by a pool.

    Returns:
        The columns with the types of :meth:`Columns.schema`, and the id as a string. A missing
        label is null: :func:`label_is_missing` says so. If predicted, texts are encoded by a
        dictionary.

    Raises:
        SourceError: A column is missing or there twice, or a value does not fit its column's
            kind: no number, infinite, another image shape, a missing id.
    """
    wanted, given = needed(columns) if names is None else list(names), raw.column_names
    check_single(given, wanted, source)
    out = {}
    for name in wanted:
        if name not in given:
            hint = nearest(name, given)
            raise SourceError(f"{source}: has no column {name!r}; {hint}")
        place = Place(source, first_row, name, name in columns.inferred, predicted)
        out[name] = _typed_column(plain(raw[name]), columns, place)
    return pa.table(out)


def typed_inputs(raw: pa.Table, columns: Columns, source: str, first_row: int = 1) -> pa.Table:
    """Rows to predict: as :func:`typed`, but only the inputs must be there.

    Label, group and time are typed where they are and null where they are not; an id is left
    out, as it is from tables.

    Args:
        raw: Rows from a source file or of the user's own.
        columns: The frozen columns.
        source: Where they come from, for messages.
        first_row: Row of the first of these rows, from 1.

    Raises:
        SourceError: An input column is missing, or a value does not fit its column's kind.
    """
    names = [name for name in needed(columns) if columns.kinds[name] != "id"]
    known = {*raw.column_names, *columns.inputs}
    present = [name for name in names if name in known]
    table = typed(raw, columns, source, first_row, present, predicted=True)
    if present == names:
        return table
    for name in names:
        if name not in known:
            table = table.append_column(name, pa.nulls(len(raw), columns.arrow_type(name)))
    return table.select(names)


def check_single(names: list[str], taken: list[str], source: str) -> None:
    """Refuse columns that occur twice: it is not known which one is meant.

    Raises:
        SourceError: One of those taken does.
    """
    if len(set(names)) == len(names):
        return
    for name in taken:
        if names.count(name) > 1:
            raise SourceError(f"{source}: column {name!r} is there {names.count(name)} times")


def label_is_missing(table: pa.Table, name: str) -> int | None:
    """Index of the first row without a label, None if all have one."""
    label = table[name]
    return pc.index(label.is_null(), True).as_py() if label.null_count else None


def _typed_column(raw: pa.Array, columns: Columns, place: Place) -> pa.Array:
    kind = columns.kinds[place.column]
    if not len(raw) and kind != "id":
        return pa.nulls(0, columns.arrow_type(place.column))
    if kind == "time":
        return seconds(raw, place, columns.formats.get(place.column, "dates"))
    if columns.is_number(place.column):
        return numeric(raw, place)
    if kind in ARRAY_KINDS:
        if not (holds_arrays(raw.type) or (kind == "image" and holds_pictures(raw.type))):
            raise place.whole(f"holds {article(storage(raw.type))}, but its kind is {kind}")
        layout = columns.image_shapes[place.column], columns.image_types[place.column]
        resize = place.column in columns.resized
        return image_array(arrays(raw, place, kind, layout, resize=resize))
    strings = text(raw, place, as_written=kind == "text")
    if kind == "id" and strings.null_count:
        index = pc.index(strings.is_null(), True).as_py()
        raise place.error(index, "the id is missing; every row needs one, or no id column")
    return strings
