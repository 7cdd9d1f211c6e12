"""The harness finds what is wrong, of each kind."""

from __future__ import annotations

import os
import signal
from functools import partial
from random import Random
from typing import TYPE_CHECKING

import psutil
import pytest

from shoal.errors import SourceError
from tests.fuzz import harness
from tests.fuzz.harness import Batch, Case, Tally, Target, end_as_commands_do, run_apart

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


MORE = 128 << 20
"""Bytes that a process may take."""


def answers() -> None:
    """Nothing is wrong."""


def refuses() -> None:
    raise SourceError("a.csv: no such file")


def raises() -> None:
    raise KeyError("a")


def takes_memory() -> None:
    bytes(bytearray(2 * MORE))


def dies() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def loops() -> None:
    while True:
        pass


def ends_with_a_traceback() -> None:
    end_as_commands_do(raises)


RIGHT: dict[Callable[[], None], str] = {answers: "used", refuses: "refused"}
WRONG: dict[Callable[[], None], str] = {
    raises: "KeyError in test_harness.py:raises",
    takes_memory: "memory",
    dies: "the process died (SIGKILL)",
    loops: "the process died (SIGXCPU)",
    ends_with_a_traceback: "code 1: shoal: error: a bug in Shoal: KeyError: 'a'; please report",
}


class Faulty(Target):
    """Cases that all end in one way."""

    share = 1

    def __init__(self, read: Callable[[], None], folder: Path) -> None:
        folder.mkdir()
        (folder / "a").write_text("as it was")
        super().__init__(folder)
        self.read = read

    def case(self, rng: Random) -> Case:
        """A changed file and a new one, where the file is as it was."""
        assert (self.folder / "a").read_text() == "as it was"
        assert not (self.folder / "b").exists()
        content = rng.randbytes(4).hex().encode()
        return Case(dict.fromkeys((self.folder / "a", self.folder / "b"), content), self.read)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Tally], Path]:
    """What came of two cases of each kind, and the folder of what was found."""
    folder = tmp_path_factory.mktemp("faulty")
    targets = {read.__name__: partial(Faulty, read) for read in (*RIGHT, *WRONG)}
    batches = [Batch(name, [0, 1]) for name in targets]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(harness, "CPU_SECONDS", 3)
        patch.setattr(harness, "BYTES", psutil.Process().memory_info().rss + MORE)
        return run_apart(batches, targets, "1", folder), folder / "found"


@pytest.mark.parametrize("read", RIGHT)
def test_what_is_right_is_counted(ran, read):
    """Files of such cases are not kept."""
    tallies, found = ran

    assert tallies[read.__name__].results == {RIGHT[read]: 2}
    assert not list(found.glob(f"{read.__name__}-*"))


@pytest.mark.parametrize("read", WRONG)
def test_what_is_wrong_is_found_and_the_next_case_runs(ran, read):
    """The files of each case are kept."""
    tallies, found = ran

    (kind,) = tallies[read.__name__].found
    assert kind.startswith(WRONG[read])
    assert tallies[read.__name__].results == {"found": 2}
    for number in (0, 1):
        kept = found / f"{read.__name__}-{number}"
        assert (kept / "found.txt").exists()
        assert (kept / "b").read_text() == Random(f"1/{read.__name__}/{number}").randbytes(4).hex()
