"""The base class of transform steps, the rows they take, and an order-independent sample."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from shoal.errors import SettingsError, nearest
from shoal.formats import tables
from shoal.formats.blocks import block_rows
from shoal.formats.hashing import KEY_BYTES, derived, uniform
from shoal.formats.kinds import TRAIN
from shoal.formats.stored import as_kind
from shoal.settings.section import NoOptions, Section, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

_DRAW = "_draw"


@dataclass(frozen=True)
class Rows:
    """Rows of one shard, in file order.

    Attributes:
        table: The rows.
        shard: Name of their shard.
        source: Their source file, or the shard where it is not known; for messages.
        positions: Place of each row in its shard, from 0; int64 ``(rows,)``.
        training: Whether each row is of the training fold; bool ``(rows,)``.
        seen: Step and content of earlier rows of the shard, for steps that compare rows.
    """

    table: pa.Table
    shard: str
    source: str
    positions: NDArray[np.int64]
    training: NDArray[np.bool_]
    seen: set[tuple[int, str]] = field(default_factory=set)

    def with_column(self, name: str, values: pa.Array | pa.ChunkedArray) -> Rows:
        """The same rows with another content of one column."""
        index = self.table.schema.get_field_index(name)
        field = self.table.schema.field(index)
        table = self.table.set_column(index, field, values)
        return replace(self, table=table)

    def where(self, kept: NDArray[np.bool_]) -> Rows:
        """The rows for which ``kept`` is true."""
        if kept.all():
            return self
        table = self.table.filter(pa.array(kept))
        positions, training = self.positions[kept], self.training[kept]
        return replace(self, table=table, positions=positions, training=training)

    def repeated(self, times: NDArray[np.int64], *salt: Any) -> Rows:  # noqa: ANN401 - JSON
        """Each row ``times`` times, the first under its own key, copies under keys of their own.

        Args:
            times: int64 ``(rows,)``, at least 0.
            salt: Distinguishes these copies from others of the same rows.
        """
        if times.max(initial=0) <= 1:
            return self.where(times > 0)
        taken = np.repeat(np.arange(len(times)), times)
        copy = np.arange(len(taken)) - np.repeat(np.cumsum(times) - times, times)
        numbers = copy.astype("<u4").view(np.uint8).reshape(-1, 4)
        row_keys = tables.keys(self.table)[taken]
        own = derived(np.concatenate([row_keys, numbers], axis=1), KEY_BYTES, *salt)
        own_keys = np.where(copy[:, None] > 0, own, row_keys)
        place = self.table.schema.get_field_index(tables.KEY)
        field = self.table.schema.field(place)
        table = self.table.take(taken).set_column(place, field, tables.key_array(own_keys))
        positions, training = self.positions[taken], self.training[taken]
        return replace(self, table=table, positions=positions, training=training)

    def place(self, row: int, column: str) -> str:
        """Source, row (from 1) and column of a value, in words for a message."""
        return f"{self.source}: row {self.positions[row] + 1}, column {column!r}"


def training_rows(shards: Mapping[str, tables.Table]) -> Iterator[Rows]:
    """Rows of the training fold in batches, shard after shard by name."""
    for shard in sorted(shards):
        offset, seen = 0, set[tuple[int, str]]()
        source = shards[shard].record.get("source", shard)
        for batch in shards[shard].batches(block_rows(shards[shard].row_bytes)):
            training = tables.folds(batch) == TRAIN
            positions = np.arange(offset, offset + len(batch), dtype=np.int64)
            yield Rows(batch, shard, source, positions, training, seen).where(training)
            offset += len(batch)


def smallest_draws(
    batches: Iterable[pa.Table],
    rows: int,
    labels: Sequence[str],
    *salt: Any,  # noqa: ANN401 - any JSON value
) -> pa.Table | None:
    """At most ``rows`` rows with the smallest draws, ordered by draw.

    Which rows, and their order, depends on their keys and the salt alone: not on shards,
    batches or their order. Rows of equal key are ordered by their labels.

    Args:
        batches: Tables of rows with their keys.
        rows: Most rows that are kept; memory is bounded by a quarter more, and one batch.
        labels: Names of the label columns.
        salt: Distinguishes this sample from others: a seed, a purpose.

    Returns:
        The sample, or None when there are no rows at all.

    Source:
        Bottom-k sampling, Cohen and Kaplan 2007.
    """
    kept: list[pa.Table] = []
    limit, held = np.inf, 0
    for batch in batches:
        draws = uniform(tables.keys(batch), *salt)
        near = draws <= limit
        kept.append(batch.append_column(_DRAW, pa.array(draws)).filter(pa.array(near)))
        held += len(kept[-1])
        if held > rows + rows // 4:
            kept, held = [_smallest(kept, rows, labels)], rows
            limit = kept[0][_DRAW][-1].as_py()
    sample = _smallest(kept, rows, labels) if kept else None
    return sample.drop_columns([_DRAW]) if sample else None


def _smallest(parts: list[pa.Table], rows: int, labels: Sequence[str]) -> pa.Table:
    """The first rows in order of draw and labels."""
    joined, names = pa.concat_tables(parts), [_DRAW, *labels]
    order = [(name, "ascending") for name in names]
    return joined.take(pc.sort_indices(joined.select(names), sort_keys=order)[:rows])


@dataclass(frozen=True)
class Context:
    """Place of a step in the pipeline, and the columns.

    Attributes:
        index: Place of the step in the list, from 0; two equal steps draw differently.
        seed: Seed of the steps that draw.
        kinds: Name to kind of every column.
        task: ``classification``, ``regression`` or ``own``.
    """

    index: int
    seed: int
    kinds: Mapping[str, str]
    task: str

    @property
    def labels(self) -> list[str]:
        """Names of the label columns."""
        return [name for name, kind in self.kinds.items() if kind == "label"]


class TransformStep(ABC):
    """One step: fitted once on training rows, then applied to rows of any fold.

    Attributes:
        name: Its name in the settings.
        works_on: Kinds of column that it accepts.
        fits_on: Nothing, a sample of training rows, or all of them, streamed.
        training_only: Whether it leaves rows of other folds as they are.
        by_options: Whether its options decide that.
        draws: Whether what it makes of a training row's values depends on the row's key; its
            options may decide.
        drops: Whether it may drop rows; its options may decide.
        adds: Whether it may add rows; the same.
        fitted: Fitted state, plain JSON values of the type ``Fitted``.
    """

    name: ClassVar[str]
    works_on: ClassVar[tuple[str, ...]]
    fits_on: ClassVar[Literal["nothing", "sample", "all"]] = "nothing"
    training_only: bool = False
    by_options: ClassVar[bool] = False
    draws: bool = False
    drops: bool = False
    adds: bool = False
    Options: ClassVar[type[Section]] = NoOptions
    Fitted: ClassVar[Any] = Annotated[dict[str, None], Field(max_length=0)]

    def __init__(self, context: Context, columns: list[str], options: Mapping[str, object]) -> None:
        self.context = context
        self.place = f"transform.steps.{context.index} ({self.name})"
        self.options: Any = parse(self.Options, dict(options), f"{self.place}: options")
        self.columns = self.chosen(columns)
        self.fitted: Any = {}
        self.check()

    def chosen(self, columns: list[str]) -> list[str]:
        """The columns to work on, checked against what there is.

        Raises:
            SettingsError: There are none, or one is unknown, named twice or of a wrong kind.
        """
        if not columns:
            raise SettingsError(f"{self.place}: columns: name the columns it works on")
        kinds = self.context.kinds
        for column in columns:
            if column not in kinds:
                raise SettingsError(
                    f"{self.place}: there is no column {column!r}; {nearest(column, kinds)}"
                )
            if kinds[column] not in self.works_on:
                raise SettingsError(
                    f"{self.place}: column {column!r} is {kinds[column]}, "
                    f"but the step works on {', '.join(self.works_on)}"
                )
        if len(set(columns)) < len(columns):
            raise SettingsError(f"{self.place}: columns: {columns} names a column twice")
        return list(columns)

    def restore(self, fitted: object) -> None:
        """Set the fitted state to that of a file.

        Raises:
            CorruptError: It is of another type.
        """
        self.fitted = as_kind(self.Fitted, fitted, f"{self.place}: fitted")

    def check(self) -> None:  # noqa: B027 - most steps have nothing to check
        """Refuse options that do not fit together or do not fit the columns."""

    def prepare(self) -> None:  # noqa: B027 - most steps have nothing to prepare
        """Refuse code of the user's that does not fit; not called for stored steps."""

    def salt(self, column: str) -> tuple[Any, ...]:
        """Salt of a row's draws beside its key, so that no two steps or columns draw alike."""
        return self.context.seed, self.name, self.context.index, column

    def fit_sample(self, sample: pa.Table) -> None:
        """Fit on a sample of training rows; for steps with ``fits_on`` "sample"."""
        raise NotImplementedError

    def fit_all(self, stream: Callable[[], Iterator[Rows]]) -> None:
        """Fit on all training rows, streamed as often as needed; for ``fits_on`` "all"."""
        raise NotImplementedError

    @abstractmethod
    def apply(self, rows: Rows) -> Rows:
        """Consecutive rows of one shard, after the step."""
