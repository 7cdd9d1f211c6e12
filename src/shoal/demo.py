"""The demo: an inhomogeneous dataset from what ships with scikit-learn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shoal.formats.files import replacing
from shoal.sources.shards import declare_names

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

DEMO_FOLDER = "data/demo"
DEMO_SHARDS = tuple(f"digits-{number}" for number in range(8))
ORIENTATIONS = 4
_SHIFT = 3
_SEED = 0


def make_demo(folder: Path) -> list[Path]:
    """Make the demo's folder of source files, whose shards are named as the files are.

    Args:
        folder: Where it goes; empty, if it is there.
    """
    with replacing(folder) as aside:
        paths = write_demo(aside)
        declare_names({path: path.stem for path in paths})
    return paths


def write_demo(folder: Path) -> list[Path]:
    """Write the demo's source files, byte for byte the same each time.

    The 1,797 handwritten digits of 8 x 8 pixels, each in four orientations, with a label that
    depends on both: (digit + 3 x quarter turns) modulo 10. The orientation is no column. Every
    file holds rows of all kinds in a shuffled order.

    Args:
        folder: Where ``digits-0.parquet`` to ``digits-7.parquet`` are written.

    Returns:
        The files, with columns ``id`` (``0412-r2``: digit 412 after two quarter turns), ``image``
        (8 x 8 uint8, 0 to 16) and ``label`` (0 to 9).

    Source:
        Alpaydin and Kaynak 1998, test set, as in scikit-learn's ``load_digits``.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    from sklearn.datasets import load_digits

    from shoal.formats.tables import image_array

    digits = load_digits()
    pictures = digits.images.astype(np.uint8)
    images = np.concatenate([np.rot90(pictures, r, axes=(1, 2)) for r in range(ORIENTATIONS)])
    turns = np.repeat(np.arange(ORIENTATIONS), len(pictures))
    labels = (np.tile(digits.target, ORIENTATIONS) + _SHIFT * turns) % 10
    numbers = np.tile(np.arange(len(pictures)), ORIENTATIONS)
    order = np.random.default_rng(_SEED).permutation(len(labels))
    paths = []
    for name, rows in zip(DEMO_SHARDS, np.array_split(order, len(DEMO_SHARDS)), strict=True):
        ids = [f"{numbers[row]:04d}-r{turns[row]}" for row in rows]
        columns = {"id": ids, "image": image_array(images[rows]), "label": labels[rows]}
        paths.append(Path(folder) / f"{name}.parquet")
        with replacing(paths[-1]) as aside:
            pq.write_table(pa.table(columns), aside)
    return paths


def orientation_of(ids: Iterable[str]) -> NDArray[np.int64]:
    """Quarter turns of demo rows by their id, int64 ``(rows,)``; for benchmarks."""
    return np.array([int(identity.rpartition("-r")[2]) for identity in ids], dtype=np.int64)
