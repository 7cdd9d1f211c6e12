"""Commands that look after results: ``audit`` and ``gc``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from shoal.cli.options import Experiment, Overrides, project_plans

if TYPE_CHECKING:
    from shoal.operate.audit.audit import Report
    from shoal.operate.gc import Garbage


def audit(
    experiment: Experiment = "demo",
    overrides: Overrides = [],  # noqa: B006 - typer reads the default, nobody changes it
    as_json: Annotated[bool, typer.Option("--json", help="print JSON, for programs")] = False,
) -> None:
    """Check every artifact against the current index and settings; exit code 1 if one disagrees.

    Reads the results folder alone, nothing that Snakemake keeps.
    """
    from shoal.operate.audit.audit import audit
    from shoal.operate.audit.shared import audit_shared

    plans = project_plans(experiment, overrides)
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
    experiment: Experiment = "demo",
    overrides: Overrides = [],  # noqa: B006 - the same
    keep: Annotated[
        int, typer.Option(min=1, help="how many of the last releases to keep, the current counted")
    ] = 5,
    remove: Annotated[bool, typer.Option("--remove", help="remove what is listed")] = False,
) -> None:
    """List what no current index, generation or kept release reaches; remove it when told to."""
    from shoal.operate.gc import find_garbage

    garbage = find_garbage(project_plans(experiment, overrides), keep)
    lines = _garbage_lines(garbage)
    if remove:
        garbage.remove()
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


def _garbage_lines(garbage: Garbage) -> list[str]:
    """One line a folder, then the total; none where there is nothing."""
    from rich.filesize import decimal

    parts = garbage.parts()
    rows = [(str(part.folder), part.files, decimal(part.size)) for part in parts]
    if not garbage.files and not garbage.folders:
        return []
    rows.append(("total", len(garbage.files), decimal(sum(part.size for part in parts))))
    width = max(11, *(len(name) for name, _, _ in rows))
    lines = [f"{name:<{width}}  {files:>7}  {size:>10}" for name, files, size in rows]
    lines.insert(0, f"{'unreachable':<{width}}  {'files':>7}  {'size':>10}")
    if garbage.folders:
        lines.append(f"folders that hold nothing else: {len(garbage.folders)}")
    return lines
