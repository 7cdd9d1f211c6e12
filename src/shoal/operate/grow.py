"""Command ``grow``: add partitions for rows of a new kind, beside those that there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shoal.errors import SettingsError
from shoal.operate.plan_report import fitted, look_for_growth
from shoal.plan.growths import may_grow, read_growths, record_growths
from shoal.plan.running import refuse_while_running
from shoal.report.words import growth_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shoal.plan.plan import Plan


def grow(plans: Sequence[Plan], profile: str | None, cores: str) -> Iterator[str]:
    """Have runs from now on take the assigner as it grows by the rows that arrived.

    Nothing is trained, and nothing changes where no row is of a new kind.

    Args:
        plans: The experiment's variants.
        profile: Snakemake's profile for applying the generation to new rows.
        cores: Its number of cores for that, or ``all``.

    Yields:
        A sentence per variant, and the command that says what the next run does.

    Raises:
        SettingsError: A column says the partition, or nothing is fitted yet.
        DataError: A run of the workflow is in progress.
    """
    for plan in plans:
        if not plan.settings.cluster.grows:
            raise SettingsError(
                f"{plan.experiment}: a column says the partition of a row, so nothing can grow; "
                f"values that came since are answered by the base until `{plan.command('refit')}`"
            )
        if not fitted(plan.layout):
            raise SettingsError(f"{plan.experiment} has not been fitted yet; run it first")
    refuse_while_running(plans[0].root)
    for plan in plans:
        yield from _grown(plan, profile, cores)
    yield f"What the next run does: {plans[0].command('plan')}"


def _grown(plan: Plan, profile: str | None, cores: str) -> Iterator[str]:
    of = (
        f"{plan.experiment}, variant {plan.variant.id}" if plan.variant.changes else plan.experiment
    )
    recorded = read_growths(plan.layout)
    if plan.layout.grown == recorded and not may_grow(plan.layout):
        yield f"{of}: no source file has come since its partitions were found."
        return
    found = look_for_growth(plan, profile, cores)
    if not found["partitions"]:
        yield f"{of}: no new kind among the rows that arrived; nothing has changed."
        return
    # Variants may share an assigner, which has grown for all of them then.
    record_growths(plan.layout, list(dict.fromkeys([*recorded, plan.growth])))
    yield f"{of}: {growth_text(int(found['partitions']), int(found['rows']))}."
