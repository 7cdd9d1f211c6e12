"""The command ``follow``: real files that arrive, real runs, and faults in the middle of them."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pandas as pd
import psutil

from shoal.plan.running import is_running
from shoal.sources.shards import mark_of
from tests.workflow.small import write_rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.workflow.small import Experiment
    from tests.workflow.warm import Server

WRITER = """
import sys, time
source, target = sys.argv[1:]
content = open(source, "rb").read()
size = len(content) // 12
with open(target, "wb", buffering=0) as file:
    for start in range(0, len(content), size):
        file.write(content[start : start + size])
        time.sleep(0.7)
"""
ENDS = 120
"""Seconds within which a follower that is interrupted has ended."""
SOON = ("--every", "0.4", "--settle", "1", "--cores", "2")
LONG = (
    "train_specialists.rows_seen=1000000000",
    "train_specialists.base_share=0.000001",
    "compute.checkpoint_seconds=0.1",
)
"""Settings by which a specialist trains for hours."""
SLOWLY = ("--every", "0.4", "--settle", "3", "--cores", "2")


@contextmanager
def following(experiment: Experiment, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A follower; an interrupt ends it with the block if it has not ended by itself."""
    process = subprocess.Popen(
        ["shoal", "follow", "tiny", *options],
        cwd=experiment.folder,
        env=experiment.environment(PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=ENDS)
        finally:
            process.kill()


def read_until(process: subprocess.Popen[str], words: str) -> list[str]:
    """Lines up to the one that holds some words."""
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line.strip())
        if words in line:
            return lines
    assert process.stderr is not None
    raise AssertionError(f"{lines} {process.stderr.read()}")


def marks(experiment: Experiment, *left_out: str) -> str:
    """Files that have settled, as ``follow-plan`` takes them."""
    here = experiment.folder
    paths = sorted(path for path in (here / "data").glob("*.csv") if path.name not in left_out)
    return json.dumps({str(path.relative_to(here)): mark_of(path) for path in paths})


