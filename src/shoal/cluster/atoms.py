"""Fine cells of the training rows: k-means or HDBSCAN.

Both are kept as *prototypes*, points that each belong to an atom; a row's atom is that of its
nearest prototype. For k-means an atom's one prototype is its centroid; for HDBSCAN prototypes
are rows of the sample, so that an atom may have any shape.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.cluster.distances import nearest_point
from shoal.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Sample = NDArray[np.float32]

_STARTS = 3
_MOST_PROTOTYPES = 5000
_SPLIT_ROUNDS = 16


@dataclass(frozen=True)
class Atoms:
    """Fine cells.

    Attributes:
        prototypes: float32 ``(prototypes, dims)``.
        prototype_atom: Atom of each prototype, int32 ``(prototypes,)``, from 0 without gaps.
        flops: What finding them cost.
    """

    prototypes: NDArray[np.float32]
    prototype_atom: NDArray[np.int32]
    flops: float

    def labels(self, rows: Sample) -> NDArray[np.int32]:
        """Atom of each row, int32 ``(rows,)``."""
        return self.prototype_atom[nearest_point(rows, self.prototypes)]

    @property
    def count(self) -> int:
        """Number of atoms."""
        return int(self.prototype_atom.max()) + 1


def kmeans_atoms(sample: Sample, atoms: int, seed: int) -> Atoms:
    """Atoms by k-means, the best of three starts.

    Args:
        sample: Rows, float32 ``(rows, dims)``.
        atoms: Cells asked for; fewer where the sample has fewer distinct rows.
        seed: Seed of the starts.

    Source:
        Lloyd 1982; k-means++ starts, Arthur and Vassilvitskii 2007. FLOPs: ``3 n k d`` for each
        iteration (subtract, square, add for each row, centroid and dimension).
    """
    fits = [_kmeans(sample, atoms, seed + start) for start in range(_STARTS)]
    best, _ = min(fits, key=lambda fit: float(fit[0].inertia_))
    flops = sum(cost for _, cost in fits)
    prototypes = best.cluster_centers_.astype(np.float32)
    return _without_empty(Atoms(prototypes, _range(len(prototypes)), flops), sample)


def hdbscan_atoms(sample: Sample, min_cluster_size: int) -> Atoms:
    """Atoms by HDBSCAN; a noise row belongs to the atom of its nearest row that is in one.

    Args:
        sample: Rows, float32 ``(rows, dims)``.
        min_cluster_size: Smallest atom.

    Raises:
        DataError: HDBSCAN finds no cluster.

    Source:
        Campello, Moulavi and Sander 2013. FLOPs: ``3 n^2 d``, all distances once.
    """
    from sklearn.cluster import HDBSCAN

    rows, dims = sample.shape
    labels = np.full(rows, -1)
    if rows >= max(2, min_cluster_size):
        size = max(2, min_cluster_size)
        labels = HDBSCAN(min_cluster_size=size, copy=True).fit_predict(sample.astype(np.float64))
    if labels.max(initial=-1) < 0:
        raise DataError(
            f"cluster: HDBSCAN finds no cluster among {rows} rows; lower "
            f"cluster.min_cluster_size (now {min_cluster_size}) or use cluster=kmeans"
        )
    kept = _spread(labels)
    atoms = Atoms(sample[kept], labels[kept].astype(np.int32), 3.0 * rows * rows * dims)
    return _without_empty(atoms, sample)


def split_large(atoms: Atoms, sample: Sample, limit: float, seed: int) -> Atoms:
    """Split atoms that hold more rows of the sample than ``limit``, by k-means, until they fit.

    An atom whose rows are all the same stays whole.
    """
    for _ in range(_SPLIT_ROUNDS):
        labels = atoms.labels(sample)
        counts = np.bincount(labels, minlength=atoms.count)
        large = [atom for atom in np.flatnonzero(counts > limit) if _varies(sample[labels == atom])]
        if not large:
            break
        for atom in large:
            parts = int(np.ceil(counts[atom] / limit))
            atoms = _split(atoms, int(atom), sample[labels == atom], parts, seed)
        atoms = _without_empty(atoms, sample)
    return atoms


def _split(atoms: Atoms, atom: int, rows: Sample, parts: int, seed: int) -> Atoms:
    """The atom in at least two parts, the first under its own number."""
    fitted, flops = _kmeans(rows, max(2, parts), seed)
    centres = fitted.cluster_centers_.astype(np.float32)
    own = atoms.prototype_atom == atom
    prototypes = atoms.prototypes[own]
    part = nearest_point(prototypes, centres)
    if len(np.unique(part)) < 2:
        prototypes, part = centres, _range(len(centres))
    numbers = np.where(part == part.min(), atom, atoms.count + part).astype(np.int32)
    return Atoms(
        np.concatenate([atoms.prototypes[~own], prototypes]),
        np.concatenate([atoms.prototype_atom[~own], numbers]),
        atoms.flops + flops,
    )


def _kmeans(rows: Sample, clusters: int, seed: int) -> tuple[Any, float]:
    """A fitted KMeans from one start, and its FLOPs."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    clusters = min(clusters, len(rows))
    with warnings.catch_warnings():
        # Fewer distinct rows than clusters: the empty clusters are dropped afterwards.
        warnings.filterwarnings("ignore", category=ConvergenceWarning)
        kmeans = KMeans(clusters, n_init=1, random_state=seed).fit(rows.astype(np.float64))
    return kmeans, 3.0 * rows.size * clusters * kmeans.n_iter_


def _without_empty(atoms: Atoms, sample: Sample) -> Atoms:
    """The atoms that are nearest to some row of the sample, numbered without gaps."""
    used = np.unique(atoms.labels(sample))
    kept = np.isin(atoms.prototype_atom, used)
    numbers = np.searchsorted(used, atoms.prototype_atom[kept]).astype(np.int32)
    return Atoms(atoms.prototypes[kept], numbers, atoms.flops)


def _spread(labels: NDArray[Any]) -> NDArray[np.int64]:
    """At most _MOST_PROTOTYPES rows (more only if there are more atoms), each atom's share."""
    found = np.flatnonzero(labels >= 0)
    if len(found) <= _MOST_PROTOTYPES:
        return found
    kept = []
    for atom in np.unique(labels[found]):
        own = np.flatnonzero(labels == atom)
        quota = max(1, len(own) * _MOST_PROTOTYPES // len(found))
        kept.append(own[np.linspace(0, len(own) - 1, quota).astype(np.int64)])
    return np.sort(np.concatenate(kept))


def _varies(rows: Sample) -> bool:
    return bool((rows != rows[0]).any())


def _range(count: int) -> NDArray[np.int32]:
    return np.arange(count, dtype=np.int32)
