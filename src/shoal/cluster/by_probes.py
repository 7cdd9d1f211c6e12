"""Assigners found with probes: the number of partitions by loss, and partitions by loss.

:func:`fit_auto` compares numbers of partitions by what probes lose on validation rows.
:func:`fit_by_loss` moves each atom to the partition whose probe has the least loss on its rows;
every row of an atom goes the same way, so a row's partition remains a function of its input.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING, Protocol

import numpy as np

from shoal.cluster.assigner import CandidateLoss
from shoal.cluster.fit import assigner_of, atom_centres, kmeans_atoms, merged_within
from shoal.cluster.merge import Bounds, InfeasibleError, assign_within, numbered
from shoal.cluster.probes import Probes, train_probes
from shoal.formats.units import least_units, mean_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from shoal.cluster.assigner import AtomAssigner
    from shoal.cluster.probes import LabelledRows, ProbeRecipe
    from shoal.settings.discovery import AutoAtoms, LossAtoms

    Losses = NDArray[np.float64]
    Labels = NDArray[np.int32]
    Places = NDArray[np.int64]
    Float64 = NDArray[np.float64]


def fit_auto(
    settings: AutoAtoms,
    rows: LabelledRows,
    validation: LabelledRows,
    training_rows: int,
    recipe: ProbeRecipe,
) -> AtomAssigner:
    """The k-means assigner with the number of partitions whose probes do best.

    Every candidate's probes start from the base and see equally many rows.

    Args:
        settings: The choices.
        rows: Training rows in an order of their own.
        validation: Validation rows that no grid point is chosen on.
        training_rows: Rows of the training fold; the assigner's bounds are in this unit.
        recipe: Model and training of probes; its ledger is charged.

    Returns:
        The assigner, with its measured ``candidates``.

    Raises:
        ModelError: The loss of a probe is not finite.
    """
    cuts = _cuts(settings, rows, training_rows, recipe)
    rows_seen = settings.share * recipe.rows_seen / len(cuts)
    probes = {partitions: Probes(recipe, rows, partitions) for partitions in cuts}
    assigned = (cut.assign(rows.embedding) for cut in cuts.values())
    train_probes(list(zip(probes.values(), assigned, strict=True)), rows_seen)
    losses = {
        partitions: probes[partitions].own_losses(cut.assign(validation.embedding), validation)
        for partitions, cut in cuts.items()
    }
    chosen = cuts[best_number(losses, settings.confidence, validation.unit)]
    chosen.candidates = measured(losses, validation.unit)
    return chosen


def best_number(
    losses: Mapping[int, Losses], confidence: float, units: NDArray[np.uint64] | None = None
) -> int:
    """The number of partitions with the least mean loss, or 1 where that is not clearly better.

    Args:
        losses: Of the same rows, by number of partitions; 1 among them.
        confidence: Standard errors of the paired difference that the best must be better by.
        units: Unit of each row, None where each is its own; too few of them decide nothing, see
            :func:`shoal.formats.units.least_units`.
    """
    best = min(losses, key=lambda number: (losses[number].mean(), number))
    gain = mean_of(losses[1] - losses[best], units)
    enough = gain.units >= least_units(NormalDist().cdf(-confidence))
    return best if enough and gain.value > confidence * gain.error else 1


def measured(
    losses: Mapping[int, Losses], units: NDArray[np.uint64] | None = None
) -> list[CandidateLoss]:
    """Mean loss of each candidate, and by how much it is less than with 1 partition.

    Args:
        losses: Of the same rows, by number of partitions; 1 among them.
        units: Unit of each row, None where each is its own.
    """
    candidates = []
    for number, values in losses.items():
        gain = mean_of(losses[1] - values, units)
        candidates.append(
            CandidateLoss(
                partitions=number,
                rows=len(values),
                units=gain.units,
                loss=float(values.mean()),
                gain=gain.value,
                standard_error=gain.error,
            )
        )
    return candidates


def _cuts(
    settings: AutoAtoms, rows: LabelledRows, training_rows: int, recipe: ProbeRecipe
) -> dict[int, AtomAssigner]:
    """The candidates by number of partitions: those whose partitions have enough rows."""
    atoms = kmeans_atoms(rows.embedding, settings.atoms, settings.seed)
    recipe.charge("atoms", atoms.flops)
    cuts = {}
    for number in sorted({1, *settings.partitions}):
        if number > 1 and training_rows < number * settings.min_rows:
            continue
        try:
            merged = merged_within(atoms, rows.embedding, settings, number)
        except InfeasibleError:
            continue
        recipe.charge("atoms", merged[0].flops - atoms.flops)
        cuts[number] = assigner_of(merged, settings, training_rows)
    return cuts


class PartitionModels(Protocol):
    """One model per partition: :class:`shoal.cluster.probes.Probes`."""

    def train(self, partition: Labels, rows_seen: float) -> None:
        """Go on training each on its partition, all together for so many rows."""

    def all_losses(self, places: Places) -> Float64:
        """Loss of some rows under every model, float64 ``(places, partitions)``."""


def fit_by_loss(
    settings: LossAtoms, rows: LabelledRows, training_rows: int, recipe: ProbeRecipe
) -> AtomAssigner:
    """An assigner whose partitions are found by the losses of probes.

    Args:
        settings: The choices.
        rows: Training rows in an order of their own.
        training_rows: Rows of the training fold; the assigner's bounds are in this unit.
        recipe: Model and training of probes; its ledger is charged.

    Raises:
        InfeasibleError: No merge keeps the bounds.
        ModelError: The loss of a probe is not finite.
    """
    atoms = kmeans_atoms(rows.embedding, settings.atoms, settings.seed)
    atoms, atom_partition = merged_within(atoms, rows.embedding, settings, settings.partitions)
    recipe.charge("atoms", atoms.flops)
    labels = atoms.labels(rows.embedding)
    experts = Probes(recipe, rows, settings.partitions)
    per_round = settings.share * recipe.rows_seen / settings.rounds
    bounds = Bounds.of_mean(len(rows), settings.partitions, settings.lower, settings.upper)
    for chosen in _samples(settings, len(rows)):
        atom_partition = one_round(experts, labels, atom_partition, per_round, chosen, bounds)
    centres, held = atom_centres(atoms, rows.embedding)
    atom_partition = numbered(centres, held, atom_partition, settings.partitions)
    return assigner_of((atoms, atom_partition), settings, training_rows)


def one_round(
    experts: PartitionModels,
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
