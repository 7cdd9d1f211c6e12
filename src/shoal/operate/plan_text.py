"""Output of ``shoal plan`` for people."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING

from shoal.formats.text import NONE, count_text, flops_text, seconds_text, value_text
from shoal.operate.estimate import Cost
from shoal.operate.why import point_text
from shoal.plan.plan import OTHER_BASE
from shoal.report.words import advice_text, growth_text, incomplete_line, mixes_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import RenderableType
    from rich.table import Table

    from shoal.operate.plan_document import (
        BeforeAfter,
        PackedSpecialist,
        Packing,
        PlanDocument,
        PlannedPartition,
    )

_UNKNOWN = "?"
_QUIET = {"fresh": "Fresh", "untrained": "Too few training rows for a specialist"}
_TOLD_APART = (*_QUIET, "failed")
_FOLDS = {"train": "train", "validation": "valid", "test": "test"}
_LEFT = ("status", "changed", "cost of", "pack", "trains, partition: grid points")
_COST_HEADS = ("jobs", "time", "training")


def plan_text(document: PlanDocument, refit: str) -> RenderableType:
    """A plan for the terminal: what changed, what would run and why, what it would cost.

    Args:
        document: What :func:`shoal.operate.plan_report.plan_document` gave.
        refit: The command that starts the next generation.
    """
    from rich.console import Group
    from rich.text import Text

    def lines(texts: Iterable[str], style: str = "") -> Iterator[RenderableType]:
        return (Text(text, style=style, overflow="fold") for text in texts)

    loud = [part for part in document["partitions"] if part["status"] not in _TOLD_APART]
    nothing = not document["jobs"]
    return Group(
        *lines(_opening(document)),
        *lines([f"Refit of the base: {OTHER_BASE}"] if document["other_base"] else [], "yellow"),
        *([_partition_table(loud)] if loud and document["exact"] else []),
        *lines(_reason_lines(loud) if document["exact"] else []),
        *lines(_quiet_lines(document["partitions"])),
        *lines(map(incomplete_line, document["incomplete"]), "yellow"),
        *lines(_removal_lines(document, refit), "yellow"),
        *lines(_refit_lines(document, refit), "yellow"),
        *lines(_drift_lines(document), "yellow"),
        *_packs(document["packs"]),
        *lines([_nothing(document)] if nothing else [], "bold"),
        *([] if nothing else [_cost_table(document)]),
    )


def _drift_lines(document: PlanDocument) -> Iterator[str]:
    """The advice of the last run's drift report, where it is to do something."""
    advice = document["drift"]
    if advice is not None and advice["action"] != "keep":
        yield f"Drift, as of the last run: {advice_text(advice)}"


def _opening(document: PlanDocument) -> Iterator[str]:
    release = document["release"]
    against = f"against its published release {release}" if release else "nothing is published yet"
    yield f"{document['experiment']}, generation {document['generation']}: {against}"
    if not document["exact"]:
        yield (
            f"The partitions of these rows, with these settings, are not known yet: ≤ "
            f"{len(document['partitions'])} of them, and counts of jobs are upper bounds"
        )
    if document["growth"] is not None:
        yield f"{growth_text(**document['growth'])}; other partitions keep their rows from before"
    if document["mixes"] is not None:
        yield mixes_text(document["mixes"])
    for change in document["settings"]:
        before, after = value_text(change["before"]), value_text(change["after"])
        yield f"Setting {change['name']}: {before} → {after}"
    if document["codes"]:
        yield f"Code changed: {', '.join(document['codes'])}"


def _partition_table(partitions: Sequence[PlannedPartition]) -> Table:
    table = _table("partition", "status", "training rows", "changed", *_COST_HEADS)
    for part in partitions:
        changed = "\n".join(
            f"{_FOLDS[fold]} {_moved(pair)}" for fold, pair in part["changes"].items()
        )
        cost = _cells(Cost(**part["cost"]))
        rows = _training_rows(part["rows"])
        table.add_row(str(part["partition"]), part["status"], rows, changed, *cost)
    return table


def _training_rows(rows: BeforeAfter) -> str:
    """Before and after, once where they are as many: ``220 → 221``."""
    counts = (side["train"] for side in (rows["before"], rows["after"]) if side is not None)
    return " → ".join(map(count_text, dict.fromkeys(counts)))


def _moved(pair: Sequence[int] | None) -> str:
    """Rows added and removed: ``+3 -2``."""
    return _UNKNOWN if pair is None else f"+{count_text(pair[0])} -{count_text(pair[1])}"


def _reason_lines(partitions: Sequence[PlannedPartition]) -> Iterator[str]:
    """Each reason once, with its partitions."""
    found: dict[str, list[int]] = {}
    for part in partitions:
        for reason in part["why"]:
            found.setdefault(reason, []).append(part["partition"])
    for reason, numbers in found.items():
        yield f"{_named(numbers)}: {reason}"


def _quiet_lines(partitions: Sequence[PlannedPartition]) -> Iterator[str]:
    for status, words in _QUIET.items():
        numbers = [part["partition"] for part in partitions if part["status"] == status]
        if numbers:
            yield f"{words}: {_named(numbers).lower()}, {len(numbers)} of {len(partitions)}"


