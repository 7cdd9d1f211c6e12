"""The summary of a run on Slurm, for the terminal and as a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shoal.formats.text import NONE, count_text, number_text, seconds_text
from shoal.report.page import render

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rich.console import RenderableType

TEMPLATE = """\
<header>
<p class="experiment">Shoal · experiment <b>{{ experiment }}</b> · its last run on the cluster</p>
<h1>{{ headline }}</h1>
{{ fact_list(facts) }}
{% if problem %}<p class="bad">{{ problem }}</p>{% endif %}
</header>
{% for table in tables %}
<section>
<h2>{{ table.title }}</h2>
<p class="note">{{ table.note }}</p>
<div class="scroll"><table>
<thead><tr>{% for head in table.heads %}
<th{% if loop.first %} class="text"{% endif %}>{{ head }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in table.rows %}
<tr><th>{{ row[0] }}</th>{% for cell in row[1:] %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</tbody></table></div>
</section>
{% endfor %}
{% if efficiency %}
<p class="note">Each job by itself: the <a href="{{ efficiency }}">efficiency report</a> of
Snakemake's Slurm plugin (CSV).</p>
{% endif %}
"""

_CLASS_HEADS = ("class of node", "attempts", "node-hours", "cost")
_RULE_HEADS = ("rule", "jobs", "attempts", "time asked", "used", "memory asked", "used")
_CLASS_NOTE = (
    "A job counts with the largest share of a node's cores, memory or GPUs that it had; cost is in "
    "the unit of the settings."
)
_RULE_NOTE = "The largest of a rule's jobs each: walltime and resident memory, asked and used."


def cluster_page(experiment: str, summary: Mapping[str, Any]) -> str:
    """One self-contained HTML page.

    Args:
        experiment: Its name.
        summary: Content of ``cluster.json``.
    """
    classes = _table("By class of node", _CLASS_NOTE, _CLASS_HEADS, _class_rows(summary))
    rules = _table("By rule", _RULE_NOTE, _RULE_HEADS, _rule_rows(summary))
    content = {
        "experiment": experiment,
        "headline": _headline(summary),
        "facts": _facts(summary),
        "problem": _problem(summary),
        "tables": [classes, rules],
        "efficiency": summary["efficiency_report"],
    }
    return render(f"{experiment} on the cluster", TEMPLATE, content)


def cluster_table(summary: Mapping[str, Any], page: Path) -> RenderableType:
    """The same for the terminal, without the rules.

    Args:
        summary: Content of ``cluster.json``.
        page: Where the page lies.
    """
    from rich.box import SIMPLE
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    for head in _CLASS_HEADS:
        table.add_column(head, justify="left" if head == _CLASS_HEADS[0] else "right")
    for row in _class_rows(summary):
        table.add_row(*row)
    facts = [f"{name}: {value}" for name, value in _facts(summary)]
    problem = [_problem(summary)] if _problem(summary) else []
    lines = [_headline(summary), *problem, *facts, f"asked against used, by rule: {page}"]
    texts = [Text(line, overflow="fold") for line in lines]
    return Group(texts[0], table, *texts[1:])


def _table(title: str, note: str, heads: tuple[str, ...], rows: list[list[str]]) -> dict[str, Any]:
    return {"title": title, "note": note, "heads": heads, "rows": rows}


def _headline(summary: Mapping[str, Any]) -> str:
    jobs, attempts = summary["jobs"], summary["attempts"]
    words = "job" if jobs == 1 else "jobs", "attempt" if attempts == 1 else "attempts"
    return f"{count_text(jobs)} {words[0]} on the cluster, {count_text(attempts)} {words[1]}"


def _facts(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    waiting = summary["waiting"]
    failures = {n: count for n, count in summary["states"].items() if n != "COMPLETED"}
    sums = [seconds_text(waiting[name]) for name in ("sum", "median", "longest")]
    states = ", ".join(f"{count} {name}" for name, count in failures.items())
    return [
        ("retries", count_text(summary["retries"])),
        ("failures", states or (NONE if not summary["states"] else "none")),
        ("waiting", f"{sums[0]} all together, median {sums[1]}, longest {sums[2]}"),
    ]


def _problem(summary: Mapping[str, Any]) -> str:
    answer = summary["accounting"]
    return "" if answer == "complete" else f"Slurm's accounting tells nothing more ({answer})"


def _class_rows(summary: Mapping[str, Any]) -> list[list[str]]:
    return [
        [
            name,
            count_text(each["attempts"]),
            number_text(each["node_hours"], 3),
            number_text(each["cost"], 3),
        ]
        for name, each in summary["classes"].items()
    ]


def _rule_rows(summary: Mapping[str, Any]) -> list[list[str]]:
    return [
        [
            rule,
            count_text(each["jobs"]),
            count_text(each["attempts"]),
            *(seconds_text(each["seconds"][side]) for side in ("asked", "used")),
            *(_memory(each["memory_mb"][side]) for side in ("asked", "used")),
        ]
        for rule, each in summary["rules"].items()
    ]


def _memory(megabytes: float | None) -> str:
    return NONE if megabytes is None else f"{megabytes:,.0f} MB"
