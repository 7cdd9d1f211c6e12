"""A first look at the source files: settings that stand as ``auto`` get the values that fit them.

Files, task, label, split and embedding may be ``auto``, as in ``config/experiment/auto.yaml``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoal.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from shoal.settings.data import ArraySource

AUTO = "auto"

_NAMES = {"label": ("label", "target", "class", "y"), "group": ("group",), "id": ("id",)}
"""Names of columns, in any case, by which they are of a kind that no values tell."""
_FEW_CLASSES, _ROWS_OF_CLASS = 100, 10
"""Whole numbers are classes if they are at most so many, each of so many rows on average."""
_DATE = r"^\d{4}-\d{2}-\d{2}([T ].*)?$"
_MOST_FILES, _HEAD_ROWS = 8, 8192
_OF_TABLES, _PCA_DIMS = ["identity", "pca"], [16, 64]
"""Embeddings of numbers and categories by name; of wider inputs components are enough."""


def settled(content: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Settings without ``auto``.

    Args:
        content: Settings as they are composed, plain values.

    Returns:
        The settings, and why each has its value, by name.

    Raises:
        SourceError: There are no files, a file cannot be read, or no column is the label.
    """
    sources, split, embed = (content.get(name) or {} for name in ("sources", "split", "embed"))
    asked = {
        "files": _is_auto(sources, "files"),
        "task": _is_auto(sources, "task"),
        "split": _is_auto(split, "method"),
        "embed": _is_auto(embed, "cross"),
    }
    if not any(asked.values()):
        return content, {}
    found: dict[str, str] = {}
    sources = dict(sources)
    if asked["files"]:
        sources["files"] = _files(Path(str(sources.get("folder"))))
        found["sources.files"] = f"all source files in {sources['folder']}"
    heads = _heads(sources)
    names = list(dict.fromkeys(name for head in heads.values() for name in head.schema.names))
    columns = dict(sources.get("columns") or {})
    if asked["task"]:
        columns |= _named(names, columns, found)
        label = next((name for name, kind in columns.items() if kind == "label"), None)
        if label is None:
            raise SourceError(
                f"{next(iter(heads))}: no column is called {', '.join(_NAMES['label'])}; say which "
                f"one is to be predicted, sources.columns.NAME=label, or sources.task=own where "
                f"the model has a loss without; columns: {', '.join(names)}"
            )
        sources["task"], found["sources.task"] = _task(label, heads)
    if asked["split"] and not {"group", "time"} & set(columns.values()):
        dated = [name for name in names if name not in columns and _holds_dates(name, heads)]
        if len(dated) == 1:
            columns[dated[0]], found[f"sources.columns.{dated[0]}"] = "time", "time: it holds dates"
    sources["columns"] = columns
    content = content | {"sources": sources}
    if asked["split"] or asked["embed"]:
        kinds = _kinds(sources, heads)
        if asked["split"]:
            method, found["split.method"] = _split(kinds)
            content["split"] = split | {"method": method}
        if asked["embed"]:
            wide = set(kinds.values()) & {"text", "image", "vector"}
            if wide:
                content["embed"] = {name: embed[name] for name in embed if name != "cross"}
                content["embed"] |= {"method": "pca", "dims": _PCA_DIMS}
                found["embed.dims"] = f"inputs of many features: {', '.join(sorted(wide))}"
            else:
                content["embed"] = {"cross": _OF_TABLES}
                found["embed"] = "inputs are numbers and categories"
    return content, found


def source_files(sources: Mapping[str, Any]) -> list[tuple[Path, ArraySource | None]]:
    """Source files that settings name now; none is read.

    Args:
        sources: The section, plain values, of which some may be ``auto``.

    Returns:
        As :func:`shoal.sources.readers.expand` returns them.

    Raises:
        SettingsError: A value is not what the section allows.
        SourceError: A file is missing, or none is there.
    """
    from shoal.settings import parse
    from shoal.settings.data import Sources
    from shoal.sources.readers import expand

    known = {name: value for name, value in sources.items() if value != AUTO}
    if _is_auto(sources, "files"):
        known["files"] = _files(Path(str(sources.get("folder"))))
    parsed: Sources = parse(Sources, {"task": "own", **known}, "sources")
    return expand(parsed.in_folder().files)


