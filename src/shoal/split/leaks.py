"""Leaks: three ways to answer held-out rows without having learnt anything.

- Held-out rows whose inputs an earlier fold has as well, exactly.
- Held-out rows with a training row beside them that is far nearer than chance explains.
- A column that alone gives the label, on rows that nothing was fitted on.

Such rows and columns may be rightful, so they are counted and named, never refused.
"""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any, NotRequired

import numpy as np
import pyarrow as pa
from typing_extensions import TypedDict

from shoal.formats import tables
from shoal.formats.kinds import TEST, TRAIN, VALIDATION
from shoal.formats.tables import Table, write_table
from shoal.split.keys import flat_keys

if TYPE_CHECKING:
    from pathlib import Path

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
        _PAIRS.get(kind, _text_pair)(train, others, name)
        for name, kind in columns.kinds.items()
        if name in columns.inputs
    ]
    one, two = zip(*pairs, strict=True)
    return np.concatenate(one, axis=1), np.concatenate(two, axis=1)


def _number_pair(train: pa.Table, others: pa.Table, name: str) -> tuple[Floats, Floats]:
    values = tables.numbers(train, name)
    known = values[~np.isnan(values)]
    mean = float(known.mean()) if len(known) else 0.0
    spread = (float(known.std()) if len(known) else 0.0) or 1.0

    def scaled(column: NDArray[np.float64]) -> Floats:
        return np.nan_to_num((column - mean) / spread)[:, None].astype(np.float32)

    return scaled(values), scaled(tables.numbers(others, name))


def _image_pair(train: pa.Table, others: pa.Table, name: str) -> tuple[Floats, Floats]:
    pixels = tables.images(train, name)
    spread = float(pixels.std(dtype=np.float64)) or 1.0

    def scaled(column: NDArray[Any]) -> Floats:
        return column.reshape(len(column), -1).astype(np.float32) / np.float32(spread)

    return scaled(pixels), scaled(tables.images(others, name))


def _vector_pair(train: pa.Table, others: pa.Table, name: str) -> tuple[Floats, Floats]:
    known = tables.images(train, name).astype(np.float64)
    mean, deviation = known.mean(axis=0), known.std(axis=0)
    spread = np.where(deviation > 0, deviation, 1.0)

    def scaled(column: NDArray[Any]) -> Floats:
        numbers: Floats = ((column - mean) / spread).astype(np.float32)
        return numbers

    return scaled(known), scaled(tables.images(others, name))


def _text_pair(train: pa.Table, others: pa.Table, name: str) -> tuple[Floats, Floats]:
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


_PAIRS = {"image": _image_pair, "vector": _vector_pair, "numeric": _number_pair}


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


_MOST_TRAINING, _MOST_VALIDATION, _MOST_COMPARED = 10_000, 5_000, 2_000
_MOST_NUMBERS = 1 << 25
"""Numbers in the vectors of the training rows, at most: 128 MiB."""
DETERMINES = 0.95
"""Share of the constant answer's error that a column must take away to be named."""
_LEAST_ERRORS = 10
"""Validation rows that the constant answer must get wrong for a share of them to mean anything."""
_LEAF_ROWS = 5
_SAMPLE_ROWS = 1024


class Counted(TypedDict):
    """Rows that leak, among ``of`` that were compared, and how many to expect by chance."""

    rows: int
    of: int
    by_chance: NotRequired[float]


class Telling(TypedDict):
    """A column that gives the label.

    Attributes:
        score: Accuracy of the column alone on validation rows, or R².
        constant: Accuracy of the constant answer, or 0.
    """

    column: str
    score: float
    constant: float


class Leaks(TypedDict):
    """Result of :func:`find_leaks`; the most telling column comes first."""

    exact: Counted
    near: Counted
    columns: list[Telling]


class Sample:
    """Rows of each fold with the smallest keys: keys are hashes, so this is a draw.

    Samples of parts give that of the whole, however it is cut: among rows of one key, the hash of
    inputs and label decides. Memory: a quarter more than the rows that are kept, and those added.

    Source:
        Bottom-k sampling, Cohen and Kaplan 2007.
    """

    def __init__(self, columns: Columns) -> None:
        """Take the frozen columns."""
        share = min(1.0, _MOST_NUMBERS / (widest(columns) * _MOST_TRAINING))
        self._parts = {
            "training": ((TRAIN,), math.ceil(share * _MOST_TRAINING)),
            "validation": ((VALIDATION,), math.ceil(share * _MOST_VALIDATION)),
            "held_out": ((VALIDATION, TEST), math.ceil(share * _MOST_COMPARED)),
        }
        self._names = [*columns.inputs, *columns.labels, tables.KEY, tables.FOLD, tables.SOURCE]
        self._schema = pa.schema([columns.schema().field(name) for name in self._names])
        self._last: dict[str, np.bytes_] = {}
        self._rows = self._schema.empty_table()

    def add(self, rows: pa.Table) -> None:
        """Take some rows."""
        folds, keys = tables.folds(rows), flat_keys(tables.keys(rows))
        wanted = np.zeros(len(rows), dtype=bool)
        for name, (own, _) in self._parts.items():
            is_small = keys <= self._last[name] if name in self._last else True
            wanted |= np.isin(folds, own) & is_small
        self._rows = pa.concat_tables([self._rows, rows.select(self._names).filter(wanted)])
        if len(self._rows) > 1.25 * sum(most for _, most in self._parts.values()):
            self._cut()

    def merge(self, path: Path) -> int:
        """Take the rows of a file that :meth:`save` wrote; returns how many were read of it."""
        read = 0
        with contextlib.closing(Table(path)) as table:
            for batch in table.batches(_SAMPLE_ROWS):
                read += len(batch)
                self.add(batch)
                key = flat_keys(tables.keys(batch))[-1]
                if len(self._last) == len(self._parts) and key > max(self._last.values()):
                    break
        return read

    def save(self, path: Path) -> None:
        """Write the rows in order of key, so that a few of many files are enough."""
        self._cut()
        starts = range(0, len(self._rows), _SAMPLE_ROWS)
        batches = (self._rows[start : start + _SAMPLE_ROWS] for start in starts)
        write_table(path, self._schema, batches, {})

    def part(self, name: str) -> pa.Table:
        """The rows of ``training``, ``validation`` or ``held_out``, in order of key."""
        self._cut()
        return self._rows.take(self._places(name, tables.folds(self._rows)))

    def _places(self, name: str, folds: NDArray[np.uint8]) -> NDArray[np.int64]:
        own, most = self._parts[name]
        return np.flatnonzero(np.isin(folds, own))[:most]

    def _cut(self) -> None:
        """Keep the sample alone, in order of key."""
        folds = tables.folds(self._rows)
        keys, sources = (tables.keys(self._rows, name) for name in (tables.KEY, tables.SOURCE))
        whole = np.concatenate([keys, sources, folds[:, None]], axis=1)
        order = np.argsort(flat_keys(whole), kind="stable")
        kept = np.zeros(len(order), dtype=bool)
        for name, (_, most) in self._parts.items():
            places = self._places(name, folds[order])
            kept[places] = True
            if len(places) == most:
                self._last[name] = flat_keys(keys[order[places[-1:]]])[0]
        self._rows = self._rows.take(order[kept]).combine_chunks()


