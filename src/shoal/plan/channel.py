"""The channel of a plan: which copy the next one follows, and from which copies there are patches.

As with the release before (:mod:`shoal.plan.previous`), a plan says what was published when it was
made, the record of the run says it to the jobs, and a release's record to later plans. A release
that is planned again has the copy that it had: so does one with the same pool.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from shoal.formats.hashing import settings_id
from shoal.plan.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shoal.formats.documents.index import PlannedIndex
    from shoal.formats.documents.plan import Channel, CopyOfRelease, LayoutRecord, Release
    from shoal.plan.history import History

FIRST = "first"
"""Stands for the copy before the first one."""

BASES = 8
"""Copies, the last ones, from which there are patches."""


def with_channel(history: History, layout: Layout) -> tuple[Layout, Channel]:
    """A layout with a copy and its patches, and the copies that these are made from.

    Args:
        history: What was published.
        layout: The layout.
    """
    releases = [*reversed(history.entries)]
    last, own = _last(history, releases), ""
    if last is None:
        after = FIRST
    elif _has_the_same_pool(last["layout"], layout):
        after, own = last["layout"].get("after", FIRST), last["copy"]["id"]
    else:
        after = last["copy"]["id"] if Path(last["copy"]["manifest"]).exists() else FIRST
    there = copies_of(releases)
    bases = {each["id"]: each["manifest"] for each in there if each["id"] != own}
    found = {identity: path for identity, path in bases.items() if Path(path).exists()}
    kept = dict(list(found.items())[:BASES])
    before = None if after == FIRST else found.get(after)
    return replace(layout, after=after, bases=tuple(kept)), {"before": before, "bases": kept}


def copies_of(releases: Iterable[Release]) -> list[CopyOfRelease]:
    """Copies of some releases, each once, in the same order."""
    found = {each["copy"]["id"]: each["copy"] for each in releases if "copy" in each}
    return list(found.values())


def copy_of(layout: Layout, index: PlannedIndex) -> CopyOfRelease:
    """The copy that a layout has.

    Args:
        layout: The layout.
        index: Its partition index.
    """
    made, root = layout.made["deploy"], layout.root_of(index, "fit")
    manifest = layout.file("deploy_copy.manifest", index, after=layout.after)
    return {"id": settings_id(made, layout.after, root), "manifest": str(manifest)}


def _last(history: History, releases: Iterable[Release]) -> Release | None:
    """The last release with a copy."""
    current = history.current
    found = [current, *releases] if current is not None else [*releases]
    return next((each for each in found if "copy" in each), None)


def _has_the_same_pool(before: LayoutRecord, layout: Layout) -> bool:
    other = Layout.from_json(before)
    same = ("generation", "index_id", "left_out", "fits")
    return other.made.get("deploy") == layout.made["deploy"] and all(
        getattr(other, name) == getattr(layout, name) for name in same
    )