def _named(numbers: Sequence[int]) -> str:
    """Ascending partition numbers with runs drawn together: ``Partitions 0-3, 5``."""
    starts = [numbers[0], *(after for before, after in pairwise(numbers) if after != before + 1)]
    ends = [*(before for before, after in pairwise(numbers) if after != before + 1), numbers[-1]]
    runs = zip(starts, ends, strict=True)
    text = ", ".join(str(one) if one == other else f"{one}-{other}" for one, other in runs)
    return f"{'Partition' if len(numbers) == 1 else 'Partitions'} {text}"


def _removal_lines(document: PlanDocument, refit: str) -> Iterator[str]:
    removed = document["removed"]
    if removed["retrained"]:
        yield f"{_named(removed['retrained'])}: trained again without rows removed or edited"
    if removed["waiting"]:
        yield f"{_named(removed['waiting'])}: waiting, and still made from rows removed or edited"
    for seen in removed["seen"]:
        rows, them = _counted(seen["rows"], "" if seen["exact"] else "at most ")
        yield (
            f"Generation {document['generation']} has seen {rows} removed or edited since, in "
            f"{', '.join(seen['stages'])}: `{refit}` starts one without {them}"
        )


def _counted(rows: int | None, at_most: str) -> tuple[str, str]:
    """So many training rows, and the pronoun for them."""
    if rows == 1:
        return f"{at_most}1 training row that was", "it"
    count = "an unknown number of" if rows is None else at_most + count_text(rows)
    return f"{count} training rows that were", "them"


def _refit_lines(document: PlanDocument, refit: str) -> Iterator[str]:
    for reason in document["refit_needed"]:
        yield f"Refit needed: {reason}; the generation stays as it is, `{refit}` starts the next"


def _nothing(document: PlanDocument) -> str:
    full = Cost(**document["total"]["full"])
    return f"Nothing to do. A full run: {full.jobs} jobs, {cost_text(full)}"


def cost_text(cost: Cost) -> str:
    """Seconds and FLOPs of a cost."""
    if cost.seconds is None and cost.flops is None:
        return "of unknown cost"
    _, seconds, flops = _cells(cost)
    return f"{seconds} of job time, {flops}"


def _packs(packing: Packing | None) -> Iterator[RenderableType]:
    """Trainings that share a process, and when they are done."""
    from rich.text import Text

    if packing is None or not packing["packs"]:
        return
    table = _table("pack", "device", "trains, partition: grid points", "time")
    for pack in packing["packs"]:
        trained = "\n".join(_trained(pack["members"]))
        table.add_row(pack["pack"], str(pack["device"]), trained, _time(pack["seconds"]))
    yield table
    packed, alone = map(_time, (packing["seconds"]["packed"], packing["seconds"]["alone"]))
    devices = _devices(packing["devices"])
    yield Text(f"Specialists are done after {packed} on {devices}; with a job each after {alone}")


def _devices(count: int) -> str:
    return "1 device" if count == 1 else f"{count} devices"


def _trained(members: Sequence[PackedSpecialist]) -> Iterator[str]:
    """A line for each partition: its number and its grid points, as far as they are known."""
    found: dict[int | None, list[str]] = defaultdict(list)
    for member in sorted(members, key=lambda member: member["partition"] or 0):
        point = member["point"]
        text = "to be decided" if point is None else point_text(point)
        found[member["partition"]].append(text)
    for partition, points in found.items():
        yield f"{partition}: {', '.join(points)}"


def _time(seconds: float | None) -> str:
    return _UNKNOWN if seconds is None else seconds_text(seconds)


def _cost_table(document: PlanDocument) -> Table:
    """Partitions together, other rules one by one, and the sum against a full run."""
    at_most = "" if document["exact"] else "≤ "
    table = _table("cost of", *_COST_HEADS)
    partitions = sum((Cost(**part["cost"]) for part in document["partitions"]), Cost())
    if partitions.jobs:
        table.add_row("partitions, all together", *_cells(partitions, at_most))
    for rule, cost in document["rules"].items():
        table.add_row(rule, *_cells(Cost(**cost)))
    table.add_section()
    total = document["total"]
    run, full = Cost(**total["run"]), Cost(**total["full"])
    table.add_row("this run", *_cells(run, at_most), style="bold")
    if run.jobs < full.jobs:
        table.add_row("a full run", *_cells(full, at_most))
        percent = total["percent"]
        shares = (percent["jobs"], percent["seconds"], percent["flops"])
        texts = [_UNKNOWN if share is None else f"{share:.1f} %" for share in shares]
        table.add_row("this of a full run", *texts, style="bold")
    return table


def _table(*heads: str) -> Table:
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    for head in heads:
        table.add_column(head, justify="left" if head in _LEFT else "right")
    return table


def _cells(cost: Cost, at_most: str = "") -> list[str]:
    """Jobs, seconds and FLOPs; nothing where no FLOPs are counted."""
    flops = _UNKNOWN if cost.flops is None else flops_text(cost.flops) if cost.flops else NONE
    return [at_most + count_text(cost.jobs), _time(cost.seconds), flops]
