"""Digests of what encode, embed, assign and route give for fixed rows and fitted states, as JSON.

A process of its own, since libraries choose their kernels once. States are made without
matrix products: fits may round otherwise, what they froze is applied alike.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.decomposition import PCA

from shoal.cluster.assigner import AtomAssigner
from shoal.cluster.merge import Bounds
from shoal.embed.pca import PCAEmbedder
from shoal.encode.column import ColumnSetting, Target
from shoal.encode.encoders import make_encoder
from shoal.train_router.router import Router
from shoal_edge.routing import ByClassifier, ByDistance, ByNeighbours, Scores

RNG = np.random.default_rng(0)
ROWS, DIMS = 1500, 19
Of = Callable[[Any], Any]
Subject = tuple[Any, Of]
"""Rows, and what gives their results, one or several arrays."""


def numbers(*shape: int) -> Any:
    """Numbers between -1 and 1 that were not computed: 24 random bits."""
    return (RNG.integers(-(2**24), 2**24, shape) / 2.0**24).astype(np.float32)


def embedding() -> Subject:
    """Principal components that nearly cancel, so that rounding shows in float32."""
    rows, half = numbers(ROWS, 500), numbers(DIMS, 500).astype(np.float64)
    beside = np.nextafter(rows, np.float32(2))
    fitted = PCAEmbedder((1000,), np.full(1000, 1 / 3), np.concatenate([half, -half], axis=1))
    return np.concatenate([rows, beside], axis=1), fitted.embed


def near_ties(points: Any) -> Any:
    """Rows halfway between two points, exactly or but for the last bit of one number."""
    one, other = RNG.integers(0, len(points), (2, ROWS))
    rows = (points[one] + points[other]) / 2
    place = RNG.integers(0, points.shape[1], ROWS)
    toward = RNG.choice(np.array([-np.inf, np.inf], np.float32), ROWS)
    nudged = np.flatnonzero(np.arange(ROWS) % 3)
    rows[nudged, place[nudged]] = np.nextafter(rows[nudged, place[nudged]], toward[nudged])
    return rows


def assigner(dims: int, offset: float) -> AtomAssigner:
    """Sixty prototypes, as far apart as numbers of some size can be told apart."""
    grid = RNG.integers(-8, 8, (60, dims)).astype(np.float32)
    points = np.float32(offset) + grid * np.spacing(np.float32(offset))
    atoms, partitions = np.arange(60, dtype=np.int32), np.arange(60, dtype=np.int32) % 5
    return AtomAssigner(points, atoms, partitions, Bounds(1, 60), 60)


def partitions(dims: int, offset: float) -> Subject:
    """Partition, atom and distance."""
    fitted = assigner(dims, offset)
    return near_ties(fitted.prototypes), fitted.nearest


def routes(scores: Scores) -> Subject:
    """Who is asked for a row, best first."""
    fitted = assigner(DIMS, 1.0)
    router = Router(fitted, (0, 1, 2, 4), "any", scores, 3, 1.0, 9.0, 0.0)
    return near_ties(fitted.prototypes), lambda rows: router.route(rows).experts


def encoded(kind: str, values: Any, **spec: Any) -> Subject:
    """An encoder fitted on the rows."""
    encoder = make_encoder(spec, ColumnSetting("v", kind, "encode.columns.v", 0))
    encoder.fit(values, Target(np.arange(len(values)) % 2, ["n", "y"]))
    return values, encoder.encode


def projected() -> Subject:
    """The pixels of images through a PCA of scikit-learn's, by its class's name."""
    encoder = make_encoder(
        {"_target_": "sklearn.decomposition.PCA"}, ColumnSetting("v", "image", "s", 0)
    )
    estimator = PCA(whiten=True)
    estimator.mean_, estimator.components_ = numbers(576), numbers(50, 576)
    estimator.explained_variance_ = 1 + abs(numbers(50))
    encoder.fitted = {"estimator": estimator, "width": 50}
    return RNG.integers(0, 255, (ROWS, 24, 24)).astype(np.uint8), encoder.encode


WORDS = np.array([f"{n % 89:03b} {n % 97:x}" for n in range(ROWS)], dtype=object)
COLUMN = np.where(np.arange(ROWS) % 9, numbers(ROWS).astype(np.float64) * 1e3, np.nan)
REFERENCE = 1 + numbers(90, DIMS) / np.float32(2**20)
SUBJECTS: dict[str, Callable[[], Subject]] = {
    "embed": embedding,
    "assign": lambda: partitions(DIMS, 1.0),
    "assign far from the origin": lambda: partitions(300, 1e5),
    "route by atom": lambda: routes(ByDistance(0.7)),
    "route by neighbours": lambda: routes(ByNeighbours(REFERENCE, abs(numbers(90, 4)), 7)),
    "route by classifier": lambda: routes(
        ByClassifier(numbers(DIMS, 4).astype(np.float64), numbers(4).astype(np.float64))
    ),
    "scale": lambda: encoded("numeric", COLUMN, encoder="scale"),
    "rank": lambda: encoded("numeric", COLUMN, encoder="rank"),
    "quantile": lambda: encoded("numeric", COLUMN, encoder="quantile"),
    "one_hot": lambda: encoded("categorical", WORDS, encoder="one_hot"),
    "target": lambda: encoded("categorical", WORDS, encoder="target"),
    "ngrams": lambda: encoded("text", WORDS, encoder="ngrams", features=64),
    "sequence": lambda: encoded("text", WORDS, encoder="sequence_one_hot", alphabet="01 "),
    "image": lambda: encoded("image", numbers(ROWS, 6, 6), encoder="image"),
    "image by PCA": projected,
}


def arrays(results: Any) -> list[Any]:
    """Results of a subject, as a list of arrays."""
    return list(results) if isinstance(results, tuple) else [results]


def moved(rows: Any, of: Of, whole: list[Any]) -> list[int]:
    """Sizes of batches in which rows, drawn in another order, have other bits than in the whole."""
    found = []
    for size, count in ((1, 40), (37, 500), (300, len(rows))):
        order = RNG.permutation(len(rows))[:count]
        parts = [arrays(of(rows[order[start : start + size]])) for start in range(0, count, size)]
        joined = [np.concatenate(part) for part in zip(*parts, strict=True)]
        if any(a.tobytes() != b[order].tobytes() for a, b in zip(joined, whole, strict=True)):
            found.append(size)
    return found


def main() -> None:
    """Print of each subject the digest of its results, and in which batches they differ."""
    found = {}
    for name, subject in SUBJECTS.items():
        rows, of = subject()
        whole = arrays(of(rows))
        content = b"".join(np.ascontiguousarray(array).tobytes() for array in whole)
        found[name] = {
            "digest": hashlib.sha256(content).hexdigest(),
            "moved": moved(rows, of, whole),
        }
    print(json.dumps(found))  # noqa: T201 - the test reads it


if __name__ == "__main__":
    main()
