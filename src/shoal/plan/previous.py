"""The release before: its pool scores the rows that have arrived since, which no model has seen.

That needs no identity of anything else to know of it. A plan says which release was published when
it was made; the record of the run says it to the job, and the release's record to later ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shoal.formats.documents.plan import RunRecord
from shoal.formats.json_file import read_made
from shoal.plan.code import users_part

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shoal.formats.documents.plan import Previous, Release
    from shoal.plan.history import History
    from shoal.plan.layout import Layout

_OF_THE_USER = ("specialists", "transform", "encode")
"""Stages whose code may be the user's, and is the pool's when it predicts."""


def previous_release(
    history: History, layout: Layout, shards: Iterable[str], codes: Mapping[str, str]
) -> Previous:
    """The release before, if rows may have arrived since that its pool can be asked about.

    Args:
        history: What was published.
        layout: Where the files of now lie.
        shards: Shards of now, in the order of their source files.
        codes: Digest of the code behind each stage, now.
    """
    last = history.last
    if last is None:
        return {"layout": None, "arrived": [], "reason": "the first release"}
    if last["release"] == layout.release:
        return _as_it_was(last, history)
    before = last["layout"]["shards"]
    arrived = [shard for shard in shards if shard not in before]
    reason = _reason(last, history, layout, codes) if arrived else "no row arrived"
    if reason is not None:
        return {"layout": None, "arrived": [], "reason": reason}
    return {"layout": last["layout"], "arrived": arrived, "reason": None}


def _as_it_was(last: Release, history: History) -> Previous:
    """What was before a release that is published, so that a plan of it stays what it was."""
    told, run = last.get("over_time"), history.run_file(last)
    if told is not None and "arrivals" in told and run is not None and run.exists():
        return read_made(run, RunRecord)["previous"]
    reason = "no row arrived" if told is None or "arrivals" in told else told["reason"]
    return {"layout": None, "arrived": [], "reason": reason}


def _reason(
    last: Release, history: History, layout: Layout, codes: Mapping[str, str]
) -> str | None:
    """Why the pool of the last release is not asked about rows of now."""
    if last["layout"]["generation"] != layout.generation:
        return f"generation {layout.generation.removeprefix('g')} begins"
    if history.lines_with("shards", list(layout.shards)):
        return "the same files were published before"
    if last["layout"]["made"]["split"] != layout.made["split"]:
        return "rows are read or split another way than before"
    before = last["codes"]
    if any(users_part(before.get(each, "")) != users_part(codes[each]) for each in _OF_THE_USER):
        return "code of yours that the pool before needs has changed"
    return None
