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
from shoal.train_specialists.budget import Trials
from shoal.train_specialists.command import Common
from shoal.train_specialists.pack_command import Work, train_members
from tests.documents import plain_steps

NAMES = ["aaaa/0/1111", "bbbb/0/1111", "bbbb/0/2222"]


@pytest.fixture
def work(tmp_path: Path) -> Any:
    """Work whose settings no stand-in for a training looks at."""
    path, steps = tmp_path / "unused", plain_steps()
    path.touch()
    never = lambda *_: False  # noqa: E731 - a store that has nothing
    common = Common(None, None, path, path, path, (), Trials(1, 1), 60)  # type: ignore[arg-type]
    return Work(common, steps, never, 1)


@pytest.fixture
def members(tmp_path: Path) -> list[Any]:
    """Three members, as a plan writes them."""
    return [member(tmp_path, name) for name in NAMES]


def member(tmp_path: Path, name: str) -> Any:
    digest, step, slot = name.split("/")
    found = {"folder": str(tmp_path / "made" / "id" / name), "digest": digest, "step": int(step)}
    found |= {"slot": slot, "point": {"lr": slot}, "decision": None, "states": {}}
    return found | {"log": str(tmp_path / "logs" / "id" / f"{name}.log")}


def names(members: list[Any]) -> list[str]:
    return ["/".join(Path(each["folder"]).parts[-3:]) for each in members]


def is_done(work: Work, member: Any) -> bool:
    return all(path.exists() for path in work.files(member))


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch):
    """Replaces training: notes whose turn it is, writes two files, fails for some digests."""
    turns: list[str] = []
    failing: dict[str, Exception] = {}

    class Stand:
        """A slot that trains without lanes."""

        lean = None

        def __init__(self, common, candidate, digest, out, ledger_out):
            assert candidate.point == {"lr": out.parent.name}
            turns.append("/".join(out.parts[-4:-1]))
            os.write(1, f"training {digest}\n".encode())
            self._digest, self._paths = digest, (out, ledger_out)

        def train(self):
            """Fail, or write the files."""
            if self._digest in failing:
                raise failing[self._digest]
            for path in self._paths:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(self._digest)

    monkeypatch.setattr("shoal.train_specialists.command.Slot", Stand)
    return turns, failing


def run(*arguments: Any) -> list[Any]:
    """Train a pack; Python writes to the process's own standard error, as outside of pytest."""
    with open(2, "w", closefd=False) as own, redirect_stderr(own):
        return train_members(*arguments)


def test_the_status_has_the_hash_of_every_members_files(work, members, trained, tmp_path):
    """Members train in the order given; the status comes last and says what they are."""
    turns, _ = trained
    status = tmp_path / "status.json"

    assert run(work, members, status) == []

    assert turns == NAMES
    made = {member["folder"]: work.files(member) for member in members}
    assert read_json(status, Any) == {
        member: {path.name: file_hash(path) for path in paths} for member, paths in made.items()
    }


def test_members_that_are_there_are_not_trained_again(work, members, trained, tmp_path):
    """A pack that was killed goes on where it was; one file of two is no specialist."""
    turns, _ = trained
    run(work, members[:2], tmp_path / "first.json")
    work.files(members[1])[0].unlink()
    turns.clear()

    assert run(work, members, tmp_path / "second.json") == []

    assert sorted(turns) == NAMES[1:]


def test_a_member_that_was_trained_before_is_recovered(work, members, trained, tmp_path):
    """It is asked for by its rows, its candidate and files, and not trained."""
    turns, _ = trained

    def recover(digest, candidate, weights, ledger):
        if digest == "bbbb" or candidate.point != {"lr": "1111"}:
            return False
        for path in (weights, ledger):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return True

    assert run(replace(work, recover=recover), members, tmp_path / "status.json") == []

    assert turns == NAMES[1:]


def test_a_failed_member_stops_no_other_and_leaves_no_status(
    work, members, trained, tmp_path, capfd
):
    """It is in its own log as if it had run alone, and in one line of the pack's."""
    turns, failing = trained
    failing["bbbb"] = ModelError("the loss became nan")

    first, second = members[1::-1]

    assert run(work, [first, second], tmp_path / "status.json") == [first]

    assert turns == ["bbbb/0/1111", "aaaa/0/1111"]
    assert is_done(work, second)
    assert not (tmp_path / "status.json").exists()
    log = (tmp_path / "logs/id/bbbb/0/1111.log").read_text().splitlines()
    assert log == ["training bbbb", "shoal: error: the loss became nan"]
    lines = capfd.readouterr().err.splitlines()
    assert lines[0].startswith(f"{first['folder']}: failed, the loss became nan; its log: ")
    assert lines[1].startswith(f"{second['folder']}: done in ")


def test_a_bug_in_the_users_model_is_a_traceback_in_the_members_log(
    work, members, trained, tmp_path
):
    """What is no mistake that Shoal knows keeps its traceback, and stops no other member."""
    _, failing = trained
    failing["aaaa"] = RuntimeError("shapes do not match")

    assert run(work, members, tmp_path / "status.json") == members[:1]

    log = (tmp_path / "logs/id/aaaa/0/1111.log").read_text()
    assert "Traceback" in log
    assert "RuntimeError: shapes do not match" in log
    assert is_done(work, members[2])


def test_a_member_that_took_its_process_with_it_trains_last(work, members, trained, tmp_path):
    """Its log is there and its files are not: the others get their turn first."""
    turns, failing = trained
    failing["aaaa"] = KeyboardInterrupt()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        run(work, members, tmp_path / "status.json")
    failing.clear()
    turns.clear()

    run(work, members, tmp_path / "status.json")

    assert turns == [*NAMES[1:], NAMES[0]]


def test_random_generators_are_given_back_as_they_were(
    work, members, trained, tmp_path, monkeypatch
):
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

    monkeypatch.setattr("shoal.train_specialists.command.Slot", draw)

    run(work, members, tmp_path / "status.json")

    assert len(set(seen)) == 1
    assert torch.get_default_dtype() is torch.float32
