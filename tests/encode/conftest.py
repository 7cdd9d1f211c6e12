"""Tiny transformed tables."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pytest

from shoal.settings import parse
from shoal.settings.data import Encode
from shoal.tables import FOLD, KEY, Columns, Table, image_array, write_table


@pytest.fixture
def columns():
    """Makes columns from name=kind; images are 2 x 2 of uint8."""

    def make(task="classification", **kinds):
        pictures = [name for name, kind in kinds.items() if kind == "image"]
        shapes = {name: [2, 2] for name in pictures}
        return Columns(kinds, task, shapes, dict.fromkeys(pictures, "uint8"), {})

    return make


@pytest.fixture
def rows():
    """Makes an Arrow table of rows; keys are given as any text, folds as codes."""

    def make(columns, keys, folds, **values):
        arrays = {
            name: image_array(np.array(content, np.uint8))
            if columns.kinds[name] == "image"
            else pa.array(content, columns.arrow_type(name))
            for name, content in values.items()
        }
        digests = [hashlib.md5(str(key).encode()).digest() for key in keys]
        arrays[KEY] = pa.array(digests, pa.binary(16))
        arrays[FOLD] = pa.array(folds, pa.uint8())
        return pa.table(arrays, schema=columns.schema())

    return make


@pytest.fixture
def shard(tmp_path):
    """Writes rows as a shard's transformed table and opens it."""

    def make(table, name="a"):
        path = tmp_path / f"{name}.parquet"
        write_table(path, table.schema, [table], {"rows_in": len(table), "dropped": {}})
        return Table(path)

    return make


@pytest.fixture
def settings():
    """Makes encode settings from encoders of kinds, and of columns where they differ."""
    kinds = {
        "numeric": {"encoder": "scale"},
        "categorical": {"encoder": "one_hot"},
        "text": {"encoder": "ngrams", "analyzer": "char_wb", "ngram_range": [2, 3], "features": 32},
        "image": {"encoder": "image"},
    }

    def make(fit_rows=1000, seed=0, **columns):
        content = {"kinds": kinds, "columns": columns, "fit_rows": fit_rows, "seed": seed}
        return parse(Encode, content, "encode")

    return make
