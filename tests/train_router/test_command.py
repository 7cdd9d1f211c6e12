"""Which specialists were chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from shoal.errors import CorruptError
from shoal.formats.json_file import write_json
from shoal.train_router.command import chosen_specialists

if TYPE_CHECKING:
    from pathlib import Path

SPECIALIST = "../../specialists/a/p/model.safetensors"
CHOICE = {
    "partition": 3,
    "digests": {"train": "a", "validation": "b"},
    "rows": 9,
    "point": "p",
    "points": {"p": {"lr": 0.1}},
    "specialist": SPECIALIST,
    "losses": {"p": 0.5},
    "margin": None,
    "next": [],
}


def choice(folder: Path, **changes: Any) -> Path:
    """A choice's document."""
    path = folder / "choices" / "a" / "choice.json"
    write_json(path, CHOICE | changes)
    return path


def test_a_partition_has_the_file_that_it_chose(tmp_path: Path):
    """By the partition's number."""
    file = tmp_path / "specialists" / "a" / "p" / "model.safetensors"

    assert chosen_specialists([choice(tmp_path)], [file]) == {3: file}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"partition": "x"}, "partition: Input should be a valid integer, not 'x'; remove it"),
        ({"specialist": "other"}, "specialist: 'other' is no input"),
    ],
)
def test_a_choice_that_is_none_is_named(tmp_path: Path, changes: dict[str, Any], line: str):
    """Its file and the key that is wrong."""
    path = choice(tmp_path, **changes)

    with pytest.raises(CorruptError, match=rf"choice\.json: {line}"):
        chosen_specialists([path], [tmp_path / "model.safetensors"])
