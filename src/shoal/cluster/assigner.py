"""The frozen map from row to partition: by nearest atom, or by the value of a column."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NotRequired, Self

import numpy as np
from pydantic import NonNegativeInt, PositiveInt
from typing_extensions import TypedDict

from shoal.cluster.merge import Bounds
from shoal.errors import CorruptError, DataError, SettingsError, nearest
from shoal.formats.fitted_state import State, load_state, save_state
from shoal.formats.hashing import KEY_BYTES
from shoal.formats.kinds import TRAIN
from shoal.formats.stored import Stored, as_kind, check_range, naming, tensor_of
from shoal.formats.tables import FOLD, KEY, RESERVED, Table, folds, keys
from shoal_edge.placing import UNASSIGNED, Atoms, Growth, Values, value_text

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from shoal.formats.fitted_state import Tensors

    Rows = NDArray[np.float32]


class Placed(NamedTuple):
    """Where rows belong.

    Attributes:
        partition: Partition of each row, int32 ``(rows,)``; UNASSIGNED only by column.
        runner_up: The partition with the second nearest prototype, int32 ``(rows,)``, ties to the
            lowest; -1 where there is no other, or a column decides.
        distance: To the nearest prototype, float32 ``(rows,)``; 0 where a column decides.
    """

    partition: NDArray[np.int32]
    runner_up: NDArray[np.int32]
    distance: Rows


class CandidateLoss(TypedDict):
    """Mean loss of probes with a number of partitions, and by how much it is less than with 1."""

    partitions: int
    rows: int
    units: NotRequired[int]
    loss: float
    gain: float
    standard_error: float


class _AtomFacts(Stored):
    """Facts of an assigner by atoms, besides its tensors."""

    assigner: Literal["atoms"]
    lower_rows: int
    upper_rows: int
    training_rows: NonNegativeInt
    grown: list[PositiveInt] | None = None
    candidates: list[CandidateLoss] | None = None


class _ColumnFacts(Stored):
    """The same by column."""

    assigner: Literal["column"]
    column: str
    values: list[str]
    training_rows: NonNegativeInt


class Assigner(ABC):
    """A map from row to partition.

    Attributes:
        partitions: Number of partitions.
        dims: Width of the embedding; None where a column decides.
        column: Name of the column whose values it reads, or None where the embedding decides.
        flops_per_row: FLOPs of one row's assignment; 0 where a column decides.
    """

    partitions: int
    dims: int | None
    column: str | None
    flops_per_row: float = 0.0

    @abstractmethod
    def assign(self, embedding: Rows, values: Sequence[Any] | None = None) -> NDArray[np.int32]:
        """Partition of each row, int32 ``(rows,)``; UNASSIGNED only by column.

        Args:
            embedding: float32 ``(rows, dims)``.
            values: The column's values, where ``column`` is not None.
        """

    @abstractmethod
    def place(self, embedding: Rows, values: Sequence[Any] | None = None) -> Placed:
        """Partition, runner-up and distance of each row.

        Args:
            embedding: float32 ``(rows, dims)``.
            values: The column's values, where ``column`` is not None.
        """

    @abstractmethod
    def state(self) -> State:
        """State for :func:`assigner_from_state`."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to one safetensors file."""
        save_state(path, *self.state())


