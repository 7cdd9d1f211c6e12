"""Atoms merged into balanced partitions: constrained k-means with PuLP's assignment problem."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from shoal.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Float64 = NDArray[np.float64]
    Labels = NDArray[np.int32]

_ROUNDS = 5
_NEAREST_CENTRES = 8
_GAP = 1e-3
# A limit in nodes gives the same answer on a busy machine, which a limit in seconds does not.
_NODES = 2000


class InfeasibleError(DataError):
    """No merge of the atoms keeps the bounds."""


@dataclass(frozen=True)
class Bounds:
    """Fewest and most rows of a partition."""

    lower: int
    upper: int

    @classmethod
    def of_mean(cls, rows: int, partitions: int, lower: float, upper: float) -> Bounds:
        """Bounds as shares of the mean number of rows of a partition."""
        mean = rows / partitions
        return cls(int(np.floor(lower * mean)), int(np.ceil(upper * mean)))


def merge_atoms(
    centres: Float64, rows: NDArray[np.int64], partitions: int, bounds: Bounds, seed: int
) -> Labels:
    """Partition of each atom, by alternating a balanced assignment and new centres.

    Minimises the sum over atoms of rows times squared distance to the partition's centre, where
    every partition has at least one atom and its rows keep the bounds.

    Args:
        centres: Mean of each atom's rows, float64 ``(atoms, dims)``.
        rows: Rows of each atom, int64 ``(atoms,)``.
        partitions: Number of partitions.
        bounds: Fewest and most rows of a partition, counted like ``rows``.
        seed: Seed of the first centres.

    Returns:
        int32 ``(atoms,)``; partition 0 has the most rows, ties go by centre.

    Raises:
        InfeasibleError: There is no such assignment.

    Source:
        Bradley, Bennett and Demiriz 2000, with whole atoms in place of rows.
    """
    if len(rows) < partitions:
        raise InfeasibleError(_advice(rows, partitions, bounds))
    targets = _first_centres(centres, rows, partitions, seed)
    best, lowest = None, np.inf
    previous = None
    for _ in range(_ROUNDS):
        difference = centres[:, None, :] - targets[None]
        squared = (difference * difference).sum(axis=2)
        labels = assign_within(rows[:, None] * squared, rows, bounds)
        cost = merge_cost(centres, rows, labels)
        if cost < lowest:
            best, lowest = labels, cost
        if previous is not None and (labels == previous).all():
            break
        previous = labels
        targets = _centres_of(centres, rows, labels, partitions)
    if best is None:
        raise ValueError("the atoms' centres are not finite")
    return numbered(centres, rows, best, partitions)


def merge_cost(centres: Float64, rows: NDArray[np.int64], labels: Labels) -> float:
    """Sum of rows times squared distance of each atom to its partition's centre."""
    targets = _centres_of(centres, rows, labels, int(labels.max()) + 1)
    return float((rows[:, None] * (centres - targets[labels]) ** 2).sum())


def _first_centres(
    centres: Float64, rows: NDArray[np.int64], partitions: int, seed: int
) -> Float64:
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    kmeans = KMeans(partitions, n_init=10, random_state=seed)
    with warnings.catch_warnings():
        # Atoms at the same place give equal centres, which the assignment tells apart.
        warnings.filterwarnings("ignore", category=ConvergenceWarning)
        fitted = kmeans.fit(centres, sample_weight=rows.astype(np.float64))
    return np.asarray(fitted.cluster_centers_)


def assign_within(cost: Float64, rows: NDArray[np.int64], bounds: Bounds) -> Labels:
    """The cheapest assignment of atoms to partitions whose rows keep the bounds.

    Each atom's cheapest few partitions are tried first, all of them only if that fails.

    Args:
        cost: Cost of each atom in each partition, float64 ``(atoms, partitions)``, not
            negative; of a sum of costs within 0.1 % of the least, any may be found.
        rows: Rows of each atom, int64 ``(atoms,)``.
        bounds: Fewest and most rows of a partition, counted like ``rows``.

    Returns:
        int32 ``(atoms,)``; every partition has at least one atom.

    Raises:
        InfeasibleError: There is no such assignment.
    """
    near = min(_NEAREST_CENTRES, cost.shape[1])
    for choices in dict.fromkeys((near, cost.shape[1])):
        allowed = np.argsort(cost, axis=1, kind="stable")[:, :choices]
        labels = _solve(cost, allowed, rows, bounds)
        if labels is not None:
            return labels
    raise InfeasibleError(_advice(rows, cost.shape[1], bounds))


def _solve(
    cost: Float64, allowed: NDArray[np.int64], rows: NDArray[np.int64], bounds: Bounds
) -> Labels | None:
    """Solution of the assignment problem, or None where there is none."""
    import pulp

    atoms, partitions = cost.shape
    scale = float(cost.min(axis=1).mean()) or float(cost.mean()) or 1.0
    problem = pulp.LpProblem("merge", pulp.LpMinimize)
    pairs = [(atom, int(target)) for atom in range(atoms) for target in sorted(allowed[atom])]
    goes = [problem.add_variable(f"goes_{a}_{p}", 0, 1, pulp.LpInteger) for a, p in pairs]
    terms = list(zip(pairs, goes, strict=True))
    problem += pulp.lpSum(goes * float(cost[pair] / scale) for pair, goes in terms)
    for atom in range(atoms):
        problem += pulp.lpSum(goes for (a, _), goes in terms if a == atom) == 1
    for target in range(partitions):
        own = [(int(rows[a]), goes) for (a, p), goes in terms if p == target]
        if not own:
            return None
        held = pulp.lpSum(goes * count for count, goes in own)
        problem += held >= bounds.lower
        problem += held <= bounds.upper
        problem += pulp.lpSum(goes for _, goes in own) >= 1
    # The CBC that comes with PuLP, on one thread.
    path = pulp.PULP_CBC_CMD.pulp_cbc_path
    solver = pulp.COIN_CMD(path=path, msg=False, gapRel=_GAP, maxNodes=_NODES)
    if problem.solve(solver) != pulp.LpStatusOptimal:
        return None
    labels = np.full(atoms, -1, dtype=np.int32)
    for (atom, target), variable in terms:
        if variable.value() > 0.5:
            labels[atom] = target
    return labels


def _centres_of(
    centres: Float64, rows: NDArray[np.int64], labels: Labels, partitions: int
) -> Float64:
    """Mean of each partition's rows, from its atoms."""
    sums = np.zeros((partitions, centres.shape[1]))
    np.add.at(sums, labels, rows[:, None] * centres)
    held = np.bincount(labels, weights=rows, minlength=partitions)
    return sums / np.maximum(held, 1)[:, None]


def numbered(centres: Float64, rows: NDArray[np.int64], labels: Labels, partitions: int) -> Labels:
    """The same partitions, numbered by falling number of rows, then by centre."""
    held = np.bincount(labels, weights=rows, minlength=partitions)
    places = _centres_of(centres, rows, labels, partitions)
    order = sorted(range(partitions), key=lambda p: (-held[p], tuple(places[p])))
    numbers = np.empty(partitions, dtype=np.int32)
    numbers[order] = np.arange(partitions, dtype=np.int32)
    return numbers[labels]


def _advice(rows: NDArray[np.int64], partitions: int, bounds: Bounds) -> str:
    return (
        f"cluster: {len(rows)} atoms (the largest with {int(rows.max())} rows) cannot make "
        f"{partitions} partitions of {bounds.lower} to {bounds.upper} rows; lower cluster.lower, "
        f"raise cluster.upper, ask for fewer cluster.partitions or for finer atoms"
    )