def _is_auto(section: Any, name: str) -> bool:  # noqa: ANN401 - any plain value
    return isinstance(section, dict) and section.get(name) == AUTO


def _files(folder: Path) -> list[str]:
    """Names of the source files in a folder."""
    from shoal.sources.readers import SUFFIXES

    if not folder.is_dir():
        raise SourceError(f"{folder}: no such folder; sources.folder says where the files lie")
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    found = [name for name in names if name.lower().endswith(SUFFIXES) and name[0] != "."]
    if not found:
        raise SourceError(f"{folder}: no file ends in {', '.join(SUFFIXES)}; see sources.folder")
    return found


def _heads(sources: Mapping[str, Any]) -> dict[str, pa.Table]:
    """First rows of some files."""
    from shoal.sources.readers import raw_batches

    files = source_files(sources)[:_MOST_FILES]
    rows = min(sources["batch_rows"], _HEAD_ROWS)
    return {str(path): next(raw_batches(arrays or path, rows)) for path, arrays in files}


def _named(names: list[str], columns: Mapping[str, str], found: dict[str, str]) -> dict[str, str]:
    """Columns whose kind their name tells, where none is declared to be of it."""
    kinds: dict[str, str] = {}
    for kind, known in _NAMES.items():
        if kind in columns.values():
            continue
        for wanted in known:
            own = [name for name in names if name.lower() == wanted and name not in columns]
            if own:
                kinds[own[0]] = kind
                found[f"sources.columns.{own[0]}"] = f"{kind}, by its name"
                break
    return kinds


def _holds_dates(name: str, heads: Mapping[str, pa.Table]) -> bool:
    """Whether a column's strings are all dates such as 2026-01-31, with or without a time."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from shoal.sources.columns import plain, storage, without_missing

    any_date = False
    for head in heads.values():
        column = plain(head[name]) if name in head.schema.names else pa.nulls(0)
        if len(column) and storage(column.type) != "string":
            return False
        present = without_missing(column).drop_null() if len(column) else column
        if not pc.all(pc.match_substring_regex(present.cast(pa.string()), _DATE)).as_py():
            return False
        any_date |= len(present) > 0
    return any_date


def _task(label: str, heads: Mapping[str, pa.Table]) -> tuple[str, str]:
    """Task by the values of the label, and why."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from shoal.sources.columns import bad_numbers, plain, storage, without_missing

    parts = []
    for head in heads.values():
        if label in head.schema.names:
            column = plain(head[label])
            how = storage(column.type)
            if how == "string":
                column = without_missing(column)
                how = "string" if bad_numbers(column).any() else "number"
            if how != "number":
                return "classification", f"{label!r} holds no numbers"
            parts.append(pc.cast(column, pa.float64()))
    values = pa.chunked_array(parts, pa.float64()).drop_null()
    whole = pc.all(pc.equal(values, pc.floor(values))).as_py()
    distinct = len(pc.unique(values))
    few = distinct <= _FEW_CLASSES and len(values) >= _ROWS_OF_CLASS * distinct
    seen = f"{label!r} holds {distinct:,} distinct numbers in {len(values):,} rows"
    return ("classification" if whole and few else "regression"), seen


def _kinds(sources: Mapping[str, Any], heads: Mapping[str, pa.Table]) -> dict[str, str]:
    from shoal.settings import parse
    from shoal.settings.data import Sources
    from shoal.sources.inference import infer

    own: Sources = parse(Sources, dict(sources), "sources")
    return infer(heads, own.columns, own.task, undeclared=own.undeclared, images=own.images).kinds


def _split(kinds: Mapping[str, str]) -> tuple[str, str]:
    """How rows are split, so that test rows are as new ones will be, and why."""
    for kind in ("group", "time"):
        own = [name for name, each in kinds.items() if each == kind]
        if own:
            return kind, f"{own[0]!r} is of kind {kind}"
    return "hash", "no column is a group or a time"