class AtomAssigner(Atoms, Assigner):
    """Row -> nearest prototype -> atom -> partition.

    A row's result is the same in any batch and on every processor. FLOPs per row: ``2 m d`` for m
    prototypes and guards, a product; distances differ from it by norms.

    Attributes:
        prototypes: float32 ``(prototypes, dims)``.
        prototype_atom: Atom of each prototype, int32 ``(prototypes,)``.
        atom_partition: Partition of each atom, int32 ``(atoms,)``.
        bounds: Fewest and most training rows of a partition, as fitted.
        training_rows: Rows of the training fold when it was fitted.
        candidates: Numbers of partitions that were compared, if any were.
        growths: Partitions that were added since, in order.
    """

    def __init__(
        self,
        prototypes: Rows,
        prototype_atom: NDArray[np.int32],
        atom_partition: NDArray[np.int32],
        bounds: Bounds,
        training_rows: int,
        growths: Sequence[Growth] = (),
    ) -> None:
        """Order the prototypes by partition."""
        super().__init__(prototypes, prototype_atom, atom_partition, growths)
        self.bounds = bounds
        self.training_rows = training_rows
        self.dims = int(prototypes.shape[1])
        self.column = None
        guards = sum(each.guards.size for each in self.growths)
        self.flops_per_row = 2.0 * (prototypes.size + guards)
        self.candidates: list[CandidateLoss] = []

    def grown(self, prototypes: Rows, partition: NDArray[np.int32], guards: Rows) -> AtomAssigner:
        """The assigner with further atoms in partitions of their own.

        Args:
            prototypes: One per atom, float32 ``(atoms, dims)``.
            partition: New partition of each, from 0, int32 ``(atoms,)``.
            guards: Rows that stay where they are, see :class:`Growth`.
        """
        atoms = len(self.atom_partition) + np.arange(len(prototypes), dtype=np.int32)
        found = AtomAssigner(
            np.concatenate([self.prototypes, prototypes]),
            np.concatenate([self.prototype_atom, atoms]),
            np.concatenate([self.atom_partition, self.partitions + partition]).astype(np.int32),
            self.bounds,
            self.training_rows,
            [*self.growths, Growth(self.partitions, guards)],
        )
        found.candidates = self.candidates
        return found

    def assign(self, embedding: Rows, values: Sequence[Any] | None = None) -> NDArray[np.int32]:  # noqa: ARG002 - the column assigner's
        """Partition of each row, int32 ``(rows,)``."""
        return self.nearest(embedding)[0]

    def place(self, embedding: Rows, values: Sequence[Any] | None = None) -> Placed:  # noqa: ARG002 - the column assigner's
        """Partition, runner-up and distance of each row."""
        distance, row = self.distances_to_partitions(embedding), np.arange(len(embedding))
        partition = distance.argmin(axis=1)
        nearest = distance[row, partition]
        distance[row, partition] = np.inf
        second = distance.argmin(axis=1) if self.partitions > 1 else np.full(len(row), UNASSIGNED)
        return Placed(partition.astype(np.int32), second.astype(np.int32), nearest)

    def state(self) -> State:
        """Tensors and JSON."""
        tensors = {
            "prototypes": self.prototypes,
            "prototype_atom": self.prototype_atom,
            "atom_partition": self.atom_partition,
            **{f"guards.{each.start}": each.guards for each in self.growths if len(each.guards)},
        }
        meta = {
            "assigner": "atoms",
            "lower_rows": self.bounds.lower,
            "upper_rows": self.bounds.upper,
            "training_rows": self.training_rows,
        }
        grown = {"grown": [each.start for each in self.growths]} if self.growths else {}
        candidates = {"candidates": self.candidates} if self.candidates else {}
        return State(tensors, meta | grown | candidates)

    @classmethod
    def from_state(cls, tensors: Tensors, meta: Mapping[str, object]) -> Self:
        """The assigner whose :meth:`state` this is.

        Raises:
            CorruptError: It is not an assigner's, or one that no fit gives.
        """
        facts = as_kind(_AtomFacts, dict(meta))
        prototypes = tensor_of(tensors, "prototypes", "float32", (None, None))
        atom = tensor_of(tensors, "prototype_atom", "int", (len(prototypes),))
        partition = tensor_of(tensors, "atom_partition", "int", (None,))
        check_range(atom, "prototype_atom", 0, len(partition) - 1)
        held = len(np.unique(partition[atom]))
        if partition.min() < 0 or partition.max() != held - 1:
            raise CorruptError(
                f"tensor 'atom_partition': numbers from {partition.min()} to {partition.max()} "
                f"of {held} partitions with a prototype, where each has one from 0 on"
            )
        grown = facts.grown or []
        if grown != sorted({*grown} & {*range(held)}):
            raise CorruptError(
                f"grown: {grown[:9]} are not numbers of the {held} partitions in order, each once"
            )
        growths = []
        for start in grown:
            guards, name = prototypes[:0], f"guards.{start}"
            if name in tensors:
                guards = tensor_of(tensors, name, "float32", (None, prototypes.shape[1]))
            growths.append(Growth(start, guards))
        bounds = Bounds(facts.lower_rows, facts.upper_rows)
        assigner = cls(prototypes, atom, partition, bounds, facts.training_rows, growths)
        assigner.candidates = facts.candidates or []
        return assigner


