"""From a sample of embeddings to an assigner: atoms, their split, their merge, their number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from shoal.cluster.assigner import AtomAssigner
from shoal.cluster.atoms import Atoms, hdbscan_atoms, kmeans_atoms, split_large
from shoal.cluster.merge import Bounds, InfeasibleError, merge_atoms
from shoal.settings.discovery import KMeansAtoms

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shoal.settings.discovery import Bounded, HDBSCANAtoms

    Sample = NDArray[np.float32]
    Merged = tuple[Atoms, NDArray[np.int32]]

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
        if not 1 < len(np.unique(labels)) < len(first):
            continue
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
