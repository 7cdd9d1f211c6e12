"""Settings of what happens when data changes; and of packing and past models."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from shoal.settings.section import Section, Seed


class Drift(Section):
    """How new rows are compared with those that the generation was fitted on."""

    rows: PositiveInt = Field(description="rows, at most, that are compared on either side")
    level: float = Field(gt=0, lt=1, description="share of false alarms over all partitions")
    seed: Seed = Field(description="seed of the test's halves")


class Changes(Section):
    """Reaction to changes of the data. No trained state depends on these settings."""

    tolerance: float = Field(
        ge=0,
        lt=1,
        description="share of its rows that may change before a specialist is trained again",
    )
    baselines: Literal["generation", "current"] = Field(
        description="rows that evaluate's baselines are trained on: those of the generation's "
        "first run, or the current ones"
    )
    on_drift: Literal["report", "retrain", "refit"] = Field(
        description="what a run does by itself where drift is found: report it, let waiting "
        "partitions that drifted train in the next run, or start the next generation"
    )
    grow: Literal["report", "auto"] = Field(
        description="what a run does where rows of a new kind have come: report it, or add "
        "partitions for them before it trains"
    )
    incomplete: bool = Field(
        description="whether the pool is built without specialists whose training failed"
    )
    drift: Drift


class Mixing(Section):
    """How a specialist that continues is trained. Part of its identity."""

    history: NonNegativeFloat = Field(
        description="rows drawn from those that it has seen, for each new row; 0: new rows only"
    )
    recency: Literal["uniform", "recent"] = Field(
        description="whether rows that came later are drawn more often"
    )
    buffers: Literal["frozen", "trained"] = Field(
        description="whether batch normalisation keeps its statistics, or goes on to follow them"
    )


class Continuing(Mixing):
    """Whether new rows are trained from the base, or from the specialists that are there."""

    method: Literal["none", "proactive", "auto"] = Field(
        description="`none`: a changed partition is trained from the base on all of its rows; "
        "`proactive`: from its last specialist on the new rows and some of the others; `auto`: "
        "so, or on the new rows alone, whichever was better on the rows that arrived last"
    )
    longest: PositiveInt = Field(
        description="how many times a specialist continues before it is trained from the base"
    )

    @property
    def mixing(self) -> Mixing:
        """The part of it that a specialist's weights depend on."""
        return Mixing(history=self.history, recency=self.recency, buffers=self.buffers)


class Packing(Section):
    """Which specialists train in one process. No result depends on these settings."""

    devices: PositiveInt | Literal["auto"] | None = Field(
        description="devices that stale specialists are packed onto; `auto`: as many as this "
        "machine has cores for `compute.threads`; null: a job for each of them"
    )
    hours: PositiveFloat = Field(
        description="longest expected time of one pack; a specialist that is expected to take "
        "longer has a job of its own"
    )


class Store(Section):
    """How a release's models are kept in the model store. No result depends on these settings."""

    keep: Literal["snapshot", "delta", "recipe", "auto"] = Field(
        description="`snapshot`: weights; `delta`: what differs from another model; `recipe`: what "
        "a specialist is trained from, if that gives its bits again; `auto`: recipes where they "
        "take fewer bytes"
    )
    recovery_seconds: PositiveFloat = Field(
        description="longest training that `auto` leaves to a recipe"
    )
