"""Commands that look after a project's experiments: plan, follow, refit, audit, gc and more."""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shoal.cli.experiment import (
    DEMO,
    AsJson,
    Experiment,
    ExperimentArgument,
    Overrides,
    Remove,
    show,
)

if TYPE_CHECKING:
    from shoal.operate.audit.audit import Report
    from shoal.operate.gc import Garbage


Profile = Annotated[
    str | None, typer.Option(help="Snakemake profile for the stages that this needs")
]
Cores = Annotated[str, typer.Option(help="number of cores for them, or all")]
Settle = Annotated[
    float, typer.Option(min=0, help="seconds for which a file has to stay as it is to be read")
]
Rows = Annotated[
    int | None, typer.Option(min=1, help="rows that have come or gone and start a run")
]
DriftStarts = Annotated[
    bool, typer.Option("--drift", help="rows that differ from before start a run, however few")
]
MostCost = Annotated[
    float | None,
    typer.Option(min=0, help="share of the cost of a full run that a run may have at most"),
]


def plan(
    experiment: ExperimentArgument = DEMO,
    overrides: Overrides = [],  # noqa: B006 - typer reads the default, nobody changes it
    profile: Profile = None,
    cores: Cores = "all",
    as_json: AsJson = False,
) -> None:
    """Say what a run would do, why, and what it would cost; bring the partition index up to date.

    Applies the fitted generation to new rows if there are any, which is cheap; trains nothing.
    """
    from shoal.operate.plan_report import plan_document

    planned = experiment.plan(overrides)
    document = plan_document(planned, profile, cores)
    if as_json:
        typer.echo(json.dumps(document, indent=1, allow_nan=False))
        return
    from shoal.operate.plan_text import plan_text

    show(plan_text(document, planned.command("refit")))


