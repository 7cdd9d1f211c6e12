"""Settings of how the models of past releases are kept. No result depends on them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat

from shoal.settings.section import Section


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
