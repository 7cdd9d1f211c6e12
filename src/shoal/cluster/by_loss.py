"""Discovery by loss: atoms go to the partition whose model has the least loss on their rows.

Every row of an atom goes the same way, so a row's partition remains a function of its input, and
new rows are assigned like any others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from shoal.cluster.atoms import kmeans_atoms
from shoal.cluster.fit import assigner_of, atom_centres, merged_within
from shoal.cluster.merge import Bounds, assign_within, numbered
from shoal.cluster.probes import Probes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from shoal.cluster.assigner import AtomAssigner
    from shoal.cluster.labelled import LabelledRows
    from shoal.cluster.probes import Recipe
    from shoal.settings.discovery import LossAtoms

    Labels = NDArray[np.int32]
    Places = NDArray[np.int64]
    Float64 = NDArray[np.float64]


class Experts(Protocol):
    """One model a partition: :class:`shoal.cluster.probes.Probes`."""

    def train(self, partition: Labels, rows_seen: float) -> None:
        """Go on training each on its partition, all together for so many rows."""

    def all_losses(self, places: Places) -> Float64:
        """Loss of some rows under every model, float64 ``(places, partitions)``."""


def fit_by_loss(
    settings: LossAtoms, rows: LabelledRows, training_rows: int, recipe: Recipe
) -> AtomAssigner:
    """An assigner whose partitions are found by the losses of probes.

    Args:
        settings: The choices.
        rows: Training rows in an order of their own.
        training_rows: Rows of the training fold; the assigner's bounds are in this unit.
        recipe: What probes are made of; its ledger is charged.

    Raises:
        InfeasibleError: No merge keeps the bounds.
        ModelError: The loss of a probe is not finite.
    """
    atoms = kmeans_atoms(rows.embedding, settings.atoms, settings.seed)
    atoms, atom_partition = merged_within(atoms, rows.embedding, settings, settings.partitions)
    recipe.charge("atoms", atoms.flops)
    labels = atoms.labels(rows.embedding)
    experts = Probes(recipe, rows, settings.partitions)
    per_round = settings.share * recipe.training.rows_seen / settings.rounds
    bounds = Bounds.of_mean(len(rows), settings.partitions, settings.lower, settings.upper)
    for chosen in _samples(settings, len(rows)):
        atom_partition = one_round(experts, labels, atom_partition, per_round, chosen, bounds)
    centres, held = atom_centres(atoms, rows.embedding)
    atom_partition = numbered(centres, held, atom_partition, settings.partitions)
    return assigner_of((atoms, atom_partition), settings, training_rows)


def one_round(
    experts: Experts,
    labels: Labels,
    atom_partition: Labels,
    rows_seen: float,
    chosen: Places,
    bounds: Bounds,
) -> Labels:
    """Train the models on their partitions, then move each atom to where its losses are least.

    Args:
        experts: The models.
        labels: Atom of each training row, int32 ``(rows,)``.
        atom_partition: Partition of each atom, int32 ``(atoms,)``.
        rows_seen: Rows that the models see, all together.
        chosen: Places of the rows that losses are taken of.
        bounds: Fewest and most rows of a partition.

    Returns:
        The new partition of each atom; without a chosen row it goes elsewhere only for the bounds.

    Source:
        Hard expectation-maximisation of a mixture of experts (Jacobs et al. 1991) with whole
        atoms in place of rows, balanced as in Bradley, Bennett and Demiriz 2000.
    """
    experts.train(atom_partition[labels], rows_seen)
    losses = experts.all_losses(chosen)
    held = np.bincount(labels, minlength=len(atom_partition))
    seen = np.bincount(labels[chosen], minlength=len(atom_partition))
    cost = np.zeros((len(atom_partition), losses.shape[1]))
    np.add.at(cost, labels[chosen], losses)
    unseen = np.flatnonzero(seen == 0)
    cost[unseen] = losses.mean()
    cost[unseen, atom_partition[unseen]] = 0.0
    cost *= (held / np.maximum(seen, 1))[:, None]
    return assign_within(cost, held.astype(np.int64), bounds)


def _samples(settings: LossAtoms, rows: int) -> Iterator[Places]:
    """Places of the rows that each round takes the losses of."""
    rng = np.random.default_rng([settings.seed, 0x1055])
    for _ in range(settings.rounds):
        yield np.sort(rng.permutation(rows)[: settings.loss_rows])
