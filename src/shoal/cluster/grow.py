"""New atoms for rows of a new kind, beside those that an assigner has.

Rows of a new kind are rows that arrived where hardly any row lay before. How far they are from the
nearest atom does not tell: an atom reaches as far as its farthest row, and a new kind lies between
the atoms as often as beyond them. How dense they are does: a new atom is kept where rows that
arrived are ten times as frequent as rows from before, each as a share of its own kind.

A row is of a new atom if that is its nearest. So that no row from before changes its partition,
those that lie nearer to a new atom than to their own become guards: a row that is nearer to a guard
than to the new atom stays where it was, too.

Source:
    Rows that are kept where others would take them: Hart 1968, The condensed nearest neighbor rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from shoal.cluster.distances import Targets
from shoal.cluster.fit import kmeans_atoms
from shoal.cluster.merge import Bounds, InfeasibleError, merge_atoms

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shoal.cluster.assigner import AtomAssigner
    from shoal.settings.discovery import Bounded

    Rows = NDArray[np.float32]
    Counts = NDArray[np.int64]

_FINER = 4
_DENSER = 10.0
_MIXED = 0.25
_LEAST_EXPECTED = 20.0
_MOST_GUARDS = 5000


class NewAtoms(NamedTuple):
    """Atoms of a new kind of rows.

    Attributes:
        prototypes: One per atom, float32 ``(atoms, dims)``.
        share: Share of the judged rows that are nearest to one.
        flops: FLOPs of finding them.
    """

    prototypes: Rows
    share: float
    flops: float


def find_atoms(
    assigner: AtomAssigner, arrived: Rows, before: Rows, counts: tuple[int, int], seed: int
) -> NewAtoms:
    """Atoms of rows that arrived where hardly any row lay before; often none.

    They are found on one half of the rows that arrived and judged by the other, for atoms lie
    closer to the rows that they were found on than to any others. An atom is of a new kind if

    - 20 rows from before or more would be expected in it, were all rows of one kind;
    - there is not a tenth of these;
    - of all rows in it, a quarter or less are from before, and no more than 5,000 in all atoms.

    Args:
        assigner: The assigner so far.
        arrived: Some of the rows that arrived, in an order of their own, float32 ``(rows, dims)``.
        before: The same of rows that were there.
        counts: How many rows arrived, and how many were there, in all.
        seed: Seed of k-means.
    """
    half = len(arrived) // 2
    if not half or not len(before):
        return NewAtoms(assigner.prototypes[:0], 0.0, 0.0)
    atoms = len(assigner.atom_partition)
    wanted = round(counts[0] * _FINER * atoms / max(1, assigner.training_rows))
    found = kmeans_atoms(arrived[:half], min(max(1, wanted), atoms, half), seed)
    sides = [
        _Side.of(assigner, found.prototypes, rows, count)
        for rows, count in zip((arrived[half:], before), counts, strict=True)
    ]
    measured = sum(len(side.old) for side in sides) * arrived.shape[1]
    flops = found.flops + 2.0 * measured * (len(assigner.prototypes) + len(found.prototypes))
    kept = np.arange(len(found.prototypes))
    while len(kept):
        new, old = (side.nearest_to(kept) for side in sides)
        worst = _worst(new, old, *sides)
        if worst is None:
            share = float(new.sum() / len(sides[0].old))
            return NewAtoms(found.prototypes[kept], share, flops)
        kept = np.delete(kept, worst)
    return NewAtoms(found.prototypes[:0], 0.0, flops)


class _Side(NamedTuple):
    """Rows that arrived, or rows from before.

    Attributes:
        old: Squared distance to the nearest prototype of the assigner, float64 ``(rows,)``.
        new: The same to each new prototype, float64 ``(rows, prototypes)``.
        weight: How many rows one of these stands for.
    """

    old: NDArray[np.float64]
    new: NDArray[np.float64]
    weight: float

    @classmethod
    def of(cls, assigner: AtomAssigner, prototypes: Rows, rows: Rows, count: int) -> _Side:
        """Measure some rows of ``count``."""
        old = assigner.nearest(rows)[2].astype(np.float64) ** 2
        new = Targets(prototypes).nearest(rows, np.arange(len(prototypes))).squared
        return cls(old, new, count / len(rows))

    def nearest_to(self, kept: NDArray[np.int64]) -> Counts:
        """Rows that are nearest to each of some new prototypes, int64 ``(prototypes,)``."""
        own = self.new[:, kept]
        closer = own.min(axis=1) < self.old
        return np.bincount(own[closer].argmin(axis=1), minlength=len(kept))


def _worst(new: Counts, old: Counts, arrived: _Side, before: _Side) -> int | None:
    """The atom that is the least of a new kind; None where each is of one.

    Args:
        new: Rows that arrived in each atom.
        old: Rows from before in each atom.
        arrived: All rows that arrived.
        before: All rows from before.
    """
    expected = new * len(before.old) / len(arrived.old)
    known = old * before.weight
    mixed = known / np.maximum(known + new * arrived.weight, 1e-9)
    wrong = (expected < _LEAST_EXPECTED) | (old * _DENSER > expected) | (mixed > _MIXED)
    if not wrong.any():
        wrong = np.full(len(new), known.sum() > _MOST_GUARDS)
    order = np.lexsort((new, -mixed, ~wrong))
    return int(order[0]) if wrong.any() else None


def guards_among(assigner: AtomAssigner, prototypes: Rows, before: Rows) -> Rows:
    """Those of some rows from before that would change their partition, float32 ``(rows, dims)``.

    Args:
        assigner: The assigner so far.
        prototypes: New ones, float32 ``(prototypes, dims)``.
        before: Rows from before, float32 ``(rows, dims)``.
    """
    distance = assigner.nearest(before)[2]
    near = np.sqrt(Targets(prototypes).nearest(before).squared[:, 0]).astype(np.float32)
    found: Rows = before[near <= distance]
    return found


def merged(
    assigner: AtomAssigner, prototypes: Rows, rows: Counts, settings: Bounded
) -> NDArray[np.int32]:
    """New partition of each new atom, from 0: as large as the assigner's own, or the only one.

    Args:
        assigner: The assigner so far.
        prototypes: Of the new atoms, float32 ``(atoms, dims)``.
        rows: Training rows of each new atom, int64 ``(atoms,)``.
        settings: Bounds and seed of the assigner's fit.
    """
    total, own_mean = int(rows.sum()), max(1.0, assigner.bounds.upper / settings.upper)
    for partitions in range(min(len(rows), round(total / own_mean)), 1, -1):
        bounds = Bounds.of_mean(total, partitions, settings.lower, settings.upper)
        try:
            return merge_atoms(
                prototypes.astype(np.float64), rows, partitions, bounds, settings.seed
            )
        except InfeasibleError:
            continue
    return np.zeros(len(rows), np.int32)
