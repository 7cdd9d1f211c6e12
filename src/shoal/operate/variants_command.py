"""The grid over how data is processed, and its cost, before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typing_extensions import TypedDict

from shoal.formats.documents.judgement import NOT_CHOSEN, GateRecord, Judged, scored
from shoal.formats.json_file import read_made
from shoal.formats.text import flops_text, value_text
from shoal.operate.estimate import Cost, Estimate, measured_speed
from shoal.operate.plan_document import CostRecord
from shoal.operate.plan_text import cost_text
from shoal.plan.answers import answers_jobs, answers_page
from shoal.plan.plan import placeholders
from shoal.settings.search import SIDES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from rich.console import RenderableType

    from shoal.plan.plan import Plan


class Scores(TypedDict):
    """Scores of a variant that is published.

    ``validation`` and ``generalist_validation`` are mean scores of its pool and its generalist on
    the validation rows that choose nothing else, as in ``gate.json``. ``pool`` and ``generalist``
    are scores on the test rows, of its pool and of the chosen generalist; null where its pool was
    not chosen.
    """

    validation: float
    generalist_validation: float
    metric: str
    pool: float | None
    generalist: float | None
    verdict: str


class Chosen(TypedDict):
    """Variants whose pool and whose generalist answer for the same unseen rows."""

    pool: str
    generalist: str


class VariantRow(TypedDict):
    """A variant, and how much of it would run.

    ``exact`` is false while it has no partition index, when its counts are upper bounds; ``scores``
    are null until its plan is published.
    """

    id: str
    changes: dict[str, Any]
    partitions: int
    exact: bool
    jobs: int
    scores: Scores | None


class AnswersPage(TypedDict):
    """The page that compares the variants, if there is one, and whether it is of this plan."""

    page: str | None
    current: bool


class Total(TypedDict):
    """Cost of this run and of a full one; jobs that variants share are counted once."""

    run: CostRecord
    full: CostRecord


class BudgetPlan(TypedDict):
    """The split of a budget that all variants have together, in FLOPs.

    ``each`` is for one of the ``sides`` of a variant: its pool, its generalist, its random
    partitions. ``flops_per_second`` is how fast trainings of this experiment were, null before any.
    """

    total: float
    each: float
    sides: int
    hours: float | None
    flops_per_second: float | None


class Variants(TypedDict):
    """The document that ``shoal variants --json`` prints.

    ``steps`` lists how many slots each step of a partition's search trains. ``among`` counts all
    variants, of which a sample may be listed. ``varies`` has values by setting; ``chosen`` has an
    entry for each seed and split that is published.
    """

    experiment: str
    grid_points: int
    steps: list[int]
    training_jobs: int
    exact: bool
    among: int
    found: dict[str, str]
    budget: BudgetPlan | None
    varies: dict[str, list[Any]]
    variants: list[VariantRow]
    chosen: list[Chosen]
    answers: AnswersPage
    total: Total


def variants_document(plans: Sequence[Plan]) -> Variants:
    """Variants of an experiment, and the cost of running them.

    Args:
        plans: The experiment's variants.
    """
    seen: set[Path] = set()
    listed: list[VariantRow] = []
    run, full = Cost(), Cost()
    for plan in plans:
        known = plan.layout.read_index()
        index = placeholders(plan.settings) if known is None else known
        jobs = plan.layout.jobs(index)
        estimate = Estimate(plan, index, jobs)
        own = [job for job in jobs if seen.isdisjoint(job.outputs)]
        seen.update(path for job in own for path in job.outputs)
        missing = [job for job in own if job.missing]
        run, full = run + estimate.cost(missing), full + estimate.cost(own)
        listed.append(
            {
                "id": plan.variant.id,
                "changes": plan.variant.changes,
                "partitions": len(plan.layout.specialised(index)),
                "exact": known is not None,
                "jobs": len(missing),
                "scores": _scores(plan, plan.layout.file("gate.gate", index)),
            }
        )
    varies: dict[str, list[Any]] = {}
    for name, value in (pair for each in listed for pair in each["changes"].items()):
        values = varies.setdefault(name, [])
        if value not in values:
            values.append(value)
    steps = plans[0].layout.slots
    compare = answers_jobs(plans)
    more = Estimate(plans[0], {"partitions": []}, compare)
    run += more.cost([job for job in compare if job.missing])
    full += more.cost(compare)
    page = answers_page(plans[0].record)
    return {
        "experiment": plans[0].settings.name,
        "grid_points": plans[0].steps.tried(len(plans[0].grid)),
        "steps": list(steps),
        "training_jobs": sum(steps) * sum(each["partitions"] for each in listed),
        "exact": all(each["exact"] for each in listed),
        "among": plans[0].variant.among,
        "found": dict(plans[0].variant.found),
        "budget": _budget(plans),
        "varies": varies,
        "variants": listed,
        "chosen": [chosen for plan in plans for chosen in _chosen(plan)],
        "answers": {
            "page": str(page) if page and page.exists() else None,
            "current": not any(job.missing for job in compare),
        },
        "total": {"run": run.as_json(), "full": full.as_json()},
    }


def _budget(plans: Sequence[Plan]) -> BudgetPlan | None:
    """The split of the budget, if there is one for all."""
    settings = plans[0].settings
    budget, own = settings.search.budget, settings.train_specialists.flops
    if budget.total is None or own is None:
        return None
    return {
        "total": budget.total,
        "each": own,
        "sides": SIDES,
        "hours": budget.hours,
        "flops_per_second": measured_speed(plans[0].root),
    }


def _scores(plan: Plan, gate: Path) -> Scores | None:
    """Scores of what is published, if that is what the plan says."""
    judged = _judged(plan)
    if judged is None:
        return None
    metrics, validation = scored(_metrics(plan)), read_made(gate, GateRecord)["validation"]
    return {
        "validation": validation["pool"],
        "generalist_validation": validation["generalist"],
        "metric": judged["metric"],
        "pool": metrics[metrics["shipped"]]["score"] if metrics else None,
        "generalist": metrics["generalist"]["score"] if metrics else None,
        "verdict": judged["verdict"],
    }


def _judged(plan: Plan) -> Judged | None:
    """The verdict on what is published, if that is what the plan says."""
    if not plan.layout.file("pool_publish.record").exists():
        return None
    return read_made(_metrics(plan), Judged)


def _metrics(plan: Plan) -> Path:
    return plan.home / "metrics.json"


def _chosen(plan: Plan) -> Iterator[Chosen]:
    """What the variant's pool is compared with, if that was chosen."""
    judged = _judged(plan)
    if judged is not None and judged["verdict"] != NOT_CHOSEN:
        search, own = judged.get("search"), plan.variant.id
        yield {"pool": own, "generalist": search["generalist"] if search else own}


