"""Rows on their way through the steps, and an order-independent sample of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shoal.formats import tables
from shoal.formats.hashing import KEY_BYTES, derived, uniform

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

BATCH_ROWS = 4096
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
    """

    table: pa.Table
    shard: str
    source: str
    positions: NDArray[np.int64]
    training: NDArray[np.bool_]

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
            salt: What distinguishes these copies from others of the same rows.
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
        offset = 0
        source = shards[shard].record.get("source", shard)
        for batch in shards[shard].batches(BATCH_ROWS):
            training = tables.folds(batch) == tables.TRAIN
            positions = np.arange(offset, offset + len(batch), dtype=np.int64)
            yield Rows(batch, shard, source, positions, training).where(training)
            offset += len(batch)


def smallest_draws(
    batches: Iterable[pa.Table],
    rows: int,
    label: str,
    *salt: Any,  # noqa: ANN401 - any JSON value
) -> pa.Table | None:
    """At most ``rows`` rows with the smallest draws, ordered by draw.

    Which rows, and their order, depends on their keys and the salt alone: not on shards,
    batches or their order. Rows of equal key are ordered by their label.

    Args:
        batches: Tables of rows with their keys.
        rows: Most rows that are kept; memory is bounded by them and one batch.
        label: Name of the label column.
        salt: What distinguishes this sample from others: a seed, a purpose.

    Returns:
        The sample, or None when there are no rows at all.

    Source:
        Bottom-k sampling, Cohen and Kaplan 2007.
    """
    kept: pa.Table | None = None
    limit = np.inf
    for batch in batches:
        draws = uniform(tables.keys(batch), *salt)
        near = draws <= limit
        candidates = batch.append_column(_DRAW, pa.array(draws)).filter(pa.array(near))
        if not len(candidates):
            continue
        joined = candidates if kept is None else pa.concat_tables([kept, candidates])
        order = [(_DRAW, "ascending"), (label, "ascending")]
        first = pc.sort_indices(joined.select([_DRAW, label]), sort_keys=order)[:rows]
        kept = joined.take(first)
        if len(kept) == rows:
            limit = kept[_DRAW][-1].as_py()
    return None if kept is None else kept.drop_columns([_DRAW])
