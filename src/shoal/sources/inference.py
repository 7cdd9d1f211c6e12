"""The kind of each column: declared, or inferred from the first rows of every file."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from shoal.errors import SourceError, nearest
from shoal.formats.tables import ARRAY_KINDS, Columns
from shoal.sources.columns import Place, bad_numbers, plain, storage, time_formats, without_missing
from shoal.sources.files import saved_index
from shoal.sources.tensors import (
    are_pictures,
    arrays,
    holds_pictures,
    layout_of,
    picture_shape,
    scales_differ,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from shoal.settings.data import Images
    from shoal.sources.tensors import ArrayLayout

WORDS = {
    "number": "numbers",
    "string": "strings",
    "time": "times",
    "array": "arrays of numbers",
    "picture": "pictures",
    "other": "nested or binary values",
}


@dataclass
class ColumnEvidence:
    """Evidence of a column's kind in the first rows of all files.

    Attributes:
        source: The first file that says how the column is stored.
        storage: As :func:`storage` says it, ``picture`` besides.
        layout: Shape and type of arrays and pictures.
        apart: As :func:`scales_differ`.
        rows: Rows that hold a value, over all files.
        characters: Characters in them, where they are strings.
        distinct: Distinct strings.
    """

    source: str = ""
    storage: str = "nothing"
    layout: ArrayLayout | None = None
    apart: float | None = None
    rows: int = 0
    characters: int = 0
    distinct: set[str] = field(default_factory=set)


def gathered(
    name: str, heads: Mapping[str, pa.Table], declared: str | None, images: Images | None
) -> ColumnEvidence:
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
    evidence = ColumnEvidence()
    for source, head in heads.items():
        column = plain(head[name])
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
        place = Place(source, 1, name)
        if how == "array":
            layout = layout_of(column)
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
    how = storage(column.type)
    if (declared == "image" and holds_pictures(column.type)) or are_pictures(column):
        how = "picture"
    elif how == "string":
        column = without_missing(column)
        if column.null_count < len(column) and not bad_numbers(column).any():
            how = "number"
    return "nothing" if column.null_count == len(column) else how


def _add_strings(evidence: ColumnEvidence, column: pa.Array) -> None:
    present = without_missing(column).drop_null()
    evidence.rows += len(present)
    evidence.characters += pc.sum(pc.utf8_length(present)).as_py() or 0
    evidence.distinct |= set(present.to_pylist())


def _apart(column: pa.Array, place: Place, layout: ArrayLayout) -> float | None:
    """As :func:`scales_differ`, for arrays that could be images."""
    shape, element = layout
    if len(shape) == 1 or element == "uint8":
        return None
    arrays(column.drop_null(), place, "image", layout, resize=False)
    return scales_differ(column, shape)


def _add_layout(evidence: ColumnEvidence, name: str, source: str, layout: ArrayLayout) -> None:
    """Require one shape of all files; the type is bytes only if every file has bytes."""
    if evidence.layout is None:
        evidence.layout = layout
        return
    shape, element = evidence.layout
    if layout[0] != shape:
        held = "vectors" if len(shape) == 1 else "images"
        raise SourceError(
            f"{source}: column {name!r} holds {held} of shape {layout[0]}, but {shape} in "
            f"{evidence.source}"
        )
    wider = "float64" if len(shape) == 1 else "float32"
    evidence.layout = shape, element if element == layout[1] else wider


FEW_SHARE = 0.05
FEW_LEAST = 20
LONG_CHARACTERS = 50
"""Strings are categories if few are distinct (at most a share of the rows that have one, or a
least number) and they are not long on average."""

_INDEX = re.compile(r"__index_level_\d+__|Unnamed: 0(\.\d+)?")
_SINGLE = ("label", "id", "group", "time")
_KIND_OF = {"number": "numeric", "picture": "image", "time": "time"}


@dataclass(frozen=True)
class _Verdict:
    """A column's kind, why it was inferred, and the shape and type of its arrays."""

    kind: str
    reason: str | None = None
    layout: ArrayLayout | None = None
    resized: bool = False


