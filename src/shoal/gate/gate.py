"""The gate of a pool: rows whose specialist has not beaten the generalist go to the generalist."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from shoal.errors import CorruptError
from shoal.formats.documents.judgement import GateRecord
from shoal.formats.stored import as_kind
from shoal.train_router.router import BASE, Routes
from shoal.train_specialists.experts import GENERALIST

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


@dataclass(frozen=True)
class Gate:
    """Whose rows the generalist answers.

    Attributes:
        closed: Experts, :data:`BASE` among them, whose rows go to the generalist; empty where
            every specialist serves, and the pool needs no generalist.
    """

    closed: frozenset[int]

    def apply(self, routes: Routes) -> Routes:
        """Give the rows that a closed expert leads to the generalist, alone."""
        lead = routes.leading
        shut = np.isin(lead, list(self.closed))
        if not shut.any():
            return routes
        experts, weights = routes.experts.copy(), routes.weights.copy()
        experts[shut], weights[shut] = BASE, 0.0
        experts[shut, 0], weights[shut, 0] = GENERALIST, 1.0
        return Routes(experts, weights, routes.distance)

    @classmethod
    def from_record(cls, record: Mapping[str, Any], trained: Collection[int]) -> Self:
        """The gate that ``shoal gate`` wrote.

        Args:
            record: Content of the file.
            trained: Numbers of the partitions that have a specialist.

        Raises:
            CorruptError: It is no such record, or closes what is not there.
        """
        closed = as_kind(GateRecord, record)["closed"]
        unknown = set(closed) - {BASE, *trained}
        if unknown:
            raise CorruptError(f"closed: there is no specialist of partition {min(unknown)}")
        return cls(frozenset(closed))
