"""Looking at source files: what has settled, when something is planned, and what failures do."""

from __future__ import annotations

import fcntl
import os
import sys
import time
from typing import TYPE_CHECKING, Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from shoal.errors import ShoalError
from shoal.operate.follow import RETRIES, Follow, follow
from shoal.operate.settling import Settling
from shoal.sources.shards import Mark, mark_of

if TYPE_CHECKING:
    from pathlib import Path

DECIDES = """
import json, sys
from pathlib import Path
marks = json.load(sys.stdin)
with Path("plans.txt").open("a") as file:
    print(*(Path(name).name for name in marks), file=file)
print(json.dumps({"command": None, "sentence": "nothing to do", "again": False}))
"""
FAILS = "import sys; print('shoal: error: no room', file=sys.stderr); sys.exit(2)"


@pytest.fixture
def project(tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch):
    """A folder with source files, followed until it has slept so many times."""

    class Project:
        folder = tmp_path
        data = tmp_path / "data"

        def __init__(self) -> None:
            self.data.mkdir()
            for name in ("a.csv", "b.csv"):
                self.write(name)

        def write(self, name: str, rows: int = 3) -> None:
            (self.data / name).write_text("x,y\n" + "1,a\n" * rows)

        def follow(self, script: str, meanwhile: Any = None, looks: int = 12, **changes: Any):
            """Sentences of a follower; ``meanwhile`` is called with the number of each pause."""
            pauses: list[float] = []

            def pause(seconds: float) -> None:
                pauses.append(seconds)
                clock.append(clock[-1] + seconds)
                if len(pauses) == looks:
                    raise KeyboardInterrupt
                if meanwhile is not None:
                    meanwhile(len(pauses))

            monkeypatch.setattr(time, "sleep", pause)
            sources = {"folder": str(self.data), "files": ["*.csv"], "columns": {}}
            content = {"sources": {**DEFAULTS, **sources}}
            command = [sys.executable, "-c", script]
            how = {"every": 10, "settle": 3, "once": False} | changes
            said = []
            asked = Follow(tmp_path / "results", lambda: content, command, **how)
            try:
                said.extend(follow(asked))
            except KeyboardInterrupt:
                said.append("interrupted")
            return said, pauses

        def plans(self) -> list[str]:
            path = tmp_path / "plans.txt"
            return path.read_text().splitlines() if path.exists() else []

    monkeypatch.chdir(tmp_path)
    return Project()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Times in seconds, of which the last one is now."""
    times = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: times[-1])
    return times


DEFAULTS: dict[str, Any] = {
    "undeclared": "infer",
    "images": {"size": None, "channels": None},
    "shuffle_labels": False,
    "batch_rows": 10,
}


def test_a_file_settles_when_it_has_stayed_as_it_is(tmp_path: Path, clock: list[float]):
    """By its size, times and number, whatever the clock of the file system says."""
    path = tmp_path / "a.csv"
    path.write_text("x")
    files: Settling[Path, Mark] = Settling(10)
    files.look({path: mark_of(path)}, [])
    assert (files.settled(), files.moving()) == ({}, {path: 10})
    clock.append(9)
    path.write_text("xy")
    os.utime(path, (0, 0))
    files.look({path: mark_of(path)}, [])
    clock.append(18)
    files.look({path: mark_of(path)}, [])
    assert (files.settled(), files.moving()) == ({}, {path: 1})
    clock.append(19)

    files.look({path: mark_of(path)}, [])

    assert list(files.settled()) == [path]
    assert files.moving() == {}


def test_nothing_is_planned_while_nothing_changes(project):
    """One plan when it starts, and none in ten looks after."""
    said, _ = project.follow(DECIDES)

    assert said[1:] == ["plans with 2 files", "nothing to do", "interrupted"]
    assert project.plans() == ["a.csv b.csv"]


def test_a_file_that_is_being_written_holds_no_other_back(project):
    """It is left out until it has settled."""

    def meanwhile(number: int) -> None:
        if number == 4:
            project.write("c.csv")
        if 4 <= number < 14:
            project.write("d.csv", number)

    project.follow(DECIDES, meanwhile, looks=24)

    assert project.plans() == ["a.csv b.csv", "a.csv b.csv c.csv", "a.csv b.csv c.csv d.csv"]


def test_a_known_file_that_is_being_replaced_is_waited_for(project):
    """Its rows are never taken for removed, be it half written or gone for a moment."""

    def meanwhile(number: int) -> None:
        if number == 4:
            (project.data / "a.csv").unlink()
            project.write("c.csv")
        if number == 5:
            project.write("a.csv", 9)

    said, _ = project.follow(DECIDES, meanwhile, looks=16)

    assert project.plans() == ["a.csv b.csv", "a.csv b.csv c.csv"]
    assert any(sentence.startswith("waits until ") for sentence in said)


def test_a_file_that_stays_away_is_gone(project):
    """Then the others are planned without it."""

    def meanwhile(number: int) -> None:
        if number == 4:
            (project.data / "a.csv").unlink()

    said, _ = project.follow(DECIDES, meanwhile)

    assert project.plans() == ["a.csv b.csv", "b.csv"]
    assert f"plans with gone: {project.data / 'a.csv'}" in said


def test_what_fails_is_tried_again_after_growing_pauses_and_then_said(project, capsys):
    """The exit code is that of the last try; files that settle meanwhile change nothing of that."""
    with pytest.raises(SystemExit) as ended:
        project.follow(FAILS, looks=99, settle=0)

    assert ended.value.code == 2
    assert capsys.readouterr().err == "shoal: error: no room\n"


def test_the_pauses_double(project):
    """From the time between looks."""
    said, pauses = project.follow(FAILS, looks=RETRIES + 1, settle=0)

    assert pauses[1:] == [10 * 2**number for number in range(RETRIES)]
    assert said[2] == "failed, tries again in 10.0 s, 1 of 5: no room"


def test_a_url_that_does_not_answer_is_tried_again_after_growing_pauses(project, monkeypatch):
    """Nothing is planned meanwhile; afterwards all is as it was, and what came there comes here."""
    there, real = fsspec.filesystem("memory"), MemoryFileSystem.ls
    there.pipe_file("/followed/c.csv", b"x,y\n1,a\n")

    def ls(self: MemoryFileSystem, path: str, detail: bool = True) -> Any:
        if away:
            raise ConnectionRefusedError(111, "Connection refused")
        return real(self, path, detail)

    def meanwhile(number: int) -> None:
        if number == 4:
            there.pipe_file("/followed/d.csv", b"x,y\n1,a\n")
            project.write("own.csv")
            away.append(True)
        if number == 7:
            away.clear()

    away: list[bool] = []
    monkeypatch.setattr(MemoryFileSystem, "ls", ls)
    said, pauses = project.follow(DECIDES, meanwhile, looks=12, url="memory://followed")

    failed = [sentence for sentence in said if sentence.startswith("failed, tries again in ")]
    assert [sentence.split(": ", 1)[1] for sentence in failed] == [
        "memory://followed: connection refused"
    ] * 3
    assert pauses[4:7] == [10, 20, 40]
    assert project.plans() == ["a.csv b.csv c.csv", "a.csv b.csv c.csv d.csv own.csv"]


def test_what_comes_from_a_url_has_settled_there(project):
    """So `--once` looks twice, as ever, and needs no third look."""
    fsspec.filesystem("memory").pipe_file("/settled/c.csv", b"x,y\n1,a\n")

    said, pauses = project.follow(DECIDES, once=True, url="memory://settled")

    assert said[:2] == ["brings c.csv from memory://settled", "plans with 3 files"]
    assert pauses == [3]


def test_once_is_one_try(project):
    """For cron, which tries again by itself."""
    with pytest.raises(SystemExit) as ended:
        project.follow(FAILS, once=True)
    assert ended.value.code == 2

    said, pauses = project.follow(DECIDES, once=True)

    assert said == ["plans with 2 files", "nothing to do"]
    assert pauses == [3]


def test_a_run_in_progress_is_waited_for(project):
    """Somebody else's, or one that outlived the follower that started it."""
    held = project.folder / "results" / ".running"
    held.parent.mkdir()
    with held.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_SH)

        def meanwhile(number: int) -> None:
            if number == 4:
                assert project.plans() == []
                fcntl.flock(file, fcntl.LOCK_UN)

        said, _ = project.follow(DECIDES, meanwhile)

    assert said[1:3] == ["waits for the end of a run that is in progress", "plans with 2 files"]
    assert project.plans() == ["a.csv b.csv"]


def test_two_do_not_follow_one_experiment(project):
    """The second one ends in one line."""

    def second(number: int) -> None:
        if number == 3:
            project.follow(DECIDES)

    with pytest.raises(ShoalError, match="results: another `shoal follow` looks after it"):
        project.follow(DECIDES, second)
