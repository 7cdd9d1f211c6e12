"""What a release cost, what its run made anew, and how the pool before it did; a page of all."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from shoal.formats.documents.ledger import Flops
from shoal.formats.documents.prequential import Prequential
from shoal.formats.files import replacing
from shoal.formats.json_file import read_made
from shoal.formats.ledger import own_flops
from shoal.plan.layout import Layout
from shoal.plan.paths import outputs
from shoal.plan.stages import STAGES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from shoal.formats.documents.judgement import DriftReport
    from shoal.formats.documents.plan import Release
    from shoal.formats.documents.prequential import Made, OverTime
    from shoal.plan.history import History

PAGE = "over-time.html"
_EVALUATES = ("evaluate_random", "ask")
"""Stages whose FLOPs are no part of making a pool and its generalist."""
_DIGEST = re.compile(r'"train":"([^"]+)"')


class _Cost(NamedTuple):
    """A job's ledger, and the digest of the specialist that it is about, if it is about one."""

    rule: str
    ledger: Path
    digest: str | None

    @property
    def flops(self) -> float:
        """The job's own FLOPs; in a generalist's are its base's, which has a ledger of its own."""
        content = read_made(self.ledger, Flops)
        is_generalist = self.rule == "evaluate_generalist"
        base = content.get("detail", {}).get("base", 0.0) if is_generalist else 0.0
        return own_flops(content) - base


def over_time(
    layout: Layout,
    history: History,
    prequential: Sequence[Path],
    drift: DriftReport,
    reason: str | None,
) -> OverTime:
    """All that the page over time says of a release; to be asked for before it is published.

    Args:
        layout: The release's files.
        history: What was published before.
        prequential: Scores of the rows that arrived, if a job has looked for them.
        drift: The drift report.
        reason: Why no job has.
    """
    advice, overall = drift["recommendation"], drift["overall"]
    found: OverTime = {
        "reason": reason,
        "made": _made(layout, history),
        "action": advice["action"],
        "drift": overall["p_value"],
        "beyond": overall["beyond_after"],
    }
    for path in prequential:
        content = read_made(path, Prequential)
        content.pop("made_from", None)
        found["arrivals"], found["reason"] = content, content["reason"]
    return found


def write_page(home: Path, releases: Sequence[dict[str, Any] | Release]) -> None:
    """Write the page beside what is published; from the second release on there is one.

    Args:
        home: The folder of what is published.
        releases: Records of all releases, the oldest first.
    """
    if len(releases) > 1:
        from shoal.archive.over_time_page import over_time_page

        page = over_time_page(releases)
        with replacing(home / PAGE) as aside:
            aside.write_text(page)


def _made(layout: Layout, history: History) -> Made:
    """What the run made: of what the release consists of, that which no earlier release has."""
    index = layout.read_index()
    entries = index["partitions"] if index is not None else []
    fresh = _fresh(layout, history)
    digests = {each.digest for each in fresh}
    specialists = [entry for entry in entries if entry["trained"]]
    anew = [each for each in specialists if each["specialist"] in digests and "waiting" not in each]
    continued = sum("continued" in entry for entry in anew)
    found: Made = {
        "flops": sum(each.flops for each in fresh),
        "partitions": len(entries),
        "specialists": len(specialists),
        "trained": len(anew) - continued,
        "continued": continued,
        "waiting": sum("waiting" in entry for entry in specialists),
    }
    if index is not None and (mixes := index.get("mixes")) is not None:
        found["history"] = mixes["history"]
    return found


def _fresh(layout: Layout, history: History) -> set[_Cost]:
    """Ledgers of what no earlier release has.

    An undo brings back a pool of the same settings, code and rows. The release before is compared
    file by file. A specialist that it lacks and one before had is known by its digest.
    """
    index = layout.read_index()
    rows = history.lines_with("rows", index["root"]["fit"]) if index is not None else []
    if any(f'"pool":"{layout.made["pool"]}"' in line for line in rows):
        return set()
    last = history.last
    before = set() if last is None else _ledgers(Layout.from_json(last["layout"]))
    fresh = _ledgers(layout) - before
    known = {each.digest for each in before}
    if {each.digest for each in fresh} <= known:
        return fresh
    earlier = {
        digest
        for line in history.lines_with("specialists", layout.made["specialists"])
        for digest in _DIGEST.findall(line)
    } - known
    return {each for each in fresh if each.digest not in earlier}


def _ledgers(layout: Layout) -> set[_Cost]:
    """Costs of a release's pool and generalist; none where its index is gone."""
    index, found = layout.read_index(), set()
    for job in layout.jobs(index) if index is not None else ():
        stage = STAGES[job.rule]
        if stage.ledger in stage.outputs and stage.name not in _EVALUATES:
            ledger = outputs(layout, stage, job.wildcards, index)[stage.ledger]
            found.add(_Cost(job.rule, ledger, job.wildcards.get("digest")))
    return found
