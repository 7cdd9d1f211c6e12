"""The number of partitions, chosen by what probes lose on validation rows."""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from shoal.cluster.atoms import kmeans_atoms
from shoal.cluster.fit import assigner_of, merged_within
from shoal.cluster.merge import InfeasibleError
from shoal.cluster.probes import Probes
from shoal.formats.units import least_units, mean_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from shoal.cluster.assigner import AtomAssigner
    from shoal.cluster.labelled import LabelledRows
    from shoal.cluster.probes import Recipe
    from shoal.settings.discovery import AutoAtoms

    Losses = NDArray[np.float64]


def fit_auto(
    settings: AutoAtoms,
    rows: LabelledRows,
    validation: LabelledRows,
    training_rows: int,
    recipe: Recipe,
) -> AtomAssigner:
    """The k-means assigner with the number of partitions whose probes do best.

    Every candidate's probes start from the base and see equally many rows.

    Args:
        settings: The choices.
        rows: Training rows in an order of their own.
        validation: Validation rows that no grid point is chosen on.
        training_rows: Rows of the training fold; the assigner's bounds are in this unit.
        recipe: What probes are made of; its ledger is charged.

    Returns:
        The assigner, with what was measured as its ``candidates``.

    Raises:
        ModelError: The loss of a probe is not finite.
    """
    cuts = _cuts(settings, rows, training_rows, recipe)
    rows_seen = settings.share * recipe.training.rows_seen / len(cuts)
    losses = {}
    for partitions, assigner in cuts.items():
        probes = Probes(recipe, rows, partitions)
        probes.train(assigner.assign(rows.embedding), rows_seen)
        losses[partitions] = probes.own_losses(assigner.assign(validation.embedding), validation)
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
) -> list[dict[str, Any]]:
    """Mean loss of each candidate, and by how much it is less than with 1 partition.

    Args:
        losses: Of the same rows, by number of partitions; 1 among them.
        units: Unit of each row, None where each is its own.
    """
    found = []
    for number, values in losses.items():
        gain = mean_of(losses[1] - values, units)
        counts = {"partitions": number, "rows": len(values), "units": gain.units}
        loss = float(values.mean())
        found.append({**counts, "loss": loss, "gain": gain.value, "standard_error": gain.error})
    return found


def _cuts(
    settings: AutoAtoms, rows: LabelledRows, training_rows: int, recipe: Recipe
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
