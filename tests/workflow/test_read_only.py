"""Commands that only look work in a folder that nobody may write to."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.workflow.small import write_rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.workflow.small import Experiment

HASHES = "results/tiny/.source-hashes.json"
ONE_LINE = (
    f"shoal: {HASHES}: not written, read-only file system; "
    "source files are read again each time to name them"
)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Within it nobody can write below the folder; permissions would not stop root."""
    bind = ["mount", "--bind", str(folder), str(folder)]
    if subprocess.run(bind, capture_output=True, check=False).returncode != 0:
        pytest.skip("a read-only file system needs the right to mount one")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("place", ["results", "."])
def test_commands_that_only_look_need_not_write(copied: Experiment, place: str):
    """Results, or a whole project, that belong to others can be looked at from all sides.

    Snakemake itself writes to its own folder in the project, dry run or not.
    """
    looks = {
        "plan": ["plan", "tiny"],
        "audit": ["audit", "tiny"],
        "gc": ["gc", "tiny"],
        "variants": ["variants", "tiny"],
        "verdict": ["verdict", "results/tiny"],
        "query": ["query", "results/tiny", "SELECT count(*) FROM rows"],
        "models log": ["models", "log", "results/tiny"],
    }
    (copied.folder / HASHES).unlink()  # so that there is something to write
    with read_only(copied.folder / place):
        found = {name: copied.shoal(*arguments) for name, arguments in looks.items()}
        if place == "results":
            found["dry run"] = copied.snakemake("-n")
            assert "Nothing to be done" in found["dry run"].stdout + found["dry run"].stderr

    assert {name: result.returncode for name, result in found.items()} == dict.fromkeys(found, 0)
    for name in ("plan", "audit", "gc", "variants"):
        assert found[name].stderr.splitlines() == [ONE_LINE]
    assert "Nothing to do" in found["plan"].stdout
    assert found["audit"].stdout.splitlines()[-1].endswith("artifacts agree")


def test_a_plan_whose_index_cannot_be_made_says_so(copied: Experiment):
    """It gives upper bounds instead, as before the first run."""
    write_rows(copied.folder / "data" / "part-3.csv", 3)

    with read_only(copied.folder / "results"):
        result = copied.shoal("plan", "tiny")

    assert result.returncode == 0, result.stderr
    assert result.stderr.splitlines() == [
        ONE_LINE,
        "shoal: results/tiny is read-only, so the partition index stays out of date: this plan "
        "does not say which partitions changed",
    ]
    assert "not known yet: ≤ 2 of them" in " ".join(result.stdout.split())


def test_what_writes_says_in_one_line_that_it_may_not(copied: Experiment):
    """A run and a removal name the file, or the folder."""
    with read_only(copied.folder / "results"):
        run = copied.snakemake("-c", "1", overrides="[train_specialists.rows_seen=99]")
        refit = copied.shoal("refit", "tiny")

    for result in (run, refit):
        assert result.returncode == 2
        last = result.stderr.splitlines()[-1]
        assert last.startswith("shoal: error: results/tiny/")
        assert "read-only file system" in last
