"""When an experiment's choices are compared with each other, and where what is said lies."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from shoal.formats.hashing import settings_id
from shoal.plan.code import code_digest
from shoal.plan.history import PUBLISHED
from shoal.plan.jobs import Job
from shoal.plan.variants import CHOICE
from shoal.search.steps import Steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shoal.formats.documents.plan import RunRecord
    from shoal.plan.plan import Plan

ANSWERS = "answers"
"""Folder of what is said of an experiment's choices, in its results."""

PAGE = "report.html"


def answers_page(record: RunRecord) -> Path | None:
    """The page that compares what a run's choices did; None where there is one of each."""
    plan, tried = record["plan"], Steps.from_json(record["search"]).tried(len(record["points"]))
    return Path(plan["layout"]["root"], ANSWERS, PAGE) if plan["changes"] or tried > 1 else None


def link_to_answers(record: RunRecord) -> Path | None:
    """That page as the published report sees it."""
    page, home = answers_page(record), record["plan"]["layout"].get("home")
    return Path(os.path.relpath(page, home)) if page else None


def answers_jobs(plans: Sequence[Plan]) -> list[Job]:
    """The job that compares the choices of an experiment.

    The folder holds what the last one found. As for a release, a record in it, named by all that
    it is made from, is there only while it is the current one.

    Args:
        plans: The experiment's variants.

    Returns:
        The job; none where there is nothing to compare, or where not all variants are planned.
    """
    first = plans[0]
    chosen = any(each.startswith(CHOICE) for each in first.overrides)
    if chosen or answers_page(first.record) is None:
        return []
    made_of = {plan.variant.id: [plan.layout.release, plan.variant.changes] for plan in plans}
    identity = settings_id(code_digest("explore.answers.command"), made_of)
    record = first.root / ANSWERS / PUBLISHED / f"{identity}.json"
    return [Job("answers", {}, (record,))]