def infer(
    heads: Mapping[str, pa.Table],
    declared: Mapping[str, str],
    task: str,
    *,
    undeclared: str = "infer",
    fold_column: str | None = None,
    images: Images | None = None,
) -> Columns:
    """The columns of an experiment.

    Args:
        heads: Source file to its first rows.
        declared: Column name to kind; wins over what the rows look like.
        task: ``classification``, ``regression`` or ``own``.
        undeclared: ``infer`` or ``ignore`` what is not declared.
        fold_column: A column that names the fold; ignored unless it is declared.
        images: How encoded pictures are read; by default all are of one size.

    Raises:
        SourceError: A declared column is absent, files disagree about a column, there is not
            exactly one label where the task is not ``own``, there is more than one id, group or
            time, or no input.
    """
    _check_declared(heads, declared)
    verdicts = {
        name: _unused(name, heads, declared, undeclared, fold_column)
        or _verdict(name, heads, declared.get(name), images)
        for name in dict.fromkeys(name for head in heads.values() for name in head.schema.names)
    }
    kinds = {name: verdict.kind for name, verdict in verdicts.items()}
    _check_counts(kinds, task, next(iter(heads)))
    times = [name for name, kind in kinds.items() if kind == "time"]
    layouts = {name: verdict.layout for name, verdict in verdicts.items() if verdict.layout}
    return Columns(
        kinds=kinds,
        task=task,
        image_shapes={name: shape for name, (shape, _) in layouts.items()},
        image_types={name: element for name, (_, element) in layouts.items()},
        inferred={name: verdict.reason for name, verdict in verdicts.items() if verdict.reason},
        formats={name: _time_format(name, heads) for name in times},
        resized=[name for name, verdict in verdicts.items() if verdict.resized],
    )


def listing(columns: Columns) -> str:
    """The columns in words, one line per column."""
    rows = []
    for name, kind in columns.kinds.items():
        shape = columns.image_shapes.get(name)
        detail = f" {'x'.join(map(str, shape))} {columns.image_types[name]}" if shape else ""
        detail += f" as {columns.formats[name]}" if name in columns.formats else ""
        reason = columns.inferred.get(name)
        rows.append((name, kind + detail, f"inferred: {reason}" if reason else "declared"))
    wide, wider = (max(len(row[place]) for row in rows) for place in (0, 1))
    lines = [f"  {name:<{wide}}  {kind:<{wider}}  {origin}" for name, kind, origin in rows]
    return "\n".join([f"columns ({columns.task})", *lines])


def _unused(
    name: str,
    heads: Mapping[str, pa.Table],
    declared: Mapping[str, str],
    undeclared: str,
    fold_column: str | None,
) -> _Verdict | None:
    """The verdict ``ignore``, if it applies."""
    if name in declared:
        return _Verdict("ignore") if declared[name] == "ignore" else None
    reason = _no_input(name, heads)
    if undeclared == "ignore":
        reason = "it is not declared"
    if name == fold_column:
        reason = "it names the fold"
    return _Verdict("ignore", reason) if reason else None


def _no_input(name: str, heads: Mapping[str, pa.Table]) -> str | None:
    """Why a model may not see a column that is not declared; None if it may."""
    for source, head in heads.items():
        if name in saved_index(head.schema):
            return f"pandas saved it as the index of {source}"
    if _INDEX.fullmatch(name):
        return "pandas names a saved index so"
    first = next(iter(heads))
    return None if name in heads[first].schema.names else f"{first} has no such column"


def _verdict(
    name: str, heads: Mapping[str, pa.Table], kind: str | None, images: Images | None
) -> _Verdict:
    """The kind of a column that is used."""
    for source, head in heads.items():
        if name not in head.schema.names:
            raise SourceError(
                f"{source}: has no column {name!r}, which {next(iter(heads))} has; "
                f"{nearest(name, head.schema.names)}; or declare it ignore"
            )
    evidence = gathered(name, heads, kind, images)
    reason = None
    if kind is None:
        kind, reason = _judged(name, evidence)
    if kind not in ARRAY_KINDS:
        return _Verdict(kind, reason)
    if evidence.layout is None or (kind == "vector" and len(evidence.layout[0]) > 1):
        held = f"arrays of shape {evidence.layout[0]}" if evidence.layout else "none"
        raise SourceError(
            f"{evidence.source or next(iter(heads))}: column {name!r} is declared {kind}, but "
            f"holds {held}; an image is an array of one shape or an encoded picture, a vector "
            f"an array of one axis"
        )
    resized = evidence.storage == "picture" and images is not None and images.size is not None
    return _Verdict(kind, reason, evidence.layout, resized)


