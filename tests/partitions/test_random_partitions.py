"""Rows of random partitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from shoal.formats.hashing import row_order
from shoal.formats.kinds import TRAIN, VALIDATION
from shoal.formats.row_store import RowArray, write_rows
from shoal.partitions import random_partitions
from shoal.partitions.random_partitions import RandomRows, random_bounds, random_draw

if TYPE_CHECKING:
    from pathlib import Path

ROWS = 3000
BOUNDS = random_bounds([500, 0, 100, 400])


def arrays() -> dict[str, np.ndarray]:
    """Rows of all folds and of none."""
    rng = np.random.default_rng(0)
    return {
        "x": rng.normal(size=(ROWS, 2, 3)).astype(np.float32),
        "y": rng.integers(0, 3, ROWS),
        "key": rng.integers(0, 256, (ROWS, 16), dtype=np.uint8),
        "hash": rng.integers(0, 256, (ROWS, 32), dtype=np.uint8),
        "fold": rng.integers(0, 4, ROWS).astype(np.uint8),
        "unit": rng.integers(0, 99, ROWS).astype(np.uint64),
    }


def shards(folder: Path, cuts: list[int]) -> list[Path]:
    """The rows in shards."""
    paths = []
    for number, places in enumerate(np.split(np.arange(ROWS), cuts)):
        part = {name: array[places] for name, array in arrays().items()}
        specs = {name: RowArray(array.shape[1:], str(array.dtype)) for name, array in part.items()}
        paths.append(folder / f"{number}.zarr.zip")
        write_rows(paths[-1], len(places), specs, [part], {})
    return paths


@pytest.mark.parametrize("held", [1, 2**16, 2**26])
@pytest.mark.parametrize("cuts", [[], [700, 700, 2500]])
def test_one_pass_gives_each_partition_its_rows(tmp_path, monkeypatch, held, cuts):
    """Rows are those whose draw lies in the interval, by hash, when the shards are gone."""
    monkeypatch.setattr(random_partitions, "_HELD_BYTES", held)
    rows, paths = arrays(), shards(tmp_path, cuts)
    draw = random_draw(rows["key"], 5)

    with RandomRows(paths, BOUNDS, 5, tmp_path) as drawn:
        for path in paths:
            path.unlink()
        found = {
            (number, fold): drawn.rows(number, fold)
            for number in range(len(BOUNDS))
            for fold in (VALIDATION, TRAIN)
        }

    assert not list(tmp_path.iterdir())
    for (number, fold), given in found.items():
        low, high = BOUNDS[number]
        places = np.flatnonzero((rows["fold"] == fold) & (low <= draw) & (draw < high))
        places = places[row_order(rows["hash"][places])]
        assert set(given) == {"x", "y", "key", "hash", "unit"}
        for name, array in given.items():
            assert array.dtype == rows[name].dtype
            assert np.array_equal(array, rows[name][places])
    assert len(found[1, TRAIN]["y"]) == 0
    assert len(found[0, TRAIN]["y"]) > 300
