"""Rows by which groups are routed, at prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.formats.tables import decoded, texts
from shoal.formats.units import leading
from shoal.sources.columns import typed
from shoal.split.folds import Basis, units_of
from shoal.split.keys import row_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from shoal.formats.tables import Columns


@dataclass(frozen=True)
class Leads:
    """Of each group the row with the smallest key, by which all of its rows are routed.

    Attributes:
        group: Hash of the group, uint64 ``(groups,)``, ascending.
        key: Key of the row, uint8 ``(groups, KEY_BYTES)``.
        embedding: Its embedding, float32 ``(groups, dims)``.
        values: Its value of the partition column ``(groups,)``; None where no column decides.
    """

    group: NDArray[np.uint64]
    key: NDArray[np.uint8]
    embedding: NDArray[np.float32]
    values: list[Any] | None

    @classmethod
    def among(
        cls,
        group: NDArray[np.uint64],
        key: NDArray[np.uint8],
        embedding: NDArray[np.float32],
        values: Sequence[Any] | None,
    ) -> Leads:
        """Those among some rows, of which the same is known."""
        lead = np.unique(leading(key, group))
        lead = lead[np.argsort(group[lead])]
        own = None if values is None else [values[place] for place in lead]
        return cls(group[lead], key[lead], embedding[lead], own)

    def joined(self, other: Leads) -> Leads:
        """Those of both; a group may be in both."""
        values = None if self.values is None else [*self.values, *(other.values or [])]
        return Leads.among(
            np.concatenate([self.group, other.group]),
            np.concatenate([self.key, other.key]),
            np.concatenate([self.embedding, other.embedding]),
            values,
        )

    def of(self, group: NDArray[np.uint64]) -> tuple[NDArray[np.float32], list[Any] | None]:
        """Embedding and value by which rows of these groups are routed."""
        lead = np.searchsorted(self.group, group)
        values = None if self.values is None else [self.values[place] for place in lead]
        return self.embedding[lead], values


def groups_and_keys(
    raw: pa.Table, inputs: pa.Table, columns: Columns, place: tuple[str, int], route_by: str
) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """Hash of each row's group, and each row's key, as the workflow has them.

    A row without a group has one of its own.

    Args:
        raw: The rows, with their id where they have one.
        inputs: The same, typed.
        columns: The frozen columns.
        place: Their source, and the row there of the first of them, from 1.
        route_by: Name of the column of groups.
    """
    source, first_row = place
    identity = [name for name in columns.of_kind("id") if name in raw.column_names]
    known = decoded(inputs)
    for name, column in zip(identity, typed(raw, columns, *place, identity), strict=True):
        known = known.append_column(name, column)
    keys = row_keys(known, columns)
    basis = Basis(keys, source, first_row, groups=texts(inputs, route_by))
    return units_of("group", {}, basis), keys
