"""Which release is asked about rows that arrived, and why none is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from shoal.plan.history import History
from shoal.plan.layout import Layout
from shoal.plan.previous import previous_release
from tests.documents import plan_record, release_record

if TYPE_CHECKING:
    from pathlib import Path

CODES = {"specialists": "a-mine", "transform": "b", "encode": "c"}


def layout(release: str, *shards: str) -> Layout:
    """A layout with these shards."""
    content: dict[str, Any] = plan_record(release)["layout"]
    return Layout.from_json(content | {"made": {"split": "s"}, "shards": shards, "refreshed": 0})


@pytest.fixture
def history(tmp_path: Path) -> History:
    """Two releases, of two shards each; the second one is published."""
    found = History(tmp_path)
    for files in (layout("one", "a", "x"), layout("two", "a", "b")):
        found.withdraw()
        record = release_record(files.release, layout=files.as_json(), codes=CODES)
        found.publish(record)
    return found


def test_the_published_release_is_asked_about_files_that_came(history: History):
    """In the order of the files, not of their shards' names."""
    found = previous_release(history, layout("three", "a", "c", "d"), ["d", "a", "c"], CODES)

    assert found["layout"] == history.current["layout"]  # type: ignore[index]
    assert (found["arrived"], found["reason"]) == (["d", "c"], None)


def test_after_a_crash_while_publishing_the_last_release_is_asked(history: History):
    """Nothing is published then."""
    history.withdraw()

    found = previous_release(history, layout("three", "a", "c"), ["a", "c"], CODES)

    assert found["layout"] is not None
    assert found["layout"]["release"] == "two"


def test_a_first_release_has_none_before(tmp_path: Path):
    """Its rows have nobody to be asked."""
    found = previous_release(History(tmp_path), layout("one", "a"), ["a"], CODES)

    assert (found["layout"], found["reason"]) == (None, "the first release")


@pytest.mark.parametrize(
    ("now", "codes", "reason"),
    [
        (layout("three", "a"), CODES, "no row arrived"),
        (layout("other", "a", "x"), CODES, "the same files were published before"),
        (replace(layout("three", "c"), generation="g2"), CODES, "generation 2 begins"),
        (replace(layout("three", "c"), made={"split": "t"}), CODES, "rows are read or split"),
        (layout("three", "c"), CODES | {"specialists": "a-other"}, "code of yours"),
    ],
)
def test_no_release_is_asked_where_that_would_mean_nothing(
    history: History, now: Layout, codes: dict[str, str], reason: str
):
    """Files only went, an undo, a refit, another split, or changed code of the user's."""
    found = previous_release(history, now, now.shards, codes)

    assert found["layout"] is None
    assert (found["reason"] or "").startswith(reason)


def test_code_of_shoals_that_changed_is_no_reason(history: History):
    """The pool before predicts by the code of now, as `shoal predict` would."""
    codes = CODES | {"specialists": "z-mine"}

    assert previous_release(history, layout("three", "c"), ["c"], codes)["reason"] is None


def test_a_layout_is_the_same_whatever_was_published_before():
    """So a release is known again by a plan that has another one before it."""
    files = layout("three", "a")

    assert files == Layout.from_json(replace(files, previous=("two", "o")).as_json())
