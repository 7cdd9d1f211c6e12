"""Commands ``encode_fit`` and ``encode``: files in, files out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.formats.blocks import MEMORY, block_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from shoal.settings.data import Encode


def encode_fit(
    settings: Encode, columns: Path, shards: Mapping[str, Path], out: Path, shapes_out: Path
) -> None:
    """Fit the encoders on the training fold.

    Args:
        settings: The encoders.
        columns: The experiment's columns.
        shards: Shard name to its transformed table.
        out: The fitted encoders, one safetensors file.
        shapes_out: Shapes that a model must fit, as :class:`shoal.formats.shapes.Shapes`.
    """
    from shoal.encode.encoder import Encoder
    from shoal.encode.label import ClassLabel
    from shoal.formats.shapes import Shapes
    from shoal.formats.tables import Columns, Table

    opened = {name: Table(path) for name, path in shards.items()}
    encoder = Encoder.fit(settings, Columns.load(columns), opened)
    trusted = encoder.save(out)
    facts = Shapes(
        x_shape=list(encoder.x_shape),
        outputs=encoder.outputs,
        task=encoder.task,
        classes=encoder.classes,
        training_rows=encoder.training_rows,
        class_rows=encoder.label.rows if isinstance(encoder.label, ClassLabel) else None,
        feature_names=encoder.feature_names,
        trusted=trusted,
        tokens=encoder.tokens,
    )
    facts.save(shapes_out)


def encode(
    table: Path,
    shard: str,
    encoder_path: Path,
    content: str,
    out: Path,
    shapes_path: Path | None = None,
    memory: int = MEMORY,
) -> None:
    """Encode one shard, and hash each row.

    A row's hash covers what ``x`` and ``y`` are computed from, not these numbers: another
    processor may round them otherwise. That is the row's source values and what was drawn for
    them (``_source``), and settings, code and fitted state of transform and encoder. Outside of
    the training fold it covers key and unit too, which later stages read there.

    Args:
        table: The shard's transformed table.
        shard: The shard's name, for messages.
        encoder_path: Output of :func:`encode_fit`.
        content: Identity of settings and code of transform and encoder.
        out: The arrays ``x``, ``y``, ``key``, ``source`` and ``fold``, row by row as the table, and
            ``unit`` where rows belong together; ``hash`` is made from them.
        shapes_path: The shapes that it wrote, which say what types outside Shoal may be loaded;
            none by default.
        memory: Bytes that the process may hold; no result depends on it.
    """
    from shoal.encode.encoder import Encoder
    from shoal.formats import tables
    from shoal.formats.hashing import KEY_BYTES, file_hash, json_hash
    from shoal.formats.row_store import SALT, SOURCE, RowArray, write_rows
    from shoal.formats.shapes import Shapes
    from shoal.formats.units import UNIT

    trusted = Shapes.load(shapes_path).trusted if shapes_path else ()
    encoder = Encoder.load(encoder_path, trusted)
    source = tables.Table(table)
    # A transform may have dropped rows: row numbers are those of its table.
    place = f"{source.record.get('source', shard)} (transformed)"
    row_bytes = source.row_bytes + 2 * np.dtype(encoder.x_dtype).itemsize * len(
        encoder.feature_names
    )
    salt = json_hash([content, source.record.get("state"), file_hash(encoder_path)])[:32]

    def batches() -> Iterator[dict[str, NDArray[Any]]]:
        offset = 0
        for batch in source.batches(block_rows(row_bytes, memory)):
            x = encoder.encode(batch, place, offset)
            x += 0  # no -0.0: equal rows have equal bits
            y = encoder.labels(batch, place, offset)
            sources, folds = tables.keys(batch, tables.SOURCE), tables.folds(batch)
            rows = {"x": x, "y": y, "key": tables.keys(batch), SOURCE: sources, "fold": folds}
            units = tables.units(batch)
            yield rows if units is None else rows | {UNIT: units}
            offset += len(batch)

    arrays = {
        "x": RowArray(encoder.x_shape, encoder.x_dtype),
        "y": RowArray(encoder.label.shape, encoder.label.dtype),
        "key": RowArray((KEY_BYTES,), "uint8"),
        SOURCE: RowArray((KEY_BYTES,), "uint8"),
        "fold": RowArray((), "uint8"),
    }
    if tables.UNIT in source.schema.names:
        arrays[UNIT] = RowArray((), "uint64")
    write_rows(out, source.rows, arrays, batches(), {"rows_in": source.rows, SALT: salt})