class ColumnAssigner(Values, Assigner):
    """A column's value is the partition; a value not seen in training, or none, is UNASSIGNED.

    Attributes:
        values: The value of each partition, as :func:`value_text` writes it.
        rows: Training rows of each value when it was fitted, int64 ``(partitions,)``.
    """

    def __init__(self, column: str, values: list[str], rows: NDArray[np.int64]) -> None:
        """Keep the values in order of partition."""
        super().__init__(column, values)
        self.rows = rows
        self.dims = None

    def assign(self, embedding: Rows, values: Sequence[Any] | None = None) -> NDArray[np.int32]:  # noqa: ARG002 - the atoms'
        """Partition of each row, int32 ``(rows,)``."""
        if values is None:
            raise ValueError(f"this assigner needs the values of column {self.column!r}")
        return self.from_values(values)

    def place(self, embedding: Rows, values: Sequence[Any] | None = None) -> Placed:
        """Partition of each row, without runner-up or distance."""
        partition = self.assign(embedding, values)
        nowhere = np.full(len(partition), UNASSIGNED, dtype=np.int32)
        return Placed(partition, nowhere, np.zeros(len(partition), dtype=np.float32))

    def state(self) -> State:
        """Tensors and JSON."""
        meta = {"assigner": "column", "column": self.column, "values": self.values}
        return State({"rows": self.rows}, meta | {"training_rows": int(self.rows.sum())})

    @classmethod
    def from_state(cls, tensors: Tensors, meta: Mapping[str, object]) -> Self:
        """The assigner whose :meth:`state` this is.

        Raises:
            CorruptError: It is not an assigner's, or one that no fit gives.
        """
        facts = as_kind(_ColumnFacts, dict(meta))
        if len(set(facts.values)) < len(facts.values):
            raise CorruptError("values: one of them is that of two partitions")
        rows = tensor_of(tensors, "rows", "int64", (len(facts.values),))
        check_range(rows, "rows", 0)
        return cls(facts.column, facts.values, rows)


def partition_values(
    assigner: AtomAssigner | ColumnAssigner, partition: NDArray[np.int32]
) -> list[str | None] | None:
    """Value of the partition column for rows whose partition is known; None without one."""
    if isinstance(assigner, AtomAssigner):
        return None
    return [assigner.values[number] if number >= 0 else None for number in partition]


def assigner_from_state(
    tensors: Tensors, meta: Mapping[str, object]
) -> AtomAssigner | ColumnAssigner:
    """The assigner whose state this is.

    Raises:
        CorruptError: The state is not an assigner's.
    """
    if meta.get("assigner") == "atoms":
        return AtomAssigner.from_state(tensors, meta)
    if meta.get("assigner") == "column":
        return ColumnAssigner.from_state(tensors, meta)
    raise CorruptError(f"state of an unknown assigner, {meta.get('assigner')!r}")


def load_assigner(path: str | os.PathLike[str]) -> AtomAssigner | ColumnAssigner:
    """The assigner in a file that :meth:`Assigner.save` wrote."""
    tensors, meta = load_state(path)
    with naming(path):
        return assigner_from_state(tensors, meta)


_BATCH_ROWS = 65536


def fit_column(column: str, tables: Iterable[Table], max_partitions: int) -> ColumnAssigner:
    """One partition for each value that the column has in the training fold.

    Args:
        column: Name of the column.
        tables: Transformed tables.
        max_partitions: Most values accepted.

    Returns:
        The assigner; partition 0 is the value with the most rows, ties go by text.

    Raises:
        SettingsError: There is no such column, or it holds images.
        DataError: The column is empty in the training fold, or has too many values.
    """
    counts: Counter[str] = Counter()
    for table in tables:
        for batch in column_batches(table, column):
            training = folds(batch) == TRAIN
            values = np.array(batch[column].to_pylist(), dtype=object)[training]
            counts.update(text for text in map(value_text, values) if text is not None)
        if len(counts) > max_partitions:
            raise DataError(
                f"{table.path}: column {column!r} has more than {max_partitions} values; raise "
                f"cluster.max_partitions or choose a column with fewer"
            )
    if not counts:
        raise DataError(f"column {column!r} has no value in the training fold; choose another one")
    ordered = sorted(counts, key=lambda value: (-counts[value], value))
    rows = np.array([counts[value] for value in ordered], dtype=np.int64)
    return ColumnAssigner(column, ordered, rows)


def column_values(table: Table, column: str) -> tuple[list[Any], NDArray[np.uint8]]:
    """All values of a column, and the keys of their rows, uint8 ``(rows, KEY_BYTES)``."""
    values: list[Any] = []
    parts = [np.empty((0, KEY_BYTES), dtype=np.uint8)]
    for batch in column_batches(table, column):
        values += batch[column].to_pylist()
        parts.append(keys(batch))
    return values, np.concatenate(parts)


def column_batches(table: Table, column: str) -> Iterator[pa.Table]:
    """Batches of a table with the column, the key and the fold.

    Raises:
        SettingsError: There is no such column, or it holds images.
    """
    import pyarrow as pa

    known = [name for name in table.schema.names if name not in RESERVED]
    if column not in known:
        raise SettingsError(
            f"cluster.column: {table.path} has no column {column!r}; {nearest(column, known)}"
        )
    if isinstance(table.schema.field(column).type, pa.FixedShapeTensorType):
        raise SettingsError(f"cluster.column: column {column!r} holds images, which have no groups")
    return table.batches(_BATCH_ROWS, [column, KEY, FOLD])
