"""Settings of the copies of a pool that devices hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat

from shoal.settings.section import Section

if TYPE_CHECKING:
    from collections.abc import Mapping


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


_TrainOn = Annotated[
    Literal["trained", "deployed"],
    Field(
        description="weights that a model which continues starts from: `trained`, the pool's; "
        "`deployed`, those of the last copy, and what copies leave out is kept and added to later "
        "ones"
    ),
]
_MostLoss = Annotated[
    NonNegativeFloat,
    Field(
        description="the most that a copy's validation score may be worse than the pool's: points "
        "of a score that is at most 1, a share of others; beyond, the exact copy is shipped"
    ),
]


class Grid(_Copies):
    """Each copy has the weights of the pool rounded to multiples of a power of two per tensor."""

    method: Literal["grid"]
    step: PositiveFloat = Field(
        le=1,
        description="the multiples' size in the largest tensor of a model, as a share of its "
        "weights' root mean square; smaller tensors have finer ones",
    )
    dead_zone: float = Field(
        ge=0.5,
        le=1,
        description="steps by which a weight differs from what is deployed before it moves",
    )
    train_on: _TrainOn = "trained"
    most_loss: _MostLoss


class Sparse(_Copies):
    """With each copy a share of every model's weights moves, the others stay as deployed."""

    method: Literal["sparse"]
    density: PositiveFloat = Field(le=1, description="share of a model's weights that move")
    choice: Literal["top", "random", "mask"] = Field(
        description="which weights move: `top`, those that are farthest from what is deployed; "
        "`random`, others with each copy; `mask`, those that a model's training moves most, "
        "which is trained a second time with all others as deployed"
    )
    bits: int = Field(
        ge=2,
        le=16,
        description="bits of a deployed weight, its sign among them: a whole number of so many "
        "bits times a power of two per tensor",
    )
    train_on: _TrainOn = "trained"
    most_loss: _MostLoss


def from_deployed(settings: Mapping[str, Any]) -> bool:
    """Whether models that continue start from what is deployed.

    Args:
        settings: An experiment's settings as JSON, of any time.
    """
    return bool(settings.get("deploy", {}).get("train_on") == "deployed")


def moved_share(settings: Mapping[str, Any]) -> float | None:
    """Share of a model's weights that its second training moves; None where there is none.

    Args:
        settings: An experiment's settings as JSON, of any time.
    """
    deploy = settings.get("deploy", {})
    return deploy["density"] if deploy.get("choice") == "mask" else None


Deploy = Annotated[NoChannel | Exact | Grid | Sparse, Field(discriminator="method")]
