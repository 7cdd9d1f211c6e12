"""Commands ``split_fit``, ``split`` and ``split_check``: files in, files out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from shoal.formats.blocks import MEMORY, block_rows
from shoal.formats.kinds import TRAIN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from shoal.formats.fitted_state import State, Tensors
    from shoal.formats.tables import Columns
    from shoal.settings.data import ArraySource, Similarity, Sources, Split
    from shoal.split.reading import Planned

_HEADS_MOST, _HEAD_LEAST = 65_536, 256
"""Rows of all heads together, and of one, that columns are inferred from."""
_NEEDS = {"group": "group", "time": "time"}


def split_fit(
    sources: Sources,
    split: Split,
    columns_out: Path,
    folds_out: Path,
    planned: Mapping[str, str | Path | ArraySource] | None = None,
) -> None:
    """Infer the columns and print them; fit the folds that are not functions of one row.

    Where labels are to be shuffled, also keep those of the training fold, to draw from.

    Args:
        sources: Where the rows come from and what is declared of their columns.
        split: How rows fall into folds.
        columns_out: The columns, JSON.
        folds_out: Fitted bounds or table of keys, safetensors; empty for other methods; and
            the labels to draw from.
        planned: Shard, by whose name a file has a content, to its source file; by default the
            files are those that the settings name now, and of any content.

    Raises:
        SourceError: A file cannot be read, or is not what its shard says.
    """
    from shoal.formats.fitted_state import State, save_state
    from shoal.sources.inference import infer, listing
    from shoal.sources.readers import expand, raw_batches
    from shoal.split.reading import Planned

    if planned is None:
        named = expand(sources.in_folder().files)
        files = [Planned(arrays or path) for path, arrays in named]
    else:
        found = (Planned(source, shard) for shard, source in planned.items())
        files = sorted(found, key=lambda file: file.name)
    fold_column = split.column if split.method == "column" else None
    rows = min(sources.batch_rows, max(_HEAD_LEAST, _HEADS_MOST // len(files)))
    heads = {}
    for file in files:
        with file.opened() as opened:
            heads[file.name] = next(raw_batches(opened, rows))
        if fold_column is not None:
            _check_fold_column(heads, fold_column)
    columns = infer(
        heads,
        sources.columns,
        sources.task,
        undeclared=sources.undeclared,
        fold_column=fold_column,
        images=sources.images,
    )
    _check_method(split, columns)
    state = _fitted(files, columns, split, sources.batch_rows)
    labels = State({}, {})
    if sources.shuffle_labels and columns.label is not None:
        labels = _labels(files, columns, columns.label, split, sources.batch_rows, state)
    columns.save(columns_out)
    save_state(folds_out, {**state, **labels.tensors}, {"method": split.method, **labels.meta})
    sys.stdout.write(listing(columns) + "\n")


def split(
    source: str | Path | ArraySource,
    columns: Path,
    folds: Path,
    split: Split,
    batch_rows: int,
    out: Path,
    facts_out: Path,
    sample_out: Path,
    shard: str | None = None,
    memory: int = MEMORY,
) -> None:
    """Read one source file: typed columns, a key and a fold for every row, and its unit, if any.

    Also write what the check of all rows needs besides (:mod:`shoal.split.sketch`).

    Args:
        source: The file, with array names where it is an NPZ file that needs them.
        columns: The columns that :func:`split_fit` wrote.
        folds: The folds that it wrote.
        split: How rows fall into folds.
        batch_rows: Rows read at a time.
        out: The table; its record names the source and says that no row was dropped.
        facts_out: Facts about the rows, safetensors.
        sample_out: A sample of the rows, Parquet.
        shard: The file's shard, by whose name it has a content; not looked at by default.
        memory: Bytes that the process may hold; of wide rows fewer are read at a time.

    Raises:
        SourceError: The file cannot be read, or is not what its shard says.
    """
    from shoal.formats import tables
    from shoal.formats.fitted_state import load_state
    from shoal.split.folds import folds_of, unit_kind, units_of
    from shoal.split.keys import source_hashes
    from shoal.split.reading import Planned, read_rows
    from shoal.split.shuffle import ShuffledLabels
    from shoal.split.sketch import Sketch

    planned = Planned(source, shard)
    frozen = tables.Columns.load(columns)
    state, meta = load_state(folds)
    made_by = unit_kind(frozen, split.method)
    shuffled = ShuffledLabels.from_state(state, meta)
    record: dict[str, object] = {"dropped": {}, "source": planned.name}
    schema = frozen.schema(units=made_by is not None)
    sketch = Sketch(frozen)
    batch_rows = min(batch_rows, block_rows(tables.row_bytes(schema), memory))

    def batches() -> Iterator[pa.Table]:
        rows_in = 0
        for batch in read_rows(planned, frozen, split, batch_rows):
            rows_in += len(batch.table)
            codes = folds_of(split, state, batch.basis)
            keys, table = batch.basis.keys, batch.table
            if shuffled is not None and frozen.label is not None:
                table = shuffled.replace(table, frozen.label, keys, codes, split.seed)
            sources = source_hashes(table, frozen, keys)
            table = table.append_column(tables.KEY, tables.key_array(keys))
            table = table.append_column(tables.SOURCE, tables.key_array(sources))
            if made_by is not None:
                units = units_of(made_by, state, batch.basis)
                table = table.append_column(tables.UNIT, [units])
            table = table.append_column(tables.FOLD, [codes])
            table = table.select(schema.names).cast(schema)
            sketch.add(table)
            yield table
        record["rows_in"] = rows_in

    tables.write_table(out, schema, batches(), record)
    sketch.save(facts_out, sample_out)


def split_check(
    by_source: Mapping[str, Path],
    facts: Sequence[Path],
    samples: Sequence[Path],
    columns: Path,
    split: Split,
    out: Path,
    *,
    by_group: bool = False,
) -> None:
    """Check all rows together.

    Args:
        by_source: Source file, for messages, to its split table.
        facts: Facts about each file's rows, in the same order.
        samples: A sample of each file's rows, in the same order.
        columns: The frozen columns.
        split: How the folds were made.
        out: Counts of rows, of folds and of duplicates, JSON.
        by_group: Whether rows of a group share a route.
    """
    from shoal.formats.json_file import write_json
    from shoal.formats.provenance import made_from
    from shoal.formats.tables import Columns
    from shoal.split.check import Shard, check

    files = zip(by_source.items(), facts, samples, strict=True)
    shards = [Shard(*named, *sketch) for named, *sketch in files]
    out.parent.mkdir(parents=True, exist_ok=True)
    found = check(shards, Columns.load(columns), split, out.parent, by_group=by_group)
    write_json(out, found | made_from())


def _check_fold_column(heads: Mapping[str, pa.Table], column: str) -> None:
    """Refuse a file without the column that names the fold."""
    from shoal.errors import SourceError, nearest

    for source, head in heads.items():
        if column not in head.schema.names:
            hint = nearest(column, head.schema.names)
            raise SourceError(
                f"{source}: has no column {column!r}, which split.column names; {hint}"
            )


def _check_method(split: Split, columns: Columns) -> None:
    """Refuse a method whose column is missing, or is an input."""
    from shoal.errors import SettingsError
    from shoal.split.similarity import COMPARED

    if split.method == "column" and split.column in columns.inputs:
        raise SettingsError(
            f"sources.columns: {split.column!r} names the fold (split.column), so a model may not "
            f"see it; declare it ignore or leave it out"
        )
    if split.method == "similarity" and not columns.of_kind(*COMPARED):
        raise SettingsError(
            f"split.method: 'similarity' compares columns of kind {', '.join(COMPARED)}, and there "
            f"is none; columns: {', '.join(columns.kinds)}"
        )
    kind = _NEEDS.get(split.method)
    if kind and not columns.of_kind(kind):
        raise SettingsError(
            f"split.method: {split.method!r} needs a column of kind {kind}; declare one in "
            f"sources.columns, columns: {', '.join(columns.kinds)}"
        )


def _fitted(
    files: Sequence[Planned], columns: Columns, split: Split, batch_rows: int
) -> dict[str, NDArray[Any]]:
    """State of the split, for methods that are fitted on all rows."""
    import numpy as np

    from shoal.formats import tables
    from shoal.split import folds
    from shoal.split.folds import fit_blocks
    from shoal.split.reading import read_rows, read_times

    if split.method == "time":
        times = [
            folds.all_times(basis)
            for file in files
            for basis in read_times(file, columns, batch_rows)
        ]
        all_times = np.concatenate(times)
        fitted = folds.fit_time(all_times, split.fractions)
        return fitted | fit_blocks(all_times, fitted["bounds"])
    if split.method == "similarity":
        return _fitted_similarity(files, columns, split, batch_rows)
    if split.method not in ("random", "stratified"):
        return {}
    label = columns.label if split.method == "stratified" else None
    keys, labels = [], []
    for file in files:
        for batch in read_rows(file, columns, split, batch_rows):
            keys.append(batch.basis.keys)
            if label is not None:
                labels.append(tables.values(batch.table, label, columns))
    classes = np.concatenate(labels) if labels else None
    return folds.fit_table(np.concatenate(keys), classes, split.fractions, split.seed)


def _fitted_similarity(
    files: Sequence[Planned], columns: Columns, split: Similarity, batch_rows: int
) -> dict[str, NDArray[Any]]:
    """A fold for each key, the same for rows that are nearly identical."""
    import numpy as np

    from shoal.split.reading import read_rows
    from shoal.split.similarity import fit_similarity, signatures

    keys, signed = [], []
    for file in files:
        for batch in read_rows(file, columns, split, batch_rows):
            keys.append(batch.basis.keys)
            signed.append(signatures(batch.table, columns, split))
    return fit_similarity(np.concatenate(keys), np.concatenate(signed), split)


def _labels(
    files: Sequence[Planned],
    columns: Columns,
    label: str,
    split: Split,
    batch_rows: int,
    state: Tensors,
) -> State:
    """Labels of the training fold, for rows to draw theirs from."""
    import numpy as np

    from shoal.formats import tables
    from shoal.split.folds import folds_of
    from shoal.split.reading import read_rows
    from shoal.split.shuffle import ShuffledLabels

    labels = [
        tables.values(batch.table, label, columns)[folds_of(split, state, batch.basis) == TRAIN]
        for file in files
        for batch in read_rows(file, columns, split, batch_rows)
    ]
    return ShuffledLabels.fit(np.concatenate(labels)).state()
