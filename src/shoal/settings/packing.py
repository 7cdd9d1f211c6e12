"""Settings of how specialists share processes. No result depends on them."""

from __future__ import annotations

from pydantic import Field, PositiveFloat, PositiveInt

from shoal.settings.section import Section


class Packing(Section):
    """Which specialists train in one process, in turn. No result depends on these settings."""

    devices: PositiveInt | None = Field(
        description="devices that stale specialists are packed onto; null: a job for each of them"
    )
    hours: PositiveFloat | None = Field(
        description="longest walltime of one pack; null: that of the class of node"
    )
