"""The page over time, and what a release's record says it cost."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from shoal.archive.over_time import PAGE, over_time, write_page
from shoal.formats.json_file import write_json
from shoal.plan.history import History
from shoal.plan.layout import Layout
from tests.documents import partition_entry, partition_index, release_record

if TYPE_CHECKING:
    from pathlib import Path

DRIFT: Any = {
    "overall": {"p_value": 0.5, "beyond_after": 0.25},
    "recommendation": {"action": "keep", "partitions": [], "reason": ""},
}


def told(flops: float, **scores: Any) -> dict[str, Any]:
    """What is known of a release; its scores, if rows arrived."""
    made = {"flops": flops, "partitions": 2, "specialists": 2, "trained": 1}
    found = {"made": made | {"continued": 0, "waiting": 1}, "reason": "no row arrived"}
    found |= {"action": "keep", "drift": None, "beyond": None}
    if scores:
        arrivals = {"previous": "a", "arrived": 9, "reason": None, "scores": scores}
        found |= {"arrivals": arrivals, "reason": None}
    return found


def scores(**changes: Any) -> dict[str, Any]:
    """Scores of rows that arrived."""
    part = {"rows": 9, "score": 0.75, "generalist": 0.5}
    found = part | {"metric": "accuracy", "units": 9, "unknown_labels": 0, "running": [part, part]}
    found |= {"interval": {"low": 0.6, "high": 0.9}, "partitions": [{"partition": 0, **part}]}
    return found | {"difference": {"value": 0.25, "low": 0.1, "high": 0.4}} | changes


def releases(*stories: dict[str, Any], **settings: Any) -> list[dict[str, Any]]:
    """Records of releases."""
    named = {"settings": {"name": "tiny"} | settings}
    return [release_record(str(n), over_time=each, **named) for n, each in enumerate(stories)]


def test_the_page_begins_with_the_second_release(tmp_path: Path):
    """One release has no past."""
    first = told(1e9)
    write_page(tmp_path, releases(first))
    assert not (tmp_path / PAGE).exists()

    write_page(tmp_path, releases(first, told(2e9, **scores())))

    text = (tmp_path / PAGE).read_text()
    heading = "On the last 9 rows that arrived, accuracy of the pool before was 0.750"
    assert heading in text
    assert "2 releases took 3.00 GFLOP" in text
    assert "not scored: no row arrived" in text


def test_the_page_refers_to_nothing_outside_and_escapes_text(tmp_path: Path):
    """A reason is whatever an error says."""
    story = told(1e9) | {"reason": "<script>alert(1)</script>"}
    write_page(tmp_path, releases(story, story))

    text = (tmp_path / PAGE).read_text()

    assert "<script" not in text
    assert not re.search(r'(src|href)="', text)


def test_scores_that_rows_do_not_define_are_left_out(tmp_path: Path):
    """Neither the table nor the plot needs them."""
    part = {"rows": 9, "score": None, "generalist": None}
    undefined = scores(**part, difference=None, running=[part], partitions=[])
    undefined["interval"] = {"low": None, "high": None}

    write_page(tmp_path, releases(told(1e9), told(2e9, **undefined), told(0.0, **scores())))

    assert (tmp_path / PAGE).read_text().count("<circle") == 3 + 2 + 2


CONTINUED = {
    "index": "../two/index.json",
    "specialist": "b" * 24,
    "weights": "model.safetensors",
    "point": {},
    "added": 1,
    "drawn": 1,
    "links": 1,
    "spent": 1.0,
    "mixing": {},
}
"""What an index says of a specialist that continues."""


class Releases:
    """Releases of one partition, with the ledgers that a release leaves."""

    def __init__(self, folder: Path) -> None:
        self.history = History(folder)
        self.root = folder

    def layout(self, release: str) -> Layout:
        """The files of a release, whose index has its name."""
        names = ("split", "transform", "encode", "embed", "cluster", "base", "baselines")
        fits = {name: f"f-{name}" for name in names}
        stages = (*names, "check", "specialists", "search", "choices", "router", "ask", "gate")
        made = {name: f"m-{name}" for name in (*stages, "pool", "evaluate", "sample", "drift")}
        return Layout(
            root=str(self.root),
            home=str(self.root),
            generation="g1",
            fits=fits,
            made=made | {"chosen": "", "prequential": ""},
            shards=(),
            points=("p",),
            index_id=release,
            release=release,
            refreshed=False,
            slots=(1,),
        )

    def publish(self, release: str, digest: str, **entry: Any) -> Any:
        """Make a release whose specialist is of this digest; what its record says of it."""
        layout = self.layout(release)
        part = partition_entry(
            0, specialist=digest, digests=dict.fromkeys(("train", "validation", "test"), digest)
        )
        index = partition_index(part | entry, root={"all": digest, "fit": digest, "train": digest})
        write_json(layout.index, index)
        for job in layout.jobs(index):
            for path in job.outputs if job.rule not in ("partition", "pool_publish") else ():
                if path.suffix == ".json" and not path.exists():
                    flops = {"train_specialist": 100.0, "train_router": 10.0}.get(job.rule, 1.0)
                    write_json(path, {"flops": flops, "detail": {"base": 1.0}})
        found = over_time(layout, self.history, [], DRIFT, "no row arrived")
        record = release_record(release, layout=layout.as_json(), rows=digest)
        winner = {"partition": 0, "train": digest, "validation": digest}
        winner["point"] = {"id": "p", "values": {}}
        self.history.withdraw()
        self.history.publish(record | {"winners": [winner], "over_time": found})
        return found["made"]


def test_a_release_costs_what_no_earlier_one_has(tmp_path: Path):
    """Fits once, a specialist and what follows it where its rows are others, an undo nothing."""
    made = Releases(tmp_path)

    first, second = made.publish("one", "a" * 24), made.publish("two", "b" * 24)
    again = made.publish("one", "a" * 24)

    assert first["flops"] > second["flops"] >= 110.0
    assert (first["trained"], second["trained"]) == (1, 1)
    assert (again["flops"], again["trained"]) == (0.0, 0)


def test_a_specialist_that_came_back_is_not_trained_again(tmp_path: Path):
    """It is known by its digest where the release before lacks it."""
    made = Releases(tmp_path)
    for release, digest in (("one", "a" * 24), ("two", "b" * 24)):
        made.publish(release, digest)

    found = made.publish("three", "a" * 24)

    assert found["trained"] == 0
    assert found["flops"] < 100.0


def test_specialists_that_wait_or_continue_are_counted_apart(tmp_path: Path):
    """By what the index says of them."""
    made = Releases(tmp_path)
    made.publish("one", "a" * 24)
    waiting = {"index": "i", "added": 1, "removed": 0, "share": 0.1}

    found = [
        made.publish("two", "a" * 24, waiting=waiting),
        made.publish("three", "c" * 24, continued=CONTINUED),
    ]

    names = ("trained", "continued", "waiting")
    assert [[each[name] for name in names] for each in found] == [[0, 0, 1], [0, 1, 0]]
