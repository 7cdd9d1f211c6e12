"""The last lines on the terminal of a run that fails are the reasons of the jobs that failed."""

from __future__ import annotations

import errno
import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from shoal.plan.failures import reasons
from shoal.plan.run_log import FailedJob
from shoal.workflow import start
from tests.workflow.test_mistakes import edit

if TYPE_CHECKING:
    from tests.workflow.small import Experiment


@pytest.mark.parametrize(
    "arguments",
    [("-c", "2"), ("--profile", "profiles/local"), ("-c", "2", "--logger", "shoal")],
    ids=" ".join,
)
def test_the_last_lines_are_the_reasons_of_the_jobs_that_failed(
    experiment: Experiment, arguments: tuple[str, ...]
):
    """Each once, whatever Snakemake tells around them and whoever listens."""
    edit(experiment.folder / "data" / "part-0.csv", 3, "b", "tall")
    edit(experiment.folder / "data" / "part-1.csv", 12, "a", "inf")

    result = experiment.snakemake(*arguments, "--keep-going", "--until", "split")

    *before, last, final = result.stderr.splitlines()
    assert result.returncode == 2
    assert {line.split(",")[0] for line in (last, final)} == {
        "shoal: error: data/part-0.csv: row 3",
        "shoal: error: data/part-1.csv: row 12",
    }
    assert not before[-1].startswith("shoal: error")


def failed(folder: Path, log: str | None, rule: str = "split") -> FailedJob:
    """A job that failed and left a log."""
    path = folder / "job.log"
    if log is not None:
        path.write_text(log)
    return FailedJob(rule, (folder / "g1" / "packs" / "s" / "0.json",), path, None)


@pytest.mark.parametrize(
    ("log", "reason", "is_mistake"),
    [
        ("Warning: x\nshoal: error: a.csv: empty\nmore\n", "^a.csv: empty$", True),
        (
            "Traceback …\nshoal: error: a bug in Shoal: KeyError: 'a'; please report it\n",
            "^a bug in Shoal: KeyError: 'a'; please report it$",
            False,
        ),
        ("bash: shoal: command not found\n", "^split: .*not found; its log: .*job.log$", False),
        ("", "^split: its job ended with an exit code; its log: .*job.log$", False),
        (None, "^split: its job ended with an exit code; its log: .*job.log$", False),
    ],
)
def test_every_failed_job_has_a_reason(
    tmp_path: Path, log: str | None, reason: str, is_mistake: bool
):
    """It is what its log tells; where a job was killed or did not start, which one it was."""
    (found,) = reasons([failed(tmp_path, log)])

    assert re.match(reason, found.text)
    assert found.is_mistake == is_mistake


def test_a_packs_reasons_are_those_of_its_members(tmp_path: Path):
    """A pack that failed itself has its own."""
    log = "a/1: failed, the loss is nan; its log: a.log\nb/1: failed, no file; its log: b.log\n"

    assert [r.text for r in reasons([failed(tmp_path, log, "train_pack")])] == [
        "the loss is nan",
        "no file",
    ]
    (own,) = reasons([failed(tmp_path, "shoal: error: a.json: empty", "train_pack")])
    assert own.text == "a.json: empty"


LOG = """\
Error in rule split:
    jobid: 3
    output: rows.parquet
    log: job.log (check log file(s) for error details)
"""


@pytest.fixture
def plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Plans of a run in which one job failed, and Snakemake's log of it."""
    monkeypatch.chdir(tmp_path)
    Path("job.log").write_text("shoal: error: a1b2: row 3 is empty\n")
    Path("snakemake.log").write_text(LOG)
    plan = SimpleNamespace(
        failed_file=Path("failed.json"),
        layout=SimpleNamespace(has_slot=lambda _: True, file=lambda _: Path("check.json")),
        logs=Path("logs"),
        shards={"a1b2": (Path("data/a.csv"), None)},
        is_on_cluster=False,
    )
    return SimpleNamespace(
        first=plan, all=[plan], is_main_process=True, write_out_logs=lambda: None
    )


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), KeyError("x")])
def test_what_cannot_be_recorded_does_not_hide_the_reason(
    plans: Any,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    """On a full disk, or through a bug, the hook says so first and ends with the job's reason."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(start, "record_failed", fail)

    with pytest.raises(SystemExit, match="2"):
        start.end_with_failures(plans, ["snakemake.log"])

    *before, last = capsys.readouterr().err.splitlines()
    assert last == "shoal: error: data/a.csv: row 3 is empty"
    assert before[-1].startswith(("shoal: no space left on device", "shoal: a bug in Shoal: KeyE"))


def test_where_snakemakes_log_was_cut_short_the_logs_of_jobs_are_asked(
    plans: Any, capsys: pytest.CaptureFixture[str]
):
    """It lies on the same disk, which may be full."""
    Path("snakemake.log").write_text(LOG[:20])
    Path("logs").mkdir()
    Path("job.log").rename("logs/job.log")

    with pytest.raises(SystemExit, match="2"):
        start.end_with_failures(plans, ["snakemake.log"])

    assert capsys.readouterr().err == "shoal: error: data/a.csv: row 3 is empty\n"


def test_a_job_that_snakemakes_log_does_not_show_has_its_reason_told_too(
    plans: Any, capsys: pytest.CaptureFixture[str]
):
    """Lines of jobs that fail at the same moment may be mixed up in Snakemake's log."""
    Path("logs").mkdir()
    Path("logs", "first.log").write_text(Path("job.log").read_text())
    Path("logs", "other.log").write_text("shoal: error: data/b.csv: row 9 is empty\n")

    with pytest.raises(SystemExit, match="2"):
        start.end_with_failures(plans, ["snakemake.log"])

    assert capsys.readouterr().err.splitlines() == [
        "shoal: error: data/a.csv: row 3 is empty",
        "shoal: error: data/b.csv: row 9 is empty",
    ]


def test_loggers_have_written_before_the_reasons_are_told(
    plans: Any, capsys: pytest.CaptureFixture[str]
):
    """A logger that is a moment behind writes no line after the reason."""
    plans.write_out_logs = lambda: sys.stderr.write("0:01  Exiting\n")

    with pytest.raises(SystemExit, match="2"):
        start.end_with_failures(plans, ["snakemake.log"])

    assert capsys.readouterr().err.splitlines() == [
        "0:01  Exiting",
        "shoal: error: data/a.csv: row 3 is empty",
    ]
