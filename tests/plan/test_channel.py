"""Which copy a plan's copy follows, and from which copies there are patches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shoal.plan.channel import BASES, FIRST, copy_of
from shoal.plan.history import HISTORY
from shoal.plan.plan import Plan
from tests.documents import partition_index
from tests.workflow.small import set_up

INDEX = partition_index(root={"all": "e" * 24, "fit": "f" * 24, "train": "0" * 24})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a small experiment, which is the current one."""
    found = set_up(tmp_path / "experiment").folder
    monkeypatch.chdir(found)
    return found


def planned(*overrides: str) -> Plan:
    """The experiment's plan."""
    return Plan("tiny", list(overrides), Path("config"))


def release(plan: Plan, *, there: bool = True) -> dict[str, Any]:
    """Record a release of a plan, as publishing does; its copy, where that has one."""
    record: dict[str, Any] = {
        **plan.record["plan"],
        "rows": "f" * 24,
        "released": [],
        "published": "2026-01-01T00:00:00",
    }
    if plan.layout.after:
        record["copy"] = copy_of(plan.layout, INDEX)
        manifest = Path(record["copy"]["manifest"])
        if there:
            manifest.parent.mkdir(parents=True, exist_ok=True)
            manifest.write_text("{}")
    with (plan.root / HISTORY).open("a") as file:
        file.write(json.dumps(record, sort_keys=True, separators=(",", ":")) + "\n")
    return record


def changed(number: int) -> None:
    """Other rows."""
    with Path("data/part-0.csv").open("a") as file:
        file.write(f"more-{number},1,1,x,,{'yes' if number % 2 else 'no'}\n")


def test_there_is_no_channel_unless_it_is_asked_for(folder):
    """By default no job is about copies, and the release is what it was."""
    plan, other = planned(), planned("deploy=exact")

    rules = {job.rule for job in plan.layout.later_jobs(INDEX)}
    assert not any(rule.startswith("deploy") for rule in rules)
    assert "channel" not in plan.record
    assert {job.rule for job in other.layout.later_jobs(INDEX)} - rules == {"deploy_copy"}
    assert plan.layout.release != other.layout.release


def test_a_copy_follows_the_one_of_the_release_before(folder):
    """The first one follows none, and planned again it is what it was; other rows give the next."""
    plan = planned("deploy=exact")
    plan.root.mkdir(parents=True, exist_ok=True)
    assert (plan.layout.after, plan.layout.bases) == (FIRST, ())
    first = release(plan)["copy"]

    again = planned("deploy=exact")
    changed(0)
    later = planned("deploy=exact")

    assert (again.layout.after, again.layout.bases) == (FIRST, ())
    assert copy_of(again.layout, INDEX) == first
    assert (later.layout.after, later.layout.bases) == (first["id"], (first["id"],))
    assert later.record["channel"] == {
        "before": first["manifest"],
        "bases": {first["id"]: first["manifest"]},
    }
    assert copy_of(later.layout, INDEX)["id"] != first["id"]
    patches = [job for job in later.layout.later_jobs(INDEX) if job.rule == "deploy_patch"]
    assert [job.wildcards["from_copy"] for job in patches] == [first["id"]]


def test_another_release_of_the_same_pool_has_the_same_copy(folder):
    """Its pool is what was deployed."""
    plan = planned("deploy=exact")
    plan.root.mkdir(parents=True, exist_ok=True)
    first = release(plan)["copy"]

    other = planned("deploy=exact", "changes.on_drift=retrain")

    assert other.layout.release != plan.layout.release
    assert other.layout.after == FIRST
    assert copy_of(other.layout, INDEX) == first


def test_other_settings_of_the_channel_make_the_next_copy(folder):
    """Devices hold the last copy, whatever made it."""
    plan = planned("deploy=exact")
    plan.root.mkdir(parents=True, exist_ok=True)
    first = release(plan)["copy"]

    assert planned("deploy=grid").layout.after == first["id"]
    assert planned().layout.after == ""


def test_patches_are_from_the_last_eight_copies_that_are_there(folder):
    """A channel goes on for long; what was removed has no patch."""
    plan = planned("deploy=exact")
    plan.root.mkdir(parents=True, exist_ok=True)
    ids = []
    for number in range(BASES + 3):
        changed(number)
        ids.append(release(planned("deploy=exact"), there=number != 9)["copy"]["id"])
    changed(99)

    layout = planned("deploy=exact").layout

    assert layout.after == ids[-1]
    assert list(layout.bases) == [each for each in ids[::-1] if each != ids[9]][:BASES]


def test_a_chain_whose_last_copy_is_gone_begins_anew(folder):
    """A copy cannot be made from what is not there."""
    plan = planned("deploy=exact")
    plan.root.mkdir(parents=True, exist_ok=True)
    release(plan, there=False)
    changed(0)

    assert planned("deploy=exact").layout.after == FIRST


def test_the_index_depends_on_the_copy_that_models_start_from(folder):
    """The run is told the last release's copy; without it, and by default, they start elsewhere."""
    asked = ("continuing=proactive", "continuing.buffers=frozen", "deploy=grid")
    deployed = (*asked, "deploy.train_on=deployed")
    plan = planned(*deployed)
    plan.layout.index.parent.mkdir(parents=True)
    plan.layout.index.touch()
    copy = release(plan)["copy"]
    changed(0)

    later, default = planned(*deployed), planned(*asked)
    Path(copy["manifest"]).unlink()
    gone = planned(*deployed)

    assert later.before is not None
    assert later.before["copy"] == copy
    for other in (default, gone):
        assert other.before is not None
        assert "copy" not in other.before
    assert len({each.layout.index_id for each in (later, default, gone)}) == 3
    assert later.layout.made["specialists"] == default.layout.made["specialists"]
