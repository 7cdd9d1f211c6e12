"""Shards: source files named by their content."""

import hashlib
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from shoal.errors import CorruptError
from shoal.formats.json_file import read_json
from shoal.sources.shards import declare_names, name_shards


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def names(folder: Path) -> dict[str, str]:
    """Shard name by file name."""
    files = sorted(folder.glob("*.csv"))
    shards = name_shards([(path, None) for path in files], folder / "cache.json")
    return {path.name: shard for shard, (path, _) in shards.items()}


def test_a_shards_name_follows_its_content_not_its_file_name(tmp_path: Path):
    """Renaming or touching a file keeps the shard; editing it makes another."""
    write(tmp_path / "a.csv", "1")
    before = names(tmp_path)["a.csv"]

    (tmp_path / "a.csv").rename(tmp_path / "b.csv")
    os.utime(tmp_path / "b.csv")
    renamed = names(tmp_path)["b.csv"]
    write(tmp_path / "b.csv", "2")

    assert renamed == before
    assert names(tmp_path)["b.csv"] != before


def test_an_older_file_in_a_newer_ones_place_is_seen(tmp_path: Path):
    """A replacement with an older time and the same size is another shard."""
    write(tmp_path / "a.csv", "1")
    before = names(tmp_path)["a.csv"]
    old = write(tmp_path / "old", "2")
    os.utime(old, (1, 1))

    shutil.move(old, tmp_path / "a.csv")

    assert names(tmp_path)["a.csv"] != before


def test_two_files_of_one_content_are_two_shards(tmp_path: Path):
    """Multiplicity counts: copies do not fall together."""
    write(tmp_path / "a.csv", "1")
    write(tmp_path / "b.csv", "1")

    found = names(tmp_path)

    assert found["b.csv"] == found["a.csv"] + "-2"


def test_a_declared_name_holds_for_its_content_only(tmp_path: Path):
    """What a plan called digits-0 keeps that name once it exists, until it is edited."""
    path = write(tmp_path / "a.csv", "1")
    declare_names({path: "digits-0"})

    assert names(tmp_path) == {"a.csv": "digits-0"}
    write(path, "22")
    assert names(tmp_path) != {"a.csv": "digits-0"}


def test_a_hash_is_trusted_once_the_file_has_settled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Of a file that changed just now no hash is trusted: its next change may have its times."""
    path, cache = write(tmp_path / "a.csv", "1"), tmp_path / "cache.json"
    names(tmp_path)
    assert read_json(cache, dict[str, dict[str, Any]])[str(path)]["mark"] == []

    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now + 3_000_000_000)
    names(tmp_path)

    assert read_json(cache, dict[str, dict[str, Any]])[str(path)]["mark"] != []


@pytest.mark.parametrize(
    "name", ["../../x", "/tmp/x", "", ".", "a.b", "a/b", "a b", "x\n", "-" * 101, "\u00fc", 5, None]
)
def test_a_declared_name_that_no_shard_may_have_is_one_line(tmp_path: Path, name: object):
    """It becomes part of paths, so that another folder's file could be meant."""
    write(tmp_path / "a.csv", "1")
    write(tmp_path / ".shards.json", json.dumps({hashlib.sha256(b"1").hexdigest(): name}))

    with pytest.raises(CorruptError, match=r"\.shards\.json: [0-9a-f]{64}: .*[Ss]tring") as caught:
        names(tmp_path)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1]", "Input should be a valid dictionary"),
        ("{", "not readable as JSON"),
        ('{"a": "x", "b": "x"}', "two contents have the name 'x'"),
    ],
)
def test_a_broken_file_of_names_is_one_line(tmp_path: Path, text: str, said: str):
    """Left aside it would name contents otherwise, and two contents of one name are mixed up."""
    write(tmp_path / "a.csv", "1")
    write(tmp_path / ".shards.json", text)

    with pytest.raises(CorruptError, match=rf"\.shards\.json: {said}"):
        names(tmp_path)


@pytest.mark.parametrize(
    "text", ["[1]", "{", '{"a.csv": 5}', '{"FILE": {"mark": 1, "hash": "../../x"}}']
)
def test_hashes_that_cannot_be_right_are_found_again(tmp_path: Path, text: str):
    """The file of hashes saves time and decides nothing."""
    path = write(tmp_path / "a.csv", "1")
    write(tmp_path / "cache.json", text.replace("FILE", str(path)))

    assert names(tmp_path) == {"a.csv": hashlib.sha256(b"1").hexdigest()[:12]}
