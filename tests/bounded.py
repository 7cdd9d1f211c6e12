"""Encode and group a shard in a process that the system allows little memory.

``python -m tests.bounded FOLDER MEMORY ROOM``, after :func:`prepare` has filled the folder: the
setting, and the bytes that the process may take beside its libraries.
"""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa

from shoal.cluster.assigner import AtomAssigner
from shoal.cluster.command import assign
from shoal.cluster.merge import Bounds
from shoal.embed.pca import PCAEmbedder
from shoal.encode.command import encode, encode_fit
from shoal.formats.fitted_state import save_state
from shoal.formats.tables import (
    FOLD,
    KEY,
    SOURCE,
    Columns,
    image_array,
    key_array,
    write_table,
)
from shoal.settings.data import Encode

BATCH = 400


def prepare(folder: Path, rows: int, width: int) -> None:
    """A shard's table with vectors, and a fitted encoder, embedder and assigner."""
    columns = Columns(
        {"v": "vector", "y": "label"}, "regression", {"v": [width]}, {"v": "float32"}, {}
    )
    columns.save(folder / "columns.json")

    def batches():
        rng = np.random.default_rng(0)
        pattern = rng.normal(size=(7, width)).astype(np.float32)
        for start in range(0, rows, BATCH):
            places = np.arange(start, start + BATCH)
            keys = rng.integers(0, 256, (BATCH, 16), dtype=np.uint8)
            yield pa.table(
                {
                    "v": image_array(pattern[places % 7]),
                    "y": pa.array(places * 1.0),
                    KEY: key_array(keys),
                    FOLD: pa.array(np.zeros(BATCH, np.uint8)),
                    SOURCE: key_array(keys),
                },
                schema=columns.schema(),
            )

    table = folder / "table.parquet"
    write_table(table, columns.schema(), batches(), {"rows_in": rows, "dropped": {}})
    settings = Encode(kinds={"vector": {"encoder": "vector"}}, columns={}, fit_rows=50, seed=0)
    encode_fit(
        settings, folder / "columns.json", {"s": table}, folder / "encoder", folder / "facts"
    )
    directions = np.linalg.qr(np.random.default_rng(1).normal(size=(width, 2)))[0].T
    embedder = PCAEmbedder((width,), np.zeros(width), np.ascontiguousarray(directions))
    save_state(folder / "embedder", *embedder.state())
    places, corners = np.arange(4, dtype=np.int32), np.eye(4, 2, dtype=np.float32)
    AtomAssigner(corners, places, places, Bounds(1, rows), rows).save(folder / "assigner")


def run(folder: Path, memory: int) -> None:
    """Encode and assign."""
    encoded, table = folder / "encoded.zarr.zip", folder / "table.parquet"
    encode(table, "s", folder / "encoder", "c", encoded, folder / "facts", memory)
    outputs = [folder / name for name in ("rows.zarr.zip", "summary.json", "distances")]
    embedder, assigner = folder / "embedder", folder / "assigner"
    assign(encoded, embedder, table, assigner, "s", *outputs, 1, memory)


def limit(room: int) -> None:
    """Allow this process that much more than it has."""
    status = Path("/proc/self/status").read_text()
    held = 1024 * int(re.search(r"VmData:\s+(\d+)", status)[1])
    resource.setrlimit(resource.RLIMIT_DATA, (held + room, held + room))


if __name__ == "__main__":
    folder, memory, room = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    (folder / "few").mkdir()
    prepare(folder / "few", BATCH, 4)
    run(folder / "few", memory)  # so that all is imported
    limit(room)
    run(folder, memory)
