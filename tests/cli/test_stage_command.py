"""The commands that rules call."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from shoal.cli.stage_command import StageJob, _module, stage_parser
from shoal.formats.json_file import write_json
from shoal.plan.paths import is_list
from shoal.plan.plan import Plan
from shoal.plan.stages import STAGES, Stage
from tests.workflow.small import set_up

WILDCARDS = {
    "answers_id": "0123456789",
    "digest": "a" * 24,
    "step": 0,
    "partition": 0,
    "slot": "0123456789",
    "validation": "b" * 24,
    "pack": "0123456789",
    "after": "first",
    "from_copy": "0123456789",
    "threads": 2,
    "cluster": None,
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The settings file of a run that has begun."""
    monkeypatch.chdir(set_up(tmp_path / "experiment").folder)
    plan = Plan("tiny", [], Path("config"))
    plan.write_records()
    return plan.run_file


def ids(stage: Stage) -> str:
    return stage.name


@pytest.mark.parametrize("stage", STAGES.values(), ids=ids)
def test_a_command_takes_nothing_that_its_stage_does_not_have(run: Path, stage: Stage, monkeypatch):
    """Each parameter is an input or output, a section that is declared, or what a run says."""
    monkeypatch.setattr("shoal.plan.layout.Layout.read_index", lambda _: None)
    job = StageJob(
        stage,
        [run],
        {**WILDCARDS, "shard": next(iter(StageJob(stage, [run], {}).run.layout.shards))},
    )
    monkeypatch.setattr(
        "shoal.cli.stage_command.inputs",
        lambda _layout, stage, *_: {
            name: [Path("a")] * 3 if is_list(stage, each) else Path("a")
            for name, each in stage.inputs.items()
        },
    )
    monkeypatch.setattr(
        "shoal.cli.stage_command.outputs",
        lambda _layout, stage, *_: dict.fromkeys(stage.outputs, Path("b")),
    )
    if stage.per == "pack":
        write_json(job.run.layout.pack_members(WILDCARDS["pack"], stage.name), [])
    if stage.per == "previous":
        before = {"layout": job.run.layout.as_json(), "arrived": [], "reason": None}
        monkeypatch.setitem(job.run.record, "previous", before)
    command = getattr(_module(stage), stage.name)

    taken = {name: job.argument(name) for name in inspect.signature(command).parameters}

    others = [name for name in list(stage.outputs)[1:] if name not in stage.carried]
    assert set(taken) >= {f"{name}_out" for name in others}


def test_a_section_that_a_stage_does_not_declare_is_not_read(run: Path):
    """Its identity would not change with it."""
    job = StageJob(STAGES["transform_fit"], [run], {})

    assert job.section("transform").as_json()
    with pytest.raises(KeyError, match="transform_fit does not declare that it reads gate"):
        job.section("gate")


@pytest.mark.parametrize("stage", STAGES.values(), ids=ids)
def test_a_command_says_what_it_does_and_which_options_it_takes(stage: Stage):
    """Commands of rules are hidden, not secret."""
    text = stage_parser(stage).format_help()

    said = inspect.getdoc(getattr(import_module(f"shoal.{stage.module}"), stage.name))
    assert " ".join(said.split("\n\n")[0].split()) in " ".join(text.split())
    for option in ("settings", *stage.keys):
        assert f"--{option.replace('_', '-')}" in text


def test_a_job_imports_no_more_than_its_work_needs():
    """Not torch to encode rows, nor what composes settings."""
    script = (
        "import sys; sys.argv = ['shoal', 'encode', '--help']\n"
        "from shoal.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = ('torch', 'hydra', 'typer', 'snakemake', 'rich', 'optuna')\n"
        "print([name for name in heavy if name in sys.modules])"
    )

    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert result.stdout.splitlines()[-1] == "[]"
