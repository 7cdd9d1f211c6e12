"""From a sample of embeddings to an assigner: atoms, their split, their merge, their number.

Atoms are fine cells of the training rows, by k-means or HDBSCAN. Both are kept as *prototypes*,
points that each belong to an atom; a row's atom is that of its nearest prototype. For k-means an
atom's one prototype is its centroid; for HDBSCAN prototypes are rows of the sample, so that an atom
may have any shape.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.cluster.assigner import AtomAssigner
from shoal.cluster.merge import Bounds, InfeasibleError, merge_atoms
from shoal.errors import DataError
from shoal.settings.discovery import KMeansAtoms
from shoal_edge.distances import nearest_point

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shoal.settings.discovery import Bounded, HDBSCANAtoms

    Sample = NDArray[np.float32]
    Merged = tuple["Atoms", NDArray[np.int32]]

_STARTS = 3
_MOST_PROTOTYPES = 5000
_SPLIT_ROUNDS = 16


@dataclass(frozen=True)
class Atoms:
    """Fine cells.

    Attributes:
        prototypes: float32 ``(prototypes, dims)``.
        prototype_atom: Atom of each prototype, int32 ``(prototypes,)``, from 0 without gaps.
        flops: FLOPs of finding them.
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
        Lloyd 1982; k-means++ starts, Arthur and Vassilvitskii 2007. FLOPs: ``2 n k d`` for each
        iteration, the product of rows and centroids that distances differ from by norms.
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
        Campello, Moulavi and Sander 2013. FLOPs: ``n^2 d``, a product for each pair of rows.
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
    atoms = Atoms(sample[kept], labels[kept].astype(np.int32), float(rows * rows * dims))
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
    return kmeans, 2.0 * rows.size * clusters * kmeans.n_iter_


def _without_empty(atoms: Atoms, sample: Sample) -> Atoms:
    """The atoms that are nearest to some row of the sample, numbered without gaps."""
    used = np.unique(atoms.labels(sample))
    kept = np.isin(atoms.prototype_atom, used)
    numbers = np.searchsorted(used, atoms.prototype_atom[kept]).astype(np.int32)
    return Atoms(atoms.prototypes[kept], numbers, atoms.flops)


def _spread(labels: NDArray[Any]) -> NDArray[np.int64]:
    """At most _MOST_PROTOTYPES rows (more only if there are more atoms), each atom's share."""
    inside = np.flatnonzero(labels >= 0)
    if len(inside) <= _MOST_PROTOTYPES:
        return inside
    kept = []
    for atom in np.unique(labels[inside]):
        own = np.flatnonzero(labels == atom)
        quota = max(1, len(own) * _MOST_PROTOTYPES // len(inside))
        kept.append(own[np.linspace(0, len(own) - 1, quota).astype(np.int64)])
    return np.sort(np.concatenate(kept))


def _varies(rows: Sample) -> bool:
    return bool((rows != rows[0]).any())


def _range(count: int) -> NDArray[np.int32]:
    return np.arange(count, dtype=np.int32)


_SILHOUETTE_ROWS = 2000
_FINER = (1, 2, 4, 8)


def fit_assigner(
    settings: KMeansAtoms | HDBSCANAtoms, sample: Sample, training_rows: int
) -> tuple[AtomAssigner, float]:
    """Assigner of atoms merged into balanced partitions, and the FLOPs of finding it.

    Args:
        settings: The choices.
        sample: Embeddings of training rows in an order of their own, float32 ``(rows, dims)``.
        training_rows: Rows of the training fold; the bounds are kept in this unit, while the
            balance itself is struck on the sample.

    Raises:
        DataError: HDBSCAN finds nothing, or no merge keeps the bounds.
    """
    if isinstance(settings, KMeansAtoms):
        atoms = kmeans_atoms(sample, settings.atoms, settings.seed)
    else:
        atoms = hdbscan_atoms(sample, settings.min_cluster_size)
    if settings.partitions == "auto":
        merged = _choose(atoms, sample, settings)
    else:
        merged = merged_within(atoms, sample, settings, settings.partitions)
    return assigner_of(merged, settings, training_rows), merged[0].flops


def assigner_of(merged: Merged, settings: Bounded, training_rows: int) -> AtomAssigner:
    """The assigner of merged atoms.

    Args:
        merged: Atoms and the partition of each.
        settings: The bounds.
        training_rows: Rows of the training fold.
    """
    atoms, atom_partition = merged
    partitions = int(atom_partition.max()) + 1
    bounds = Bounds.of_mean(training_rows, partitions, settings.lower, settings.upper)
    return AtomAssigner(
        atoms.prototypes, atoms.prototype_atom, atom_partition, bounds, training_rows
    )


def merged_within(atoms: Atoms, sample: Sample, settings: Bounded, partitions: int) -> Merged:
    """Atoms small enough for the bounds, and the partition of each, by where they lie.

    Where atoms that each fit still do not pack, finer ones are tried.

    Args:
        atoms: The atoms.
        sample: Embeddings of training rows, float32 ``(rows, dims)``.
        settings: Bounds and seed.
        partitions: Number of partitions.

    Raises:
        InfeasibleError: No merge keeps the bounds.
    """
    bounds = Bounds.of_mean(len(sample), partitions, settings.lower, settings.upper)
    failure: InfeasibleError | None = None
    for finer in _FINER:
        atoms = split_large(atoms, sample, max(1.0, bounds.upper / finer), settings.seed)
        centres, rows = atom_centres(atoms, sample)
        try:
            return atoms, merge_atoms(centres, rows, partitions, bounds, settings.seed)
        except InfeasibleError as error:
            failure = error
    raise failure or ValueError("no merge was tried")


def _choose(atoms: Atoms, sample: Sample, settings: KMeansAtoms | HDBSCANAtoms) -> Merged:
    """The merge, of 2 to max_partitions, whose partitions have the highest silhouette.

    Source:
        Rousseeuw 1987, mean silhouette width.
    """
    from sklearn.metrics import silhouette_score

    if settings.max_partitions == 1:
        return merged_within(atoms, sample, settings, 1)
    first = sample[:_SILHOUETTE_ROWS]
    best: Merged | None = None
    highest = -np.inf
    failure = InfeasibleError(
        f"cluster: {len(sample)} training rows are too few to choose cluster.partitions by "
        f"silhouette; set it to a number"
    )
    for partitions in range(2, max(3, min(settings.max_partitions, len(first) - 1) + 1)):
        try:
            finer, atom_partition = merged_within(atoms, sample, settings, partitions)
        except InfeasibleError as error:
            failure = error
            continue
        labels = atom_partition[finer.labels(first)]
        if 1 < len(np.unique(labels)) < len(first):
            score = float(silhouette_score(first.astype(np.float64), labels))
            if score > highest:
                best, highest = (finer, atom_partition), score
    if best is None:
        raise failure
    return best


def atom_centres(atoms: Atoms, sample: Sample) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Mean and number of each atom's rows."""
    labels = atoms.labels(sample)
    rows = np.bincount(labels, minlength=atoms.count)
    sums = np.zeros((atoms.count, sample.shape[1]))
    np.add.at(sums, labels, sample)
    return sums / np.maximum(rows, 1)[:, None], rows.astype(np.int64)
