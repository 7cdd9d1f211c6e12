"""Encoded shards and settings for the tests of embed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from shoal.formats.row_store import RowArray, write_rows
from shoal.settings.discovery import PCA, SCARF, Counts, Identity, VICReg

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_NETWORK = {
    "dims": 5,
    "width": 12,
    "depth": 2,
    "projection": 16,
    "rows_seen": 640,
    "batch_size": 32,
    "lr": 0.003,
    "seed": 0,
}
_SETTINGS: dict[str, tuple[Any, dict[str, Any]]] = {
    "identity": (Identity, {}),
    "pca": (PCA, {"dims": 5}),
    "counts": (Counts, {"dims": 5, "buckets": 8, "fit_rows": 1000, "seed": 0}),
    "scarf": (SCARF, _NETWORK | {"corruption": 0.5, "temperature": 0.5}),
    "vicreg": (
        VICReg,
        _NETWORK
        | {"invariance": 25.0, "variance": 25.0, "covariance": 1.0}
        | {"shift": 0.2, "scale": 0.1, "noise": 0.05},
    ),
}


@pytest.fixture
def settings() -> Callable[..., Any]:
    """Maker of small settings of a method, with changes."""

    def make(method: str, **changes: Any) -> Any:
        kind, values = _SETTINGS[method]
        return kind(method=method, **{"prefix": None} | values | changes)

    return make


@pytest.fixture
def write_shard(tmp_path: Path) -> Callable[..., Path]:
    """Writer of one encoded shard; all rows are for training where no folds are given."""

    def write(name: str, x: Any, fold: Any = None, key: Any = None) -> Path:
        rows = len(x)
        arrays = {
            "x": np.asarray(x, dtype=np.float32),
            "fold": np.zeros(rows, np.uint8) if fold is None else np.asarray(fold, np.uint8),
            "key": keys_of(np.asarray(x)) if key is None else key,
        }
        specs = {n: RowArray(a.shape[1:], a.dtype.name) for n, a in arrays.items()}
        path = tmp_path / f"{name}.zarr.zip"
        write_rows(path, rows, specs, [arrays] if rows else [], {"rows_in": rows})
        return path

    return write


def keys_of(x: np.ndarray) -> np.ndarray:
    """A key a row from the row's content."""
    from shoal.formats.hashing import hash_rows

    return (
        hash_rows({"x": x.reshape(len(x), -1).astype(float)}, 16)
        if len(x)
        else np.empty((0, 16), np.uint8)
    )


@pytest.fixture
def images() -> np.ndarray:
    """300 rows that are images of 6 by 6, seeded."""
    return np.random.default_rng(3).random((300, 6, 6)).astype(np.float32)


@pytest.fixture
def tokens() -> np.ndarray:
    """300 rows of 12 tokens, seeded; 0 is none."""
    return np.random.default_rng(3).integers(0, 9, (300, 12))
