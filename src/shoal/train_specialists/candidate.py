"""The training of a slot: read from the settings, or from the decision before its step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shoal.formats.documents.choice import Choice
from shoal.formats.json_file import read_made
from shoal.search.slot_names import number_of
from shoal.training.resume import Part

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from shoal.formats.documents.choice import Point
    from shoal.formats.documents.index import Continued
    from shoal.search.steps import Steps

STATE = "state.safetensors"
"""Name of the file beside a slot's weights that a later step goes on from."""


@dataclass(frozen=True)
class Candidate:
    """The training of a slot.

    Attributes:
        point: The grid point.
        part: The part of the training that its step does; all of it if None.
        may_diverge: Whether the search goes on without it if it diverges.
        diverged: Why it does not train; None where it does.
    """

    point: Point
    part: Part | None = None
    may_diverge: bool = False
    diverged: str | None = None


def candidate(
    steps: Steps,
    step: int,
    slot: str,
    out: Path,
    point: Point | None,
    decision: Path | None,
    states: Mapping[str, Path],
    continued: Continued | None = None,
) -> Candidate:
    """The training of a slot.

    Args:
        steps: The steps of the search.
        step: Number of the slot's step.
        slot: Its name.
        out: Its weights.
        point: Its grid point; None in a later step.
        decision: What followed the step before; None in the first.
        states: States that the slots of that step left, by name.
        continued: What its specialist continues from, if it does: in one step, at the point that
            was chosen before.
    """
    if continued is not None:
        whole = Part(1, None, None, out.with_name(STATE)) if steps.goes_on else None
        return Candidate(continued["point"], whole)
    begun, diverged = None, None
    if decision is not None:
        own = read_made(decision, Choice)["next"][number_of(slot)]
        point, diverged = own["point"], own["diverged"]
        if own["after"] is not None:
            begun = states[own["after"]]
    part = Part(*steps.divisors(step), begun, out.with_name(STATE)) if steps.goes_on else None
    return Candidate(point or {}, part, steps.drops, diverged)
