"""Commands ``transform_fit`` and ``transform``: files in, files out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shoal.formats.blocks import MEMORY, block_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import pyarrow as pa

    from shoal.settings.data import Transform


def transform_fit(
    settings: Transform, columns: Path, shards: Mapping[str, Path], out: Path
) -> None:
    """Fit the steps on the training fold and write their state as JSON.

    Args:
        settings: The steps.
        columns: The experiment's columns.
        shards: Shard name to its split table. Which of two equal rows stays is remembered by
            shard name, so use the names that :func:`transform` is given.
        out: The state.
    """
    from shoal.formats.json_file import write_json
    from shoal.formats.provenance import made_from
    from shoal.formats.tables import Columns, Table
    from shoal.transform.pipeline import fit_pipeline

    opened = {name: Table(path) for name, path in shards.items()}
    pipeline = fit_pipeline(settings, Columns.load(columns), opened)
    write_json(out, pipeline.state() | made_from())


def transform(table: Path, shard: str, state: Path, out: Path, memory: int = MEMORY) -> None:
    """Apply the fitted steps to one shard; without steps, its rows stay where they are.

    Args:
        table: The shard's split table.
        shard: The shard's name.
        state: Output of :func:`transform_fit`.
        out: The shard's transformed table; its record holds rows in, rows dropped by step and a
            hash of the fitted state. Without steps it refers to the split table for its rows.
        memory: Bytes that the process may hold; no result depends on it.
    """
    from shoal.errors import CorruptError
    from shoal.formats.hashing import json_hash
    from shoal.formats.json_file import read_made
    from shoal.formats.tables import Table, write_link, write_table
    from shoal.transform.pipeline import Pipeline

    try:
        fitted = Pipeline.from_state(read_made(state, dict[str, object]))
    except CorruptError as error:
        raise CorruptError(f"{state}: {error}") from None
    source = Table(table)
    file = source.record.get("source")
    record: dict[str, object] = {"state": json_hash(fitted.state())}
    record |= {} if file is None else {"source": file}
    if not fitted.steps:
        write_link(out, source, record | {"rows_in": source.rows, "dropped": {}})
        return
    pipeline = fitted.shard(shard, file)

    def batches() -> Iterator[pa.Table]:
        for batch in source.batches(block_rows(source.row_bytes, memory)):
            yield pipeline.apply(batch)
        record.update(pipeline.record)

    write_table(out, source.schema, batches(), record)
