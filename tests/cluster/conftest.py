"""Small shards for the tests of cluster."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

from shoal.embed.embedder import IdentityEmbedder, load_embedder
from shoal.formats.fitted_state import save_state
from shoal.formats.hashing import KEY_BYTES, hash_rows, row_hashes
from shoal.formats.row_store import RowArray, write_rows
from shoal.formats.tables import FOLD, KEY, key_array, write_table

if TYPE_CHECKING:
    from pathlib import Path

SALT = "5a17" * 8


@dataclass(frozen=True)
class Rows:
    """Rows with everything that cluster reads."""

    x: np.ndarray
    y: np.ndarray
    fold: np.ndarray
    colour: np.ndarray

    def __len__(self):
        return len(self.x)

    def __getitem__(self, rows):
        return Rows(self.x[rows], self.y[rows], self.fold[rows], self.colour[rows])

    @property
    def key(self):
        """Row keys."""
        return hash_rows({"x": self.x}, KEY_BYTES)

    @property
    def hash(self):
        """Row hashes."""
        return row_hashes(self.source, self.fold, [self.key], SALT)

    @property
    def source(self):
        """Hash of what each row is made from."""
        return hash_rows({"x": self.x, "y": self.y}, KEY_BYTES)

    @property
    def embedding(self):
        """The embedding of each row."""
        return self.x


def random_rows(count, seed=0, blobs=6):
    """Rows around a few centres; all folds, a few outside."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(blobs, 3)) * 8
    blob = rng.integers(0, blobs, count)
    x = (centres[blob] + rng.normal(size=(count, 3))).astype(np.float32)
    fold = rng.choice(4, size=count, p=[0.6, 0.2, 0.15, 0.05]).astype(np.uint8)
    colour = np.array(["red", "green", "blue"], dtype=object)[blob % 3]
    return Rows(x, (blob % 2).astype(np.int64), fold, colour)


def joined(*parts):
    """The rows of several, one after another."""
    columns = ("x", "y", "fold", "colour")
    return Rows(*(np.concatenate([getattr(p, c) for p in parts]) for c in columns))


def as_training(rows):
    """The same rows, all in the training fold."""
    return replace(rows, fold=np.zeros(len(rows), dtype=np.uint8))


@dataclass(frozen=True)
class Files:
    """Paths of one shard."""

    encoded: Path
    embedder: Path
    table: Path

    @property
    def fitted(self):
        """The embedder."""
        return load_embedder(self.embedder)


def write_shard(folder, name, rows, unit=None):
    """One shard's encoded rows, an embedder that leaves them as they are, and a table."""
    arrays = {"x": rows.x, "y": rows.y, "key": rows.key, "source": rows.source, "fold": rows.fold}
    arrays |= {} if unit is None else {"unit": unit}
    _write(folder / "encode" / f"{name}.zarr.zip", arrays)
    save_state(folder / "embedder.safetensors", *IdentityEmbedder(rows.x.shape[1:]).state())
    columns = {
        "colour": pa.array(rows.colour, pa.string()),
        "size": pa.array(rows.y.astype(float)),
        KEY: key_array(rows.key),
        FOLD: pa.array(rows.fold, pa.uint8()),
    }
    table = pa.table(columns)
    schema = table.schema.set(2, pa.field(KEY, pa.binary(KEY_BYTES)))
    write_table(folder / f"{name}.parquet", schema, [table], {"rows_in": len(rows), "dropped": {}})
    return Files(
        folder / "encode" / f"{name}.zarr.zip",
        folder / "embedder.safetensors",
        folder / f"{name}.parquet",
    )


def _write(path, arrays):
    count = len(next(iter(arrays.values())))
    specs = {name: RowArray(a.shape[1:], str(a.dtype)) for name, a in arrays.items()}
    write_rows(path, count, specs, [arrays], {"rows_in": count, "salt": SALT})


@pytest.fixture
def shards():
    """Makers of rows and of shard files."""
    return SimpleNamespace(
        random_rows=random_rows, joined=joined, as_training=as_training, write=write_shard
    )
