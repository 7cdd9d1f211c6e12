"""As many training rows of one class as of another, nearly."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from shoal.errors import DataError, SettingsError
from shoal.formats import tables
from shoal.formats.hashing import uniform
from shoal.settings.section import Section
from shoal.transform.step import TransformStep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shoal.transform.rows import Rows


class BalanceOptions(Section):
    """How uneven classes may stay."""

    ratio: float = Field(ge=1, description="most rows of a class, of the smallest class")
    sampling: Literal["down", "up"] = Field(
        default="down", description="whether larger classes lose rows or smaller ones are repeated"
    )


class Balance(TransformStep):
    """Thin out the larger classes of the training fold, or repeat rows of the smaller ones.

    How often a row stays is a function of its key and its class's share: so classes come out at
    ``ratio`` in expectation, not to the row. Copies of a row have keys of their own, so that
    later steps draw anew for each. A class that was not there when the step was fitted stays as
    it is.
    """

    name = "balance"
    works_on = ("label",)
    fits_on = "all"
    training_only = True
    Options: ClassVar[type[Section]] = BalanceOptions
    Fitted: ClassVar[Any] = dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]]

    def chosen(self, columns: list[str]) -> list[str]:
        """The label."""
        return super().chosen(columns or [self.context.label])

    def check(self) -> None:
        """Refuse a label that has no classes."""
        if self.context.task != "classification":
            raise SettingsError(f"{self.place}: it balances classes; the task is regression")
        self.adds = self.options.sampling == "up"
        self.drops = not self.adds

    def fit_all(self, stream: Callable[[], Iterator[Rows]]) -> None:
        """Count the classes."""
        counts: Counter[str] = Counter()
        for rows in stream():
            counts.update(tables.texts(rows.table, self.columns[0]).tolist())
        if not counts:
            raise DataError(f"{self.place}: no training row is left to balance")
        if self.adds:
            least = max(counts.values()) / self.options.ratio
            self.fitted = {name: max(1.0, least / counts[name]) for name in sorted(counts)}
        else:
            most = self.options.ratio * min(counts.values())
            self.fitted = {name: min(1.0, most / counts[name]) for name in sorted(counts)}

    def apply(self, rows: Rows, memory: dict[str, Any]) -> Rows:  # noqa: ARG002
        """Keep each training row as often as its class's share says."""
        if not rows.training.any():
            return rows
        labels = tables.texts(rows.table, self.columns[0])
        shares = np.array([self.fitted.get(name, 1.0) for name in labels])
        draws = uniform(tables.keys(rows.table), self.context.seed, "balance", self.context.index)
        whole = np.floor(shares)
        times = (whole + (draws < shares - whole)).astype(np.int64)
        return rows.repeated(np.where(rows.training, times, 1), self.name, self.context.index)
