"""Settings of the copies of a pool that devices hold."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat

from shoal.settings.section import Section


class NoChannel(Section):
    """No copies are made."""

    method: Literal["none"]


class _Copies(Section):
    """Copies are made."""

    graph: bool = Field(
        default=False,
        description="whether copies have the network as an ONNX graph, which devices need for "
        "models other than shoal.models.MLP; takes the packages of shoal[onnx]",
    )


class Exact(_Copies):
    """Each copy has the weights of the pool."""

    method: Literal["exact"]


class Grid(_Copies):
    """Each copy has the weights of the pool rounded to multiples of a power of two per tensor."""

    method: Literal["grid"]
    step: PositiveFloat = Field(
        le=1, description="the multiples' size, as a share of the weights' root mean square"
    )
    dead_zone: float = Field(
        ge=0.5,
        le=1,
        description="steps by which a weight differs from what is deployed before it moves",
    )
    most_loss: NonNegativeFloat = Field(
        description="the most that a copy's validation score may be worse than the pool's: points "
        "of a score that is at most 1, a share of others; beyond, the exact copy is shipped"
    )


Deploy = Annotated[NoChannel | Exact | Grid, Field(discriminator="method")]
