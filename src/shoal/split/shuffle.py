"""Shuffled labels: a control in which there is nothing to learn.

A row's label is drawn from the labels of the training fold by a hash of its key, not swapped with
another row's: a swap would need all rows at once, and one more row would change others. So shards
are independent, a row keeps its label when rows come or go, and the classes' shares are those of
the training fold up to chance. Labels are replaced where rows are first read, so that every later
stage, those included that the user wrote, sees the shuffled ones alone: if the label still reaches
the inputs, by whatever way, models score above chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shoal.errors import DataError
from shoal.formats.fitted_state import State
from shoal.formats.hashing import uniform
from shoal.formats.kinds import OUTSIDE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from shoal.formats.fitted_state import Tensors

_MOST_NUMBERS = 100_000


@dataclass(frozen=True)
class ShuffledLabels:
    """The labels that are drawn from.

    Attributes:
        values: Distinct labels, ascending: strings (objects) or float64.
        counts: How often the training fold has each, int64.
    """

    values: NDArray[Any]
    counts: NDArray[np.int64]

    @classmethod
    def fit(cls, labels: NDArray[Any]) -> Self:
        """Take the labels of the training fold, in any order.

        Of many numbers, evenly spaced ones in ascending order are kept.

        Raises:
            DataError: There are none.
        """
        if not len(labels):
            raise DataError(
                "sources.shuffle_labels: the training fold is empty, so there are no labels to draw"
            )
        if labels.dtype != object and len(labels) > _MOST_NUMBERS:
            places = np.linspace(0, len(labels) - 1, _MOST_NUMBERS).round().astype(np.int64)
            labels = np.sort(labels)[places]
        values, counts = np.unique(labels, return_counts=True)
        return cls(values, counts.astype(np.int64))

    def state(self) -> State:
        """The labels, for :func:`shoal.formats.fitted_state.save_state`."""
        tensors = {"label_counts": self.counts}
        if self.values.dtype == object:
            return State(tensors, {"label_values": self.values.tolist()})
        return State(tensors | {"label_values": self.values}, {})

    @classmethod
    def from_state(cls, tensors: Tensors, meta: Mapping[str, object]) -> Self | None:
        """The labels whose :meth:`state` this is; None where labels are not shuffled."""
        if "label_counts" not in tensors:
            return None
        values = tensors.get("label_values")
        if values is None:
            values = np.array(meta["label_values"], dtype=object)
        return cls(values, tensors["label_counts"])

    def draw(self, keys: NDArray[np.uint8], seed: int) -> NDArray[Any]:
        """A label for each row, a function of its key and the seed alone."""
        shares = np.cumsum(self.counts) / self.counts.sum()
        places = np.searchsorted(shares, uniform(keys, "shuffled label", seed), side="right")
        labels: NDArray[Any] = self.values[places]
        return labels

    def replace(
        self,
        table: pa.Table,
        label: str,
        keys: NDArray[np.uint8],
        folds: NDArray[np.uint8],
        seed: int,
    ) -> pa.Table:
        """Rows with drawn labels; those outside every fold keep theirs."""
        place = table.schema.get_field_index(label)
        field = table.schema.field(place)
        drawn = pa.array(self.draw(keys, seed), type=field.type)
        kept = pa.array(folds == OUTSIDE)
        labels = pc.if_else(kept, table[label], drawn)
        return table.set_column(place, field, labels)
