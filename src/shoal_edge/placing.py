"""Where a row belongs: by its nearest prototype, or by the value of a column."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal_edge.canonical import canonical_text
from shoal_edge.distances import Targets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Rows = NDArray[np.float32]

UNASSIGNED = -1
"""Number of the partition of rows that are in none."""
_ONE_GROUP = np.zeros(1, np.int64)


@dataclass(frozen=True)
class Growth:
    """Partitions that an assigner was given later.

    A row is of one if a prototype of it is nearer than that of any partition before, and nearer
    than any guard. Else it is where it would be without them.

    Attributes:
        start: Number of the first one.
        guards: Rows that stay where they are, float32 ``(guards, dims)``.
    """

    start: int
    guards: Rows

    @cached_property
    def targets(self) -> Targets:
        """The guards, to measure distances to."""
        return Targets(self.guards)


class Atoms:
    """Row -> nearest prototype -> atom -> partition.

    A row's result is the same in any batch and on every processor.

    Attributes:
        prototypes: float32 ``(prototypes, dims)``, ordered by partition.
        prototype_atom: Atom of each prototype, int32 ``(prototypes,)``.
        atom_partition: Partition of each atom, int32 ``(atoms,)``.
        partitions: Number of partitions.
        growths: Partitions that were added since, in order.
    """

    def __init__(
        self,
        prototypes: Rows,
        prototype_atom: NDArray[np.int32],
        atom_partition: NDArray[np.int32],
        growths: Sequence[Growth] = (),
    ) -> None:
        """Order the prototypes by partition."""
        order = np.argsort(atom_partition[prototype_atom], kind="stable")
        self.prototypes = prototypes[order]
        self.prototype_atom = prototype_atom[order]
        self.atom_partition = atom_partition
        self.partitions = int(atom_partition.max()) + 1
        self.growths = tuple(growths)
        owner = atom_partition[self.prototype_atom]
        self._starts = np.searchsorted(owner, np.arange(self.partitions))
        self._targets = Targets(self.prototypes)

    def nearest(self, embedding: Rows) -> tuple[NDArray[np.int32], NDArray[np.int32], Rows]:
        """Partition, atom and distance of each row's nearest prototype.

        Args:
            embedding: float32 ``(rows, dims)``.

        Returns:
            int32 ``(rows,)``, int32 ``(rows,)`` and float32 ``(rows,)``; ties go to the lowest
            partition.
        """
        near = self._targets.surely_nearest(embedding, _ONE_GROUP)
        prototype, distance = near.points[:, 0], np.sqrt(near.squared[:, 0]).astype(np.float32)
        unsure = prototype < 0
        if self.growths:
            unsure |= prototype >= self._starts[self.growths[0].start]
        doubtful = np.flatnonzero(unsure)
        if len(doubtful):
            those, far = self._nearest_by_partition(embedding[doubtful])
            row, closest = np.arange(len(doubtful)), far.argmin(axis=1)
            prototype[doubtful], distance[doubtful] = those[row, closest], far[row, closest]
        atom = self.prototype_atom[prototype]
        return self.atom_partition[atom].astype(np.int32), atom, distance

    def distances_to_partitions(self, embedding: Rows) -> Rows:
        """Distance of each row to each partition's nearest prototype, float32 ``(rows, P)``."""
        return self._nearest_by_partition(embedding)[1]

    def _nearest_by_partition(self, embedding: Rows) -> tuple[NDArray[np.int64], Rows]:
        """Nearest prototype of each partition and its distance, each ``(rows, P)``."""
        near = self._targets.nearest(embedding, self._starts)
        distance = np.sqrt(near.squared).astype(np.float32)
        ends = [each.start for each in self.growths[1:]] + [self.partitions]
        for growth, end in zip(self.growths, ends, strict=False):
            _guard(growth, embedding, distance[:, :end])
        return near.points, distance


def _guard(growth: Growth, embedding: Rows, distance: Rows) -> None:
    """Put partitions of a growth no nearer than a row's own, for rows that are not of one.

    Args:
        growth: The growth.
        embedding: float32 ``(rows, dims)``.
        distance: To each partition up to its last, float32 ``(rows, partitions)``; is changed.
    """
    own = distance[:, : growth.start].min(axis=1)
    added = distance[:, growth.start :]
    nearer = np.flatnonzero(added.min(axis=1) < own)
    if not len(nearer) or not len(growth.guards):
        return
    to_guard = np.sqrt(growth.targets.nearest(embedding[nearer]).squared[:, 0]).astype(np.float32)
    stays = nearer[to_guard <= added[nearer].min(axis=1)]
    added[stays] = np.maximum(added[stays], own[stays, None])


class Values:
    """A column's value is the partition; a value not seen in training, or none, is UNASSIGNED.

    Attributes:
        column: Name of the column.
        values: The value of each partition, as :func:`value_text` writes it.
        partitions: Number of partitions.
    """

    def __init__(self, column: str, values: list[str]) -> None:
        """Keep the values in order of partition."""
        self.column: str | None = column
        self.values = values
        self.partitions = len(values)
        self._number = {value: number for number, value in enumerate(values)}

    def from_values(self, values: Sequence[Any]) -> NDArray[np.int32]:
        """Partition of each value, int32 ``(rows,)``."""
        texts = (value_text(value) for value in values)
        numbers = [UNASSIGNED if text is None else self._number.get(text, -1) for text in texts]
        return np.array(numbers, dtype=np.int32).reshape(-1)


def value_text(value: Any) -> str | None:  # noqa: ANN401 - any cell of a table
    """One text for equal values: numbers without their type, None where missing (None, NaN)."""
    if isinstance(value, (int, float, np.integer, np.floating)):
        return canonical_text(float(value))
    return None if value is None else str(value)
