"""Rows as vectors for comparison, and which of them lie nearer to others than chance explains."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.formats import tables

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from shoal.formats.tables import Columns

    Floats = NDArray[np.float32]

_FEW = 50
"""Categories, at most, that get a feature each; other texts are compared by their n-grams."""
_NGRAM_FEATURES = 512
_NEIGHBOURS = 10
LEAST_ROWS = 50
"""Rows on either side without which nothing can be said about chance."""


def widest(columns: Columns) -> int:
    """Features, at most, that :func:`vectors` makes of a row; at least 1."""
    pixels = sum(math.prod(shape) for shape in columns.image_shapes.values())
    texts = len(columns.of_kind("categorical", "text")) * _NGRAM_FEATURES
    return max(1, pixels + texts + len(columns.of_kind("numeric")))


def vectors(train: pa.Table, others: pa.Table, columns: Columns) -> tuple[Floats, Floats]:
    """The inputs of both as features, scaled as the first are.

    Numbers and pixels are standardised, gaps of numbers become the mean; a category is a feature,
    other texts are hashed n-grams of length 1.
    """
    pairs = [
        _PAIRS.get(kind, _texts)(train, others, name)
        for name, kind in columns.kinds.items()
        if name in columns.inputs
    ]
    one, two = zip(*pairs, strict=True)
    return np.concatenate(one, axis=1), np.concatenate(two, axis=1)


def _numbers(train: pa.Table, others: pa.Table, name: str) -> tuple[Floats, Floats]:
    values = tables.numbers(train, name)
    known = values[~np.isnan(values)]
    mean = float(known.mean()) if len(known) else 0.0
    spread = (float(known.std()) if len(known) else 0.0) or 1.0

    def scaled(column: NDArray[np.float64]) -> Floats:
        return np.nan_to_num((column - mean) / spread)[:, None].astype(np.float32)

    return scaled(values), scaled(tables.numbers(others, name))


def _images(train: pa.Table, others: pa.Table, name: str) -> tuple[Floats, Floats]:
    pixels = tables.images(train, name)
    spread = float(pixels.std(dtype=np.float64)) or 1.0

    def scaled(column: NDArray[Any]) -> Floats:
        return column.reshape(len(column), -1).astype(np.float32) / np.float32(spread)

    return scaled(pixels), scaled(tables.images(others, name))


def _vectors(train: pa.Table, others: pa.Table, name: str) -> tuple[Floats, Floats]:
    known = tables.images(train, name).astype(np.float64)
    mean, deviation = known.mean(axis=0), known.std(axis=0)
    spread = np.where(deviation > 0, deviation, 1.0)

    def scaled(column: NDArray[Any]) -> Floats:
        numbers: Floats = ((column - mean) / spread).astype(np.float32)
        return numbers

    return scaled(known), scaled(tables.images(others, name))


def _texts(train: pa.Table, others: pa.Table, name: str) -> tuple[Floats, Floats]:
    both = [tables.texts(part, name) for part in (train, others)]
    known = sorted({value for value in both[0] if value is not None})
    if len(known) <= _FEW:
        place = {value: number for number, value in enumerate(known)}
        table = np.eye(len(known) + 1, len(known), dtype=np.float32)
        one, two = (table[[place.get(value, -1) for value in part]] for part in both)
        return one, two
    from sklearn.feature_extraction.text import HashingVectorizer

    hashed = HashingVectorizer(
        analyzer="char_wb", ngram_range=(3, 5), n_features=_NGRAM_FEATURES, dtype=np.float32
    )
    one, two = (hashed.transform(tables.without_gaps(part)).toarray() for part in both)
    return one, two


_PAIRS = {"image": _images, "vector": _vectors, "numeric": _numbers}


def near_rows(train: Floats, others: Floats) -> tuple[int, float]:
    """How many of ``others`` have a row of ``train`` right beside them, and how many by chance.

    A row is near if its nearest neighbour is at less than a sixteenth of the distance to its
    tenth. Where rows are spread evenly, the share of rows below some such ratio falls by the same
    factor each time that the ratio is halved, by 2^D in D dimensions. The factor is measured where
    no copy interferes, from an eighth to a half, and followed down to a sixteenth. So rows of a
    few numbers, where all lie close together, or of categories and one number, are not mistaken
    for copies.

    Args:
        train: Training rows, float32 ``(rows, features)``; as ``others`` at least LEAST_ROWS.
        others: Held-out rows that are not exact copies, in the same features.

    Returns:
        Rows that are near, and rows expected to be so without any copies, at most all of them.

    Source:
        The power law of nearest-neighbour distances, as in Facco et al. 2017.
    """
    from sklearn.neighbors import NearestNeighbors

    nearest = NearestNeighbors(n_neighbors=_NEIGHBOURS, algorithm="brute").fit(train)
    distance = np.asarray(nearest.kneighbors(others)[0], dtype=np.float64)
    first, last = distance[:, 0], distance[:, -1]
    below = [int((first < ratio * last).sum()) for ratio in (1 / 2, 1 / 4, 1 / 8, 1 / 16)]
    wide, narrow = below[0] - below[1], below[1] - below[2]
    factor = narrow / wide if wide else float(narrow > 0)
    rest = narrow * factor**2 / (1 - factor) if factor < 1 else float(len(others))
    return below[3], min(rest, float(len(others)))
