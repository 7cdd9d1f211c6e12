"""Typed rows from raw ones, by columns that are frozen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from shoal.errors import SourceError, nearest
from shoal.formats.tables import ARRAY_KINDS, image_array
from shoal.sources import tensors, times, values
from shoal.sources.frames import check_single
from shoal.sources.inference import infer, listing
from shoal.sources.pictures import holds_pictures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shoal.formats.tables import Columns

__all__ = ["infer", "label_is_missing", "listing", "needed", "typed", "typed_inputs"]


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
        label is null: :func:`label_is_missing` says so.

    Raises:
        SourceError: A column is missing or there twice, or a value does not fit its column's
            kind: no number, infinite, another image shape, a missing id.
    """
    wanted = needed(columns) if names is None else list(names)
    check_single(raw.schema.names, wanted, source)
    out = {}
    for name in wanted:
        if name not in raw.schema.names:
            hint = nearest(name, raw.schema.names)
            raise SourceError(f"{source}: has no column {name!r}; {hint}")
        place = values.Place(source, first_row, name, name in columns.inferred, predicted)
        out[name] = _typed_column(values.plain(raw[name]), columns, place)
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
    present = [name for name in names if name in raw.schema.names or name in columns.inputs]
    table = typed(raw, columns, source, first_row, present, predicted=True)
    for name in names:
        if name not in present:
            table = table.append_column(name, pa.nulls(len(raw), columns.arrow_type(name)))
    return table.select(names)


def label_is_missing(table: pa.Table, columns: Columns) -> int | None:
    """Index of the first row without a label, None if all have one."""
    label = table[columns.label]
    return pc.index(label.is_null(), True).as_py() if label.null_count else None


def _typed_column(raw: pa.Array, columns: Columns, place: values.Place) -> pa.Array:
    kind = columns.kinds[place.column]
    if not len(raw) and kind != "id":
        return pa.nulls(0, columns.arrow_type(place.column))
    if kind == "numeric" or (kind == "label" and columns.task == "regression"):
        return values.numeric(raw, place)
    if kind == "time":
        return times.seconds(raw, place, columns.formats.get(place.column, "dates"))
    if kind in ARRAY_KINDS:
        if not (tensors.holds_arrays(raw.type) or (kind == "image" and holds_pictures(raw.type))):
            raise place.whole(
                f"holds {values.article(values.storage(raw.type))}, but its kind is {kind}"
            )
        layout = columns.image_shapes[place.column], columns.image_types[place.column]
        resize = place.column in columns.resized
        return image_array(tensors.arrays(raw, place, kind, layout, resize=resize))
    strings = values.text(raw, place, as_written=kind == "text")
    if kind == "id" and strings.null_count:
        index = pc.index(strings.is_null(), True).as_py()
        raise place.error(index, "the id is missing; every row needs one, or no id column")
    return strings