def decided(experiment: Experiment, told: str, *options: str) -> dict[str, Any]:
    """What ``follow-plan`` decides."""
    done = subprocess.run(
        ["shoal", "follow-plan", "tiny", "--settle", "0", "--cores", "2", *options],
        input=told,
        cwd=experiment.folder,
        env=experiment.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    decision: dict[str, Any] = json.loads(done.stdout)
    return decision


def contents_read(experiment: Experiment, name: str) -> set[str]:
    """Shards of a source file in all plans that any run was of."""
    records = (experiment.folder / "results" / "tiny" / "settings").glob("*.json")
    sources = [json.loads(path.read_text())["sources"] for path in records]
    return {shard for each in sources for shard, file in each.items() if file["path"] == name}


def test_a_half_written_upload_is_never_read(copied: Experiment, tmp_path: Path):
    """A slow writer's file is planned and read once it is whole, and then it is published."""
    write_rows(tmp_path / "part-3.csv", 3)
    target = copied.folder / "data" / "part-3.csv"
    with following(copied, *SLOWLY) as follower:
        read_until(follower, "nothing to do")
        command = [sys.executable, "-c", WRITER, str(tmp_path / "part-3.csv"), str(target)]
        subprocess.run(command, check=True)
        lines = read_until(follower, "the run has ended well")

    assert [line for line in lines if "plans with new: data/part-3.csv" in line]
    whole = hashlib.sha256(target.read_bytes()).hexdigest()[:12]
    assert contents_read(copied, "data/part-3.csv") == {whole}
    assert sum(copied.metrics()["rows"].values()) == 600
    assert copied.plan() == []


def test_files_come_from_a_url(copied: Experiment, tmp_path: Path):
    """One that is new there, in one go; the user's own stay."""
    write_rows(tmp_path / "part-3.csv", 3)
    url = f"file://{tmp_path}"

    done = copied.shoal("follow", "tiny", *SOON, "--once", "--from", url)

    assert done.returncode == 0, done.stderr
    said = [line.split(" tiny: ")[-1] for line in done.stdout.splitlines()]
    assert said[:2] == [f"brings part-3.csv from {url}", "plans with 4 files"]
    assert said[-1] == "the run has ended well"
    assert sum(copied.metrics()["rows"].values()) == 600

    (tmp_path / "part-0.csv").write_text("another one")
    own = (copied.folder / "data" / "part-0.csv").read_bytes()
    done = copied.shoal("follow", "tiny", *SOON, "--once", "--from", url)
    assert done.returncode == 2
    assert done.stderr.startswith("shoal: error: data/part-0.csv: is here and did not come from ")
    assert (copied.folder / "data" / "part-0.csv").read_bytes() == own


def test_a_run_is_of_the_settled_files_alone(copied: Experiment):
    """The others wait; a plain run takes them up later, and repeats nothing."""
    write_rows(copied.folder / "data" / "part-3.csv", 3)
    (copied.folder / "data" / "part-4.csv").write_text("id,a,b,town,note,label\nx,0.1,0.")

    decision = decided(copied, marks(copied, "part-4.csv"))
    run = subprocess.run(
        decision["command"], cwd=copied.folder, env=copied.environment(), check=False
    )

    assert run.returncode == 0
    assert sum(copied.metrics()["rows"].values()) == 600
    assert contents_read(copied, "data/part-4.csv") == set()
    settings = json.loads((copied.folder / "results/tiny/settings.json").read_text())
    assert settings["sources"]["files"] == ["*.csv"]
    (copied.folder / "data" / "part-4.csv").unlink()
    assert copied.plan() == []


def test_conditions_hold_a_run_back(copied: Experiment):
    """Few rows, rows like those before, and a run that costs too much; each by itself."""
    path = copied.folder / "data" / "part-3.csv"
    write_rows(path, 3, rows=80)
    told = marks(copied)

    assert decided(copied, told, "--rows", "80")["command"] is not None
    for options, reason in (
        (["--rows", "81"], "waits: 80 rows came or went, 81 start a run"),
        (["--drift"], "waits: 80 rows came or went, they do not differ from those of the release"),
        (["--most-cost", "0.01"], "waits: this run would cost "),
    ):
        decision = decided(copied, told, *options)
        assert decision["command"] is None
        assert decision["sentence"].startswith(reason)

    rows = pd.read_csv(path)
    rows.assign(a=rows["a"] + 5, b=rows["b"] - 5).to_csv(path, index=False)
    assert decided(copied, marks(copied), "--rows", "81", "--drift")["command"] is not None


def test_a_file_that_changed_since_it_was_looked_at_is_not_planned(copied: Experiment):
    """It is to settle again first."""
    told = marks(copied)
    path = copied.folder / "data" / "part-0.csv"
    path.write_text(path.read_text() + "late,0.1,0.2,north,-,yes\n")

    decision = decided(copied, told)

    assert (decision["command"], decision["again"]) == (None, True)
    assert decision["sentence"].startswith("data/part-0.csv: changed while the plan read it")


def test_a_file_that_changes_during_the_run_stops_it_in_one_line(copied: Experiment):
    """And nothing of it is used, neither what was planned nor what came."""
    path = copied.folder / "data" / "part-3.csv"
    write_rows(path, 3)
    told = marks(copied)
    with path.open("a") as file:
        file.write("late,0.1,0.2,north,-,yes\n")
    (copied.folder / "marks.json").write_text(told)
    before = sorted(copied.generation.rglob("split/*/rows/*/*"))
    changed = json.loads(told)
    changed["data/part-3.csv"] = list(mark_of(path) or ())
    decision = decided(copied, json.dumps(changed), "--rows", "9")
    for table in set(copied.generation.rglob("split/*/rows/*/*")) - set(before):
        table.unlink()  # as if the file had not been read for the index
    for index in copied.generation.rglob("indexes/*/index.json"):
        index.unlink()
    with path.open("a") as file:
        file.write("later,0.1,0.2,north,-,yes\n")

    run = subprocess.run(
        decision["command"],
        cwd=copied.folder,
        env=copied.environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    reasons = [line for line in run.stderr.splitlines() if line.startswith("shoal: error: ")]
    assert reasons == [
        "shoal: error: data/part-3.csv: changed while the run read it; start the run again"
    ]
    assert run.returncode == 2
    assert sorted(copied.generation.rglob("split/*/rows/*/*")) == before


def test_an_interrupt_ends_the_run_in_the_midst_of_a_training(copied: Experiment, warm: Server):
    """Ctrl-C reaches the training, so nothing of the run goes on; no traceback, no release."""
    root, published = copied.folder / "results" / "tiny", copied.metrics()
    copied.programs = without_snakemake(warm, copied.folder / "programs")
    write_rows(copied.folder / "data" / "part-3.csv", 3)
    with following(copied, *SOON, *LONG) as follower:
        wait_for_a_checkpoint(copied)
        assert is_running(root)
        follower.send_signal(signal.SIGINT)
        _, said = follower.communicate(timeout=ENDS)

    assert (follower.returncode, said) == (130, "")
    assert not is_running(root)
    assert processes_in(copied.folder) == []
    assert not list((copied.folder / ".snakemake" / "locks").glob("*"))
    assert copied.metrics() == published


def test_it_goes_on_after_a_power_cut(copied: Experiment, warm: Server):
    """The lock that was left is found and removed, and the run is made."""
    locks = copied.folder / ".snakemake" / "locks"
    write_rows(copied.folder / "data" / "part-3.csv", 3)
    with following(copied, *SOON, *LONG) as follower:
        wait_for_a_checkpoint(copied)
        os.kill(follower.pid, signal.SIGKILL)
        warm.kill_all()
    assert any(locks.iterdir())

    done = copied.shoal("follow", "tiny", *SOON, "--once")

    assert done.returncode == 0, done.stderr
    assert "left its lock; no run is in progress, so the lock is removed" in done.stdout
    assert sum(copied.metrics()["rows"].values()) == 600
    assert copied.plan() == []


def without_snakemake(warm: Server, folder: Path) -> Path:
    """Programs of which ``snakemake`` is a process of its own, in one group with its jobs."""
    folder.mkdir()
    (folder / "shoal").symlink_to(warm.bin / "shoal")
    return folder


def wait_for_a_checkpoint(experiment: Experiment) -> None:
    """Wait until a model is in training; it would be for hours."""
    while not list(experiment.generation.rglob("*.checkpoint.safetensors")):
        time.sleep(0.05)


def processes_in(folder: Path) -> list[str]:
    """Commands that run in a folder."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cwd() == str(folder):
                found.append(" ".join(process.cmdline()))
    return found
