"""The gate of a pool: how much of a row's answer is the generalist's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from shoal.errors import CorruptError
from shoal.formats.documents.judgement import GateRecord
from shoal.formats.stored import as_kind
from shoal_edge.routing import BASE, with_generalist

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from shoal_edge.routing import Routes


@dataclass(frozen=True)
class Gate:
    """How much of a row's answer is the generalist's.

    Attributes:
        shares: Share of the router's answer in that to a row, by the expert that leads it, each
            specialist or :data:`BASE`, in [0, 1]; the rest is the generalist's.
        softness: Of the router's weights, see :meth:`shoal.train_router.router.Router.softened`.
    """

    shares: Mapping[int, float]
    softness: float | None = None

    @property
    def asks_generalist(self) -> bool:
        """Whether the pool needs the generalist."""
        return any(share < 1 for share in self.shares.values())

    def apply(self, routes: Routes) -> Routes:
        """Give the generalist its share of each row's answer."""
        return with_generalist(routes, self.shares)

    @classmethod
    def from_record(cls, record: Mapping[str, Any], trained: Collection[int]) -> Self:
        """The gate that ``shoal gate`` wrote.

        Args:
            record: Content of the file.
            trained: Numbers of the partitions that have a specialist.

        Raises:
            CorruptError: It is no such record, or not of these specialists.
        """
        content = as_kind(GateRecord, record)
        shares, experts = content["shares"], {str(number): number for number in (BASE, *trained)}
        if wrong := shares.keys() ^ experts.keys():
            first = min(wrong)
            raise CorruptError(
                f"shares: they should be of the base (-1) and of each specialist, but are "
                f"{'of' if first in shares else 'not of'} {first[:80]!r}"
            )
        return cls({experts[name]: share for name, share in shares.items()}, content["softness"])
