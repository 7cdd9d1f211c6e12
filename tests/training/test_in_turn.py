"""Several short jobs in one process."""

from functools import partial
from pathlib import Path

import pytest
import torch

from shoal.formats.hashing import file_hash
from shoal.formats.json_file import read_json
from shoal.training.in_turn import ask_pack


def test_each_job_finds_the_state_of_a_new_process(tmp_path: Path):
    """Random generators are put back, and the status has the hash of every file."""
    paths = [tmp_path / name for name in "abc"]
    jobs = [([path], partial(draw, path)) for path in paths]

    ask_pack(jobs, tmp_path / "status.json", 1)

    assert len({path.read_text() for path in paths}) == 1
    made = {path.name: file_hash(path) for path in paths}
    assert read_json(tmp_path / "status.json", dict[str, dict[str, str]]) == {str(tmp_path): made}


def test_what_fails_ends_the_process_and_leaves_no_status(tmp_path: Path):
    """What was made before stays, and is not made again."""
    paths = [tmp_path / name for name in "abc"]
    jobs = [([path], partial(draw, path)) for path in paths]
    failing = [jobs[0], ([paths[1]], partial(paths[1].read_text)), jobs[2]]

    with pytest.raises(FileNotFoundError):
        ask_pack(failing, tmp_path / "status.json", 1)

    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    paths[0].write_text("there already")
    ask_pack(jobs, tmp_path / "status.json", 1)
    assert paths[0].read_text() == "there already"


def draw(path: Path) -> None:
    """Write a random number."""
    path.write_text(str(torch.rand(1)))