def follow(
    experiment: ExperimentArgument,
    overrides: Overrides = [],  # noqa: B006 - the same
    every: Annotated[float, typer.Option(min=0.1, help="seconds between looks at the files")] = 60,
    settle: Settle = 30,
    rows: Rows = None,
    drift: DriftStarts = False,
    most_cost: MostCost = None,
    profile: Profile = None,
    cores: Cores = "all",
    once: Annotated[
        bool, typer.Option("--once", help="look, plan and run once, and end; for cron")
    ] = False,
    url: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="URL",
            help="where the files come from, s3://… or any fsspec URL: they are brought into "
            "sources.folder, and go when they are gone there",
        ),
    ] = None,
) -> None:
    """Run the experiment again whenever source files have come, changed or gone, and settled.

    Between runs it looks at the files and reads none. Without --rows and --drift any change starts
    a run.
    """
    from shoal.operate.follow import Follow, follow

    for number in (signal.SIGINT, signal.SIGTERM):  # of which a script's `&` ignores the first
        signal.signal(number, signal.default_int_handler)
    given = {"--rows": rows, "--most-cost": most_cost, "--profile": profile, "--cores": cores}
    options = [f"{name}={value}" for name, value in given.items() if value is not None]
    options += ["--drift"] if drift else []
    named = [str(experiment), *overrides]
    root = Path("results", experiment.content(overrides)["name"])
    plan = ["shoal", "follow-plan", f"--settle={settle}", *options, "--", *named]
    asked = Follow(root, lambda: experiment.content(overrides), plan, every, settle, once, url)
    for sentence in follow(asked):
        typer.echo(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {experiment}: {sentence}")


def follow_plan(
    experiment: ExperimentArgument,
    overrides: Overrides = [],  # noqa: B006 - the same
    settle: Settle = 30,
    rows: Rows = None,
    drift: DriftStarts = False,
    most_cost: MostCost = None,
    profile: Profile = None,
    cores: Cores = "all",
) -> None:
    """Say as JSON what `shoal follow` is to do; files and their marks come by standard input."""
    from shoal.operate.follow_plan import Conditions, decide, remove_stale_lock
    from shoal.plan.variants import refuse_several
    from shoal.sources.readers import only

    marks = {Path(name): tuple(mark) for name, mark in json.load(sys.stdin).items()}
    with only(marks):
        asked, plans = experiment.planned(overrides)
    refuse_several(asked[0].experiment, len(asked))
    remove_stale_lock(asked[0], plans, settle)
    conditions = Conditions(rows, drift, most_cost)
    typer.echo(json.dumps(decide(asked[0], plans, marks, conditions, profile, cores)))


def variants(
    experiment: Annotated[
        Experiment,
        typer.Argument(
            parser=Experiment,
            metavar="EXPERIMENT",
            help="an experiment's name, its results folder, or a file of settings",
        ),
    ] = DEMO,
    overrides: Overrides = [],  # noqa: B006 - the same
    as_json: AsJson = False,
) -> None:
    """Print the grid over how data is processed, and what it would cost; runs nothing."""
    from shoal.operate.variants_command import variants_document, variants_text

    document = variants_document(experiment.plans(overrides))
    if as_json:
        typer.echo(json.dumps(document, indent=1, allow_nan=False))
        return
    show(variants_text(document))


def refit(
    experiment: ExperimentArgument,
    overrides: Overrides = [],  # noqa: B006 - the same
) -> None:
    """Start the next generation: runs from now on fit everything anew, beside what there is."""
    from shoal.operate.refit import refit

    for sentence in refit(experiment.plans(overrides)):
        typer.echo(sentence)


def grow(
    experiment: ExperimentArgument,
    overrides: Overrides = [],  # noqa: B006 - the same
    profile: Profile = None,
    cores: Cores = "all",
) -> None:
    """Add partitions for rows of a new kind; the next run trains their specialists and no others.

    Applies the fitted generation to new rows, which is cheap; trains nothing.
    """
    from shoal.operate.grow import grow

    for sentence in grow(experiment.plans(overrides), profile, cores):
        typer.echo(sentence)


def replay(
    experiment: ExperimentArgument,
    out: Annotated[Path, typer.Option(help="folder to replay in, new or of a replay that began")],
    overrides: Overrides = [],  # noqa: B006 - the same
    cores: Annotated[str, typer.Option(help="number of cores, or all")] = "all",
) -> None:
    """Make the generation's releases again elsewhere; exit code 1 if names or bits are others.

    Each is made from its own source files and settings, from nothing and in turn.
    """
    from shoal.operate.replay import replay

    agree = []
    for each in replay(experiment.plan(overrides), out, cores):
        typer.echo(each.line)
        agree.append(each.agrees)
    typer.echo(f"{sum(agree)} of {len(agree)} releases came out the same: {out}")
    if not all(agree):
        raise typer.Exit(1)


def audit(
    experiment: ExperimentArgument = DEMO,
    overrides: Overrides = [],  # noqa: B006 - the same
    as_json: AsJson = False,
) -> None:
    """Check every artifact against the current index and settings; exit code 1 if one disagrees.

    Reads the results folder alone, nothing that Snakemake keeps.
    """
    from shoal.operate.audit.audit import audit
    from shoal.operate.audit.shared import audit_shared

    plans = experiment.plans(overrides)
    reports = {plan.variant.id: audit(plan) for plan in plans}
    shared = audit_shared(plans)
    single = len(plans) == 1
    if single:
        reports = {name: report + shared for name, report in reports.items()}
    else:
        reports["shared"] = shared
    if as_json:
        documents = {name: report.as_json() for name, report in reports.items()}
        content = {"shared": documents.pop("shared"), "variants": documents} if not single else None
        typer.echo(json.dumps(content or next(iter(documents.values())), indent=1))
    for name, report in () if as_json else reports.items():
        if not single:
            typer.echo("shared:" if name == "shared" else f"variant {name}:")
        _show_audit(report, plans[0].command("refit"))
    if not all(report.agrees for report in reports.values()):
        raise typer.Exit(1)


def gc(
    experiment: ExperimentArgument,
    overrides: Overrides = [],  # noqa: B006 - the same
    keep: Annotated[
        int, typer.Option(min=1, help="how many of the last releases to keep, the current counted")
    ] = 5,
    keep_models: Annotated[
        int | None,
        typer.Option(
            min=1, help="how many of the last releases keep their models; all if left out"
        ),
    ] = None,
    remove: Remove = False,
) -> None:
    """List what no current index, generation or kept release reaches; remove it when told to.

    Models of past releases stay, unless --keep-models says how many releases keep theirs. Those
    with a tag and imported ones always stay. Variants share a store: what the last releases of any
    of them have is kept.
    """
    from shoal.archive.forget import drop_models, old_models
    from shoal.operate.gc import find_garbage

    plans = experiment.plans(overrides)
    garbage = find_garbage(plans, keep)
    models = old_models(plans[0].root, keep_models)
    lines = [*models.stored, *_garbage_lines(garbage, models.size)]
    if models.stored:
        lines.append(f"models that no kept release has: {len(models.stored)}")
    if remove:
        garbage.remove()
        drop_models(models)
    for line in lines:
        typer.echo(line)
    if lines and not remove:
        typer.echo("nothing was removed; --remove removes it")
    elif lines:
        typer.echo("removed")
    else:
        typer.echo(f"{garbage.root}: everything in it is reached")


def _show_audit(report: Report, refit: str) -> None:
    """One line a mismatch, then one line that sums up."""
    for finding in report.findings:
        typer.echo(finding.line)
    for path in report.missing:
        typer.echo(f"{path}: is not there; run the workflow")
    if not report.complete:
        typer.echo("what follows the partition index was not checked: there is none to go by")
    if report.refit_needed:
        stages = ", ".join(report.refit_needed)
        typer.echo(
            f"refit needed: the code of {stages} has changed since the generation was fitted; "
            f"no mismatch, it stays as it is until `{refit}`"
        )
    if report.agrees:
        typer.echo(f"{report.artifacts} artifacts agree")
        return
    counts = f"{len(report.findings)} mismatches, {len(report.missing)} missing"
    typer.echo(f"{report.artifacts} artifacts: {counts}")


def _garbage_lines(garbage: Garbage, in_store: int) -> list[str]:
    """One line per folder, then the total; none where there is nothing.

    Args:
        garbage: Files that nothing reaches.
        in_store: Bytes of the store of models that nothing needs.
    """
    from rich.filesize import decimal

    from shoal.plan.history import STORE

    rows = [(str(part.folder), f"{part.files}", part.size) for part in garbage.parts()]
    if in_store:
        rows.append((str(garbage.root / STORE), "", in_store))
    if not rows and not garbage.folders:
        return []
    rows.append(("total", f"{len(garbage.files)}", sum(size for _, _, size in rows)))
    width = max(11, *(len(name) for name, _, _ in rows))
    lines = [f"{'unreachable':<{width}}  {'files':>7}  {'size':>10}"]
    lines += [f"{name:<{width}}  {files:>7}  {decimal(size):>10}" for name, files, size in rows]
    if garbage.folders:
        lines.append(f"folders that hold nothing else: {len(garbage.folders)}")
    return lines
