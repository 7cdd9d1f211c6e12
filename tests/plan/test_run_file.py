"""The settings file of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from shoal.errors import CorruptError, SettingsError
from shoal.formats.json_file import read_json, write_json
from shoal.plan.plan import Plan
from shoal.plan.run_file import RunFile
from tests.workflow.small import set_up

CONFIG = Path("config")


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """The plan of a run that has begun."""
    monkeypatch.chdir(set_up(tmp_path / "experiment").folder)
    plan = Plan("tiny", [], CONFIG)
    plan.write_records()
    return plan


def test_a_later_run_with_other_settings_leaves_the_file_of_an_earlier_one(plan: Plan):
    """A job of the earlier run that starts now still reads the settings that it began with."""
    before = plan.run_file.read_bytes()
    later = Plan("tiny", ["gate.confidence=0.8"], CONFIG)
    later.write_records()

    assert later.run_file != plan.run_file
    assert plan.run_file.read_bytes() == before
    assert RunFile(plan.run_file).section("gate") == plan.settings.gate
    assert RunFile(later.run_file).section("gate").confidence == 0.8


def test_the_same_settings_have_the_same_file(plan: Plan):
    """It is named by its content, and is not written again."""
    written = plan.run_file.stat().st_mtime_ns

    again = Plan("tiny", [], CONFIG)
    again.write_records()

    assert again.run_file == plan.run_file
    assert plan.run_file.stat().st_mtime_ns == written
    assert [path.name for path in plan.run_file.parent.iterdir()] == [plan.run_file.name]


def test_every_section_comes_back_as_it_was(plan: Plan):
    """Also those that are one of several kinds."""
    run = RunFile(plan.run_file)

    for name in ("sources", "split", "transform", "encode", "embed", "cluster", "search", "nodes"):
        assert run.section(name) == getattr(plan.settings, name)
    assert run.layout == plan.layout
    assert list(run.points) == list(plan.grid)
    assert {shard: run.source(shard) for shard in run.layout.shards} == plan.shards


def test_no_value_of_the_environment_enters_the_file(plan: Plan, monkeypatch: pytest.MonkeyPatch):
    """A setting cannot refer to it, so a token there can be in no results folder."""
    monkeypatch.setenv("TOKEN", "secret")

    with pytest.raises(SettingsError, match="a text may refer to one other setting"):
        Plan("tiny", ["sources.folder=${oc.env:TOKEN}"], CONFIG)


def test_a_file_that_is_not_what_its_run_wrote_is_one_line(plan: Plan):
    """It names the file, and what to do."""
    content = read_json(plan.run_file, dict)
    del content["points"]
    write_json(plan.run_file, content)

    with pytest.raises(CorruptError, match=rf"^{plan.run_file}: .*points.*remove it, and the next"):
        RunFile(plan.run_file)