def find_leaks(
    sample: Sample, exact: Counted, repeated: NDArray[np.bool_], columns: Columns
) -> Leaks:
    """Look for near rows and telling columns in a sample, beside the exact copies of all rows.

    Args:
        sample: The sample of all rows.
        exact: Held-out rows whose inputs an earlier fold has as well.
        repeated: Which of the sample's held-out rows they are.
        columns: The frozen columns.
    """
    train, compared = sample.part("training"), sample.part("held_out").filter(~repeated)
    near, by_chance = 0, 0.0
    if columns.inputs and min(len(train), len(compared)) >= LEAST_ROWS:
        near, by_chance = near_rows(*vectors(train, compared, columns))
    return {
        "exact": exact,
        "near": {"rows": near, "by_chance": by_chance, "of": len(compared)},
        "columns": telling_columns(train, sample.part("validation"), columns),
    }


def telling_columns(train: pa.Table, held_out: pa.Table, columns: Columns) -> list[Telling]:
    """Columns that alone give the label of rows that they were not fitted on.

    Each column gets a decision tree of its own, fitted on training rows, texts by their place in
    the alphabet. A number that differs from row to row, such as a row's number, gives nothing for
    other rows, unless rows are in the order of their labels, which is a leak. Images are left out,
    and so is the only input there is: that it gives the label is what everybody hopes for.

    Args:
        train: Training rows.
        held_out: Validation rows.
        columns: The frozen columns.

    Returns:
        None of them where the model has a loss of its own.
    """
    label, few = columns.label, len(train) < 2 * _LEAF_ROWS or not len(held_out)
    if label is None or few or len(columns.inputs) < 2:
        return []
    telling = []
    for name in columns.of_kind("numeric", "categorical", "text"):
        score, constant, enough = _alone(train, held_out, name, label, columns)
        if enough and score - constant >= DETERMINES * (1 - constant):
            telling.append(Telling(column=name, score=score, constant=constant))
    return sorted(telling, key=lambda column: (-column["score"], column["column"]))


def _alone(
    train: pa.Table, held_out: pa.Table, name: str, label: str, columns: Columns
) -> tuple[float, float, bool]:
    """Score of one column, of the constant answer, and whether there are rows enough to tell."""
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    x, x_held = _as_numbers(train, held_out, name, columns)
    if columns.is_number(label):
        numbers, wanted = (tables.numbers(part, label) for part in (train, held_out))
        tree = DecisionTreeRegressor(min_samples_leaf=_LEAF_ROWS, random_state=0).fit(x, numbers)
        spread = float(np.mean((wanted - numbers.mean()) ** 2))
        error = float(np.mean((wanted - tree.predict(x_held)) ** 2))
        enough = len(wanted) >= _LEAST_ERRORS and spread > 0
        return (1 - error / spread if enough else 0.0), 0.0, enough
    y, y_held = (tables.texts(part, label) for part in (train, held_out))
    tree = DecisionTreeClassifier(min_samples_leaf=_LEAF_ROWS, random_state=0).fit(x, y)
    names, counts = np.unique(y, return_counts=True)
    constant = y_held == names[counts.argmax()]
    score = float(np.mean(tree.predict(x_held) == y_held))
    return score, float(constant.mean()), int((~constant).sum()) >= _LEAST_ERRORS


def _as_numbers(
    train: pa.Table, held_out: pa.Table, name: str, columns: Columns
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A column as the trees take it, ``(rows, 1)``: NaN where missing."""
    if columns.kinds[name] == "numeric":
        return tables.numbers(train, name)[:, None], tables.numbers(held_out, name)[:, None]
    values = tables.texts(train, name)
    known = np.unique(np.array([value for value in values if value is not None], dtype=str))

    def places(values: NDArray[Any]) -> NDArray[np.float64]:
        missing = np.array([value is None for value in values], dtype=bool)
        # A value between two known ones lies between their places.
        texts = np.array(tables.without_gaps(values), dtype=str)
        left, right = (np.searchsorted(known, texts, side=side) for side in ("left", "right"))
        return np.where(missing, np.nan, (left + right) / 2)[:, None]

    return places(values), places(tables.texts(held_out, name))
