"""What an experiment remembers of its releases."""

import json
from datetime import UTC, datetime

from shoal.plan.history import History
from tests.documents import release_record


def test_a_release_says_when_it_was_published(tmp_path):
    """The time is kept with it, in UTC."""
    before = datetime.now(UTC).replace(microsecond=0)

    History(tmp_path).publish(release_record("one"))

    (entry,) = History(tmp_path).entries
    time = datetime.fromisoformat(entry["published"]).replace(tzinfo=UTC)
    assert before <= time <= datetime.now(UTC)
    assert History(tmp_path).current == entry


def test_the_last_release_is_the_published_one(tmp_path):
    """A release replaces the one before, which stays in the history."""
    history = History(tmp_path)
    for release in ("one", "two"):
        history.withdraw()
        history.publish(release_record(release))

    assert history.current["release"] == "two"
    assert [entry["release"] for entry in history.entries] == ["one", "two"]


def test_nothing_is_published_while_a_release_is_copied(tmp_path):
    """A crash between two releases leaves none, so that the next run publishes."""
    history = History(tmp_path)
    history.publish(release_record("one"))
    history.withdraw()

    assert history.current is None
    assert [entry["release"] for entry in history.entries] == ["one"]


def test_a_line_cut_short_by_a_crash_costs_no_other(tmp_path):
    """Half a line at the end is left out, and what follows begins a line of its own."""
    history = History(tmp_path)
    history.publish(release_record("one"))
    with (tmp_path / "history.jsonl").open("a") as file:
        file.write(json.dumps(release_record("two"))[:9])
    history.publish(release_record("three"))

    assert [entry["release"] for entry in history.entries] == ["one", "three"]


def test_generations_start_at_one(tmp_path):
    """Before any refit the generation is the first; afterwards the one that was started."""
    history = History(tmp_path)
    assert history.generation == 1

    history.start_generation(3)

    assert history.generation == 3
