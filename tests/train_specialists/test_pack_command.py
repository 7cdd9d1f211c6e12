"""What a pack does about members that are there, that fail, and that took a process with them."""

import os
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shoal.errors import ModelError
from shoal.formats.hashing import file_hash
from shoal.formats.json_file import read_json
from shoal.train_specialists.pack_command import Work, train_pack

MEMBERS = ["aaaa/1111", "bbbb/1111", "bbbb/2222"]


@pytest.fixture
def work(tmp_path: Path) -> Any:
    """Work whose settings no stand-in for a training looks at."""
    path = tmp_path / "unused"
    grid: dict[str, dict[str, Any]] = {"1111": {}, "2222": {}}
    folders = tmp_path / "made", tmp_path / "logs"
    return Work(None, None, grid, path, path, path, *folders, lambda *_: False, 1, 60)  # type: ignore[arg-type]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch):
    """Replaces training: notes whose turn it is, writes two files, fails for some digests."""
    turns: list[str] = []
    failing: dict[str, Exception] = {}

    def train(model, training, point, index, digest, base, shapes, out, ledger, seconds):
        turns.append(f"{out.parent.parent.name}/{out.parent.name}")
        os.write(1, f"training {digest}\n".encode())
        if digest in failing:
            raise failing[digest]
        for path in (out, ledger):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(digest)

    monkeypatch.setattr("shoal.train_specialists.command.train_specialist", train)
    return turns, failing


def run(*arguments: Any) -> list[str]:
    """Train a pack; Python writes to the process's own standard error, as outside of pytest."""
    with open(2, "w", closefd=False) as own, redirect_stderr(own):
        return train_pack(*arguments)


def test_the_status_has_the_hash_of_every_members_files(work, trained, tmp_path):
    """Members train in the order given; the status comes last and says what they are."""
    turns, _ = trained
    status = tmp_path / "status.json"

    assert run(work, MEMBERS, status) == []

    assert turns == MEMBERS
    made = {str(work.specialists / member): work.files(member) for member in MEMBERS}
    assert read_json(status, Any) == {
        member: {path.name: file_hash(path) for path in paths} for member, paths in made.items()
    }


def test_members_that_are_there_are_not_trained_again(work, trained, tmp_path):
    """A pack that was killed goes on where it was; one file of two is no specialist."""
    turns, _ = trained
    run(work, MEMBERS[:2], tmp_path / "first.json")
    work.files(MEMBERS[1])[0].unlink()
    turns.clear()

    assert run(work, MEMBERS, tmp_path / "second.json") == []

    assert sorted(turns) == MEMBERS[1:]


def test_a_member_that_was_trained_before_is_recovered(work, trained, tmp_path):
    """It is asked for by its files, the base and its grid point, and not trained."""
    turns, _ = trained

    def recover(weights, ledger, base, point):
        if weights.parent.parent.name == "bbbb" or (base, point) != (work.base, {}):
            return False
        for path in (weights, ledger):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return True

    assert run(replace(work, recover=recover), MEMBERS, tmp_path / "status.json") == []

    assert turns == MEMBERS[1:]


def test_a_failed_member_stops_no_other_and_leaves_no_status(work, trained, tmp_path, capfd):
    """It is in its own log as if it had run alone, and in one line of the pack's."""
    turns, failing = trained
    failing["bbbb"] = ModelError("the loss became nan")

    assert run(work, ["bbbb/1111", "aaaa/1111"], tmp_path / "status.json") == ["bbbb/1111"]

    assert turns == ["bbbb/1111", "aaaa/1111"]
    assert work.is_done("aaaa/1111")
    assert not (tmp_path / "status.json").exists()
    log = (tmp_path / "logs" / "bbbb" / "1111.log").read_text().splitlines()
    assert log == ["training bbbb", "shoal: error: the loss became nan"]
    lines = capfd.readouterr().err.splitlines()
    assert lines[0].startswith("bbbb/1111: failed, the loss became nan; its log: ")
    assert lines[1].startswith("aaaa/1111: done in ")


def test_a_bug_in_the_users_model_is_a_traceback_in_the_members_log(work, trained, tmp_path):
    """What is no mistake that Shoal knows keeps its traceback, and stops no other member."""
    _, failing = trained
    failing["aaaa"] = RuntimeError("shapes do not match")

    assert run(work, MEMBERS, tmp_path / "status.json") == ["aaaa/1111"]

    log = (tmp_path / "logs" / "aaaa" / "1111.log").read_text()
    assert "Traceback" in log
    assert "RuntimeError: shapes do not match" in log
    assert work.is_done("bbbb/2222")


def test_a_member_that_took_its_process_with_it_trains_last(work, trained, tmp_path):
    """Its log is there and its files are not: the others get their turn first."""
    turns, failing = trained
    failing["aaaa"] = KeyboardInterrupt()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        run(work, MEMBERS, tmp_path / "status.json")
    failing.clear()
    turns.clear()

    run(work, MEMBERS, tmp_path / "status.json")

    assert turns == [*MEMBERS[1:], MEMBERS[0]]


def test_random_generators_are_given_back_as_they_were(work, trained, tmp_path, monkeypatch):
    """Every member finds the state of a process in which nothing was trained."""
    import numpy as np
    import torch

    seen = []

    def draw(*_: Any) -> None:
        legacy = np.random.random()  # noqa: NPY002 - a user's model may use the global one
        seen.append((torch.rand(1).item(), legacy, torch.get_default_dtype()))
        torch.manual_seed(9)
        torch.set_default_dtype(torch.float64)
        raise ModelError("enough")

    monkeypatch.setattr("shoal.train_specialists.command.train_specialist", draw)

    run(work, MEMBERS, tmp_path / "status.json")

    assert len(set(seen)) == 1
    assert torch.get_default_dtype() is torch.float32