def _time_format(name: str, heads: Mapping[str, pa.Table]) -> str:
    """``dates`` or ``numbers``: how all files write the times of a column."""
    formats: dict[str, str] = {}
    for source, head in heads.items():
        for written in time_formats(plain(head[name])):
            formats.setdefault(written, source)
    if {"dates", "numbers"} <= set(formats):
        raise SourceError(
            f"{formats['numbers']}: column {name!r} holds numbers, but dates in "
            f"{formats['dates']}; a time is either: write all as 2026-01-31 or "
            f"2026-01-31T12:30:00, or all as numbers"
        )
    return "numbers" if "numbers" in formats else "dates"


def _judged(name: str, evidence: ColumnEvidence) -> tuple[str, str]:
    """Inferred kind of a column, and why."""
    how = evidence.storage
    if how == "other":
        raise SourceError(
            f"{evidence.source}: column {name!r} holds {WORDS[how]}; declare it ignore"
        )
    if how == "nothing":
        return "ignore", "it holds no value in the first rows of any file"
    if how == "array":
        return _kind_of_arrays(name, evidence)
    if how != "string":
        return _KIND_OF[how], f"it holds {WORDS[how]}"
    distinct, rows = len(evidence.distinct), evidence.rows
    mean = evidence.characters / rows
    seen = f"{distinct} distinct strings in {rows} rows, {mean:.0f} characters on average"
    few = distinct <= max(FEW_LEAST, FEW_SHARE * rows)
    return ("categorical" if few and mean <= LONG_CHARACTERS else "text"), seen


def _kind_of_arrays(name: str, evidence: ColumnEvidence) -> tuple[str, str]:
    """Arrays of one axis are vectors; others are images if one scale suits all entries."""
    shape, _ = evidence.layout or ([], "")
    if len(shape) == 1:
        return "vector", "it holds vectors"
    if evidence.apart is not None:
        raise SourceError(
            f"{evidence.source}: column {name!r} holds arrays of shape {shape}, and one entry "
            f"ranges {evidence.apart:.1g} times as far as others, so they are no pixels of an "
            f"image; save them as vectors, (rows, {math.prod(shape)}), or declare the column image"
        )
    return "image", "it holds images"


def _check_declared(heads: Mapping[str, pa.Table], declared: Mapping[str, str]) -> None:
    """Refuse a declared column that is absent: an ignored one from all files, others from one."""
    for name, kind in declared.items():
        absent = [source for source, head in heads.items() if name not in head.schema.names]
        if absent and (kind != "ignore" or len(absent) == len(heads)):
            raise SourceError(
                f"{absent[0]}: has no column {name!r}, which is declared {kind}; "
                f"{nearest(name, heads[absent[0]].schema.names)}"
            )


def _check_counts(kinds: Mapping[str, str], task: str, first: str) -> None:
    """Refuse other than one label, more than one id, group or time, and no input.

    A model with a loss of its own may have any number of labels.
    """
    for single in _SINGLE[task == "own" :]:
        names = [name for name, kind in kinds.items() if kind == single]
        if len(names) > 1:
            raise SourceError(
                f"{first}: columns {', '.join(map(repr, names))} are all of kind {single}, which "
                f"one column can be; declare the others ignore"
            )
        if single == "label" and not names:
            raise SourceError(
                f"{first}: no column is the label; declare one in sources.columns, or "
                f"sources.task own where the model has a loss without; "
                f"columns: {', '.join(kinds)}"
            )
    if not set(kinds.values()) & {"numeric", "categorical", "text", *ARRAY_KINDS}:
        raise SourceError(f"{first}: no column is left as input; declare one or infer them")
