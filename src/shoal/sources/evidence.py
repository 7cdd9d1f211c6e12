"""Evidence of a column's kind: how the first rows of every file store it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from shoal.errors import SourceError
from shoal.sources import tensors, values
from shoal.sources.pictures import are_pictures, holds_pictures, picture_shape

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from shoal.settings.data import Images
    from shoal.sources.tensors import Layout

WORDS = {
    "number": "numbers",
    "string": "strings",
    "time": "times",
    "array": "arrays of numbers",
    "picture": "pictures",
    "other": "nested or binary values",
}


@dataclass
class Evidence:
    """Evidence of a column's kind in the first rows of all files.

    Attributes:
        source: The first file that says how the column is stored.
        storage: How it is stored, as :func:`values.storage` says it.
        layout: Shape and type of arrays and pictures.
        apart: How much further one entry of an array ranges than others, if that is far.
        rows: Rows that hold a value, over all files.
        characters: Characters in them, where they are strings.
        distinct: Distinct strings.
    """

    source: str = ""
    storage: str = "nothing"
    layout: Layout | None = None
    apart: float | None = None
    rows: int = 0
    characters: int = 0
    distinct: set[str] = field(default_factory=set)


def gathered(
    name: str, heads: Mapping[str, pa.Table], declared: str | None, images: Images | None
) -> Evidence:
    """Gather the evidence of a column.

    Args:
        name: The column.
        heads: Source file to its first rows.
        declared: The column's kind, where that is declared.
        images: How encoded pictures are read; by default all are of one size.

    Raises:
        SourceError: Files disagree about the column, and its kind is not declared; or its arrays
            are of several shapes.
    """
    evidence = Evidence()
    for source, head in heads.items():
        column = values.plain(head[name])
        how = _storage(column, declared)
        if how == "string":
            _add_strings(evidence, column)
        if how == "nothing":
            continue
        if evidence.storage == "nothing":
            evidence.storage, evidence.source = how, source
        elif declared is None and how != evidence.storage:
            raise SourceError(
                f"{source}: column {name!r} holds {WORDS[how]}, but {WORDS[evidence.storage]} in "
                f"{evidence.source}; declare its kind or clean it"
            )
        place = values.Place(source, 1, name)
        if how == "array":
            layout = tensors.layout_of(column)
            if layout is not None:
                _add_layout(evidence, name, source, layout)
                evidence.apart = evidence.apart or _apart(column, place, layout)
        elif how == "picture":
            size, channels = (images.size, images.channels) if images else (None, None)
            shape = picture_shape(column, place, size, channels)
            if shape is not None:
                _add_layout(evidence, name, source, (shape, "uint8"))
    return evidence


def _storage(column: pa.Array, declared: str | None) -> str:
    """How a file stores a column, as its rows show it: strings may spell numbers."""
    how = values.storage(column.type)
    if (declared == "image" and holds_pictures(column.type)) or are_pictures(column):
        how = "picture"
    elif how == "string":
        column = values.without_missing(column)
        if column.null_count < len(column) and values.is_number(column):
            how = "number"
    return "nothing" if column.null_count == len(column) else how


def _add_strings(evidence: Evidence, column: pa.Array) -> None:
    present = values.without_missing(column).drop_null()
    evidence.rows += len(present)
    evidence.characters += pc.sum(pc.utf8_length(present)).as_py() or 0
    evidence.distinct |= set(present.to_pylist())


def _apart(column: pa.Array, place: values.Place, layout: Layout) -> float | None:
    """How much further one entry of arrays that could be images ranges than others, if far."""
    shape, element = layout
    if len(shape) == 1 or element == "uint8":
        return None
    tensors.arrays(column.drop_null(), place, "image", layout, resize=False)
    return tensors.scales_differ(column, shape)


def _add_layout(evidence: Evidence, name: str, source: str, layout: Layout) -> None:
    """Arrays of one shape; bytes only if they are so in every file."""
    if evidence.layout is None:
        evidence.layout = layout
        return
    shape, element = evidence.layout
    if layout[0] != shape:
        arrays = "vectors" if len(shape) == 1 else "images"
        raise SourceError(
            f"{source}: column {name!r} holds {arrays} of shape {layout[0]}, but {shape} in "
            f"{evidence.source}"
        )
    wider = "float64" if len(shape) == 1 else "float32"
    evidence.layout = shape, element if element == layout[1] else wider
