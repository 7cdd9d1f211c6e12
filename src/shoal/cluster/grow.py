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

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from shoal.cluster.fit import kmeans_atoms
from shoal.cluster.merge import Bounds, InfeasibleError, merge_atoms
from shoal_edge.distances import Targets

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shoal.cluster.assigner import AtomAssigner
    from shoal.settings.discovery import Bounded

    Rows = NDArray[np.float32]
    Counts = NDArray[np.int64]

_FINER = 4
_DENSER = 10.0
_MIXED = 0.25
_LEAST_ROWS = 10
_LEAST_UNITS, _LEAST_EXPECTED = 5, 20
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


class Drawn(NamedTuple):
    """Some rows, in an order of their own.

    Attributes:
        rows: Embeddings, float32 ``(rows, dims)``.
        unit: Unit of each row, ``(rows,)``: a number per row where each is its own.
        drawn_from: How many rows they were drawn from.
    """

    rows: Rows
    unit: NDArray[Any]
    drawn_from: int

    @classmethod
    def single(cls, rows: Rows, drawn_from: int) -> Drawn:
        """Rows of which each is its own unit."""
        return cls(rows, np.arange(len(rows)), drawn_from)

    def halves(self) -> tuple[Drawn, Drawn]:
        """The rows of those units that come first, and the others."""
        _, first, number = np.unique(self.unit, return_index=True, return_inverse=True)
        is_first = np.argsort(np.argsort(first))[number] < (len(first) + 1) // 2
        both = (Drawn(self.rows[s], self.unit[s], self.drawn_from) for s in (is_first, ~is_first))
        return next(both), next(both)


def find_atoms(assigner: AtomAssigner, arrived: Drawn, before: Drawn, seed: int) -> NewAtoms:
    """Atoms of rows that arrived where hardly any row lay before; often none.

    They are found on one half of the units that arrived and judged by the other, for atoms lie
    closer to the rows that they were found on than to any others. An atom is of a new kind if

    - it holds 5 judged units, and 20 units from before would be expected in it, were all of one
      kind;
    - there is not a tenth of the rows from before that would be;
    - of all rows in it, a quarter or less are from before, and about 5,000 at most in all atoms.

    Args:
        assigner: The assigner so far.
        arrived: Some of the rows that arrived.
        before: Some of the rows that were there.
        seed: Seed of k-means.
    """
    found_on, judged = arrived.halves()
    if not len(judged.rows) or not len(before.rows):
        return NewAtoms(assigner.prototypes[:0], 0.0, 0.0)
    atoms = len(assigner.atom_partition)
    wanted = round(arrived.drawn_from * _FINER * atoms / max(1, assigner.training_rows))
    most = max(1, len(found_on.rows) // _LEAST_ROWS)
    found = kmeans_atoms(found_on.rows, min(max(1, wanted), atoms, most), seed)
    came, were = (_Side.of(assigner, found.prototypes, drawn) for drawn in (judged, before))
    measured = (len(came.old) + len(were.old)) * judged.rows.shape[1]
    flops = found.flops + 2.0 * measured * (len(assigner.prototypes) + len(found.prototypes))
    kept = np.arange(len(found.prototypes))
    while len(kept):
        worst = _worst(came, were, kept)
        if worst is None:
            share = float(came.rows_of(kept).sum() / len(judged.rows))
            return NewAtoms(found.prototypes[kept], share, flops)
        kept = np.delete(kept, worst)
    return NewAtoms(found.prototypes[:0], 0.0, flops)


class _Side(NamedTuple):
    """Rows that arrived, or rows from before.

    Attributes:
        old: Squared distance to the nearest prototype of the assigner, float64 ``(rows,)``.
        new: The same to each new prototype, float64 ``(rows, prototypes)``.
        unit: Number of each row's unit, from 0, int64 ``(rows,)``.
        weight: How many rows one of these stands for.
    """

    old: NDArray[np.float64]
    new: NDArray[np.float64]
    unit: Counts
    weight: float

    @classmethod
    def of(cls, assigner: AtomAssigner, prototypes: Rows, drawn: Drawn) -> _Side:
        """Measure rows."""
        old = assigner.nearest(drawn.rows)[2].astype(np.float64) ** 2
        new = Targets(prototypes).nearest(drawn.rows, np.arange(len(prototypes))).squared
        unit = np.unique(drawn.unit, return_inverse=True)[1]
        return cls(old, new, unit.astype(np.int64), drawn.drawn_from / len(drawn.rows))

    @property
    def units(self) -> int:
        """How many units there are."""
        return int(self.unit.max()) + 1

    def nearest_to(self, kept: Counts) -> tuple[Counts, Counts]:
        """Rows that are nearest to some of the new prototypes, and to which one."""
        own = self.new[:, kept]
        rows = np.flatnonzero(own.min(axis=1) < self.old)
        return rows, own[rows].argmin(axis=1)

    def rows_of(self, kept: Counts) -> Counts:
        """How many rows are nearest to each, int64 ``(kept,)``."""
        return np.bincount(self.nearest_to(kept)[1], minlength=len(kept))

    def units_of(self, kept: Counts) -> Counts:
        """How many units these are of."""
        rows, atom = self.nearest_to(kept)
        pairs = np.unique(np.stack([atom, self.unit[rows]]), axis=1)
        return np.bincount(pairs[0], minlength=len(kept))


def _worst(arrived: _Side, before: _Side, kept: Counts) -> int | None:
    """Place of the prototype that is the least of a new kind; None where each is of one.

    Args:
        arrived: Judged rows that arrived.
        before: Rows from before.
        kept: Prototypes that are left.
    """
    new, old = (side.rows_of(kept) for side in (arrived, before))
    units = arrived.units_of(kept)
    known = old * before.weight
    mixed = known / np.maximum(known + new * arrived.weight, 1e-9)
    wrong = (
        (units < _LEAST_UNITS)
        | (units * before.units < _LEAST_EXPECTED * arrived.units)
        | (old * _DENSER * len(arrived.old) > new * len(before.old))
        | (mixed > _MIXED)
    )
    if not wrong.any():
        wrong = np.full(len(kept), known.sum() > _MOST_GUARDS)
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
