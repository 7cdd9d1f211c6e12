"""Command ``refit``: start the next generation."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from shoal.errors import SettingsError
from shoal.operate.estimate import Cost, Estimate
from shoal.operate.plan_text import cost_text
from shoal.plan.plan import placeholders

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shoal.plan.plan import Plan


def refit(plans: Sequence[Plan]) -> list[str]:
    """Start the next generation, beside those that there are; nothing is fitted yet.

    Args:
        plans: The experiment's variants.

    Returns:
        Sentences about what that means.

    Raises:
        SettingsError: The settings name a generation.
    """
    plan = plans[0]
    fixed = plan.variant.settings.generation
    if fixed is not None:
        raise SettingsError(
            f"generation: the settings name {fixed}, and they decide; name another number there, "
            f"or null, for then `shoal refit` counts"
        )
    newest = newest_generation(plan)
    number = newest + 1 if (plan.root / f"g{newest}").exists() else newest
    cost = sum(map(_full_cost, plans), Cost())
    if number != plan.history.generation:
        plan.history.start_generation(number)
    return list(_sentences(plan, number, cost))


def newest_generation(plan: Plan) -> int:
    """The highest number of a generation that was started or has a folder."""
    names = [path.name for path in plan.root.glob("g*")]
    folders = [int(name[1:]) for name in names if re.fullmatch(r"g\d+", name)]
    return max([plan.history.generation, *folders])


def _full_cost(plan: Plan) -> Cost:
    """Cost of everything, with the partitions of the present generation if it has any."""
    index = plan.layout.read_index() or placeholders(plan.settings)
    jobs = plan.layout.jobs(index)
    return Estimate(plan, index, jobs).cost(jobs)


def _sentences(plan: Plan, number: int, cost: Cost) -> Iterator[str]:
    if number == 1:
        yield f"{plan.experiment} has not been fitted yet: its next run fits generation 1."
    else:
        yield f"Runs of {plan.experiment} take generation {number} from now on."
    published = plan.history.current
    if published is not None:
        earlier = published["settings"]["generation"]
        yield (
            f"Until it is evaluated, {plan.home}/pool stays the pool of generation {earlier}; "
            f"generation={earlier} among the overrides goes back to it at any time."
        )
    yield (
        f"Its first run fits and trains everything: about {cost.jobs} jobs, {cost_text(cost)}, "
        f"as past jobs tell."
    )
    yield f"To run it: {shlex.join(plan.snakemake('--cores', 'all'))}"