def headline(document: Variants) -> str:
    """``N variants × P partitions × G grid points = J training jobs``; ≤ before upper bounds."""
    variants, points = document["variants"], document["grid_points"]
    counts = {each["partitions"] for each in variants}
    at_most = "" if document["exact"] else "≤ "
    partitions = f"{min(counts)} to {max(counts)}" if len(counts) > 1 else str(*counts)
    steps = ""
    if len(document["steps"]) > 1:
        steps = f" in steps of {' + '.join(map(str, document['steps']))}"
    sampled = f"{len(variants)} of " if len(variants) < document["among"] else ""
    noun = "partition" if counts == {1} else "partitions"
    return (
        f"{sampled}{_count(document['among'], 'variant')} × {at_most}{partitions} "
        f"{noun} × {_count(points, 'grid point')}"
        f"{steps} = "
        f"{at_most}{_count(document['training_jobs'], 'training job')}"
    )


def variants_text(document: Variants) -> RenderableType:
    """The document for people: how many variants, what varies, the cost, then each variant."""
    from rich.console import Group
    from rich.text import Text

    return Group(*(Text(line, overflow="fold") for line in _lines(document)), _table(document))


def _lines(document: Variants) -> Iterator[str]:
    yield headline(document)
    for name, reason in document["found"].items():
        yield f"  {name}: {reason}"
    for name, values in document["varies"].items():
        yield f"  {name}: {', '.join(map(value_text, values))}"
    if document["budget"] is not None:
        yield _budget_line(document["budget"], len(document["variants"]))
    run, full = Cost(**document["total"]["run"]), Cost(**document["total"]["full"])
    at_most = "" if document["exact"] else "≤ "
    yield f"To run: {at_most}{_count(run.jobs, 'job')}, {cost_text(run)}, as past jobs tell"
    if run.jobs < full.jobs:
        yield f"Of {at_most}{_count(full.jobs, 'job')}, {cost_text(full)}"
    if document["chosen"]:
        yield "Scores are of pool / generalist; pools in bold were chosen on validation rows."
    if document["answers"]["page"] is not None:
        age = "" if document["answers"]["current"] else ", of an earlier run"
        yield f"What the choices did: {document['answers']['page']}{age}"


def _budget_line(budget: BudgetPlan, variants: int) -> str:
    speed = budget["flops_per_second"]
    hours = "" if budget["hours"] is None else f", for {budget['hours']:g} hours"
    past = ""
    if speed is not None:
        took = budget["total"] / speed / 3600
        past = f"; at {speed:.2g} FLOPs/s, as past trainings: {took:.2g} hours"
    return (
        f"Budget: {flops_text(budget['total'])}{hours}: {_count(variants, 'variant')} × "
        f"{budget['sides']} (pool, generalist, random partitions) × "
        f"{flops_text(budget['each'])}{past}"
    )


def _table(document: Variants) -> RenderableType:
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    for head in ("variant", *document["varies"]):
        table.add_column(head, overflow="fold")
    heads = ("validation", "test") if document["chosen"] else ()
    for head in ("partitions", "jobs", *heads):
        table.add_column(head, justify="right", no_wrap=head in heads)
    chosen = {each["pool"] for each in document["chosen"]}
    if chosen:
        table.add_column("verdict")
    for each in document["variants"]:
        values = [value_text(each["changes"].get(name, "")) for name in document["varies"]]
        at_most = "" if each["exact"] else "≤ "
        counts = (f"{at_most}{count:,}" for count in (each["partitions"], each["jobs"]))
        style = "bold" if each["id"] in chosen and len(chosen) < len(document["variants"]) else ""
        table.add_row(each["id"], *values, *counts, *_scores_text(each["scores"]), style=style)
    return table


def _scores_text(scores: Scores | None) -> list[str]:
    if scores is None:
        return []
    validation = scores["validation"], scores["generalist_validation"]
    test = scores["pool"], scores["generalist"]
    pairs = (["-" if n is None else f"{n:,.4g}" for n in pair] for pair in (validation, test))
    return [*(" / ".join(pair) for pair in pairs), scores["verdict"]]


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
