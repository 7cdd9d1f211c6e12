"""A pool's folder holds what its manifest lists, and nothing else is read."""

import hashlib
import json
import os
import re
import shutil
from pathlib import Path

import pytest

import shoal
from shoal.errors import CorruptError, SourceError
from shoal.formats.hashing import canonical_json
from shoal.formats.json_file import write_json
from shoal.pool.manifest import pool_digest
from shoal.pool.sealed import Sealed
from tests.pool.conftest import reseal


def refused(folder: Path, line: str, **options: object) -> None:
    """The pool does not load, and one line says why."""
    with pytest.raises(CorruptError, match=f"^{re.escape(str(folder))}/{line}[^\n]*$"):
        shoal.load(folder, **options)  # type: ignore[arg-type]


def manifest(folder: Path) -> dict:
    content: dict = json.loads((folder / "manifest.json").read_text())
    return content


def test_a_folder_without_a_manifest_is_no_pool(tmp_path):
    """The error names the manifest."""
    with pytest.raises(SourceError, match=r"not a pool, it has no manifest\.json"):
        shoal.load(tmp_path)


@pytest.mark.parametrize(
    "name", ["base.safetensors", "encoder.safetensors", "ledger.json", "gate.json"]
)
def test_every_file_is_listed(small_pool, name):
    """A pool without one of its files in the manifest is refused, as is one that lists none."""
    files = manifest(small_pool)["files"]
    del files[name]

    write_json(small_pool / "manifest.json", manifest(small_pool) | {"files": files})
    refused(small_pool, f"manifest.json: files: '{name}' is not listed")
    write_json(small_pool / "manifest.json", manifest(small_pool) | {"files": {}})
    refused(small_pool, "manifest.json: files: 'base.safetensors' is not listed")


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "specialists/7.safetensors", "a"])
def test_no_file_of_another_name_is_listed(small_pool, name):
    """Names are those of a pool's files, so none leads out of the folder."""
    files = manifest(small_pool)["files"] | {name: "0" * 64}
    write_json(small_pool / "manifest.json", manifest(small_pool) | {"files": files})

    refused(small_pool, f"manifest.json: files: no pool has a file '{re.escape(name)}'")


@pytest.mark.parametrize("name", ["base.safetensors", "specialists", "manifest.json"])
def test_nothing_is_read_through_a_link(small_pool, tmp_path, name):
    """A linked file, folder or manifest is refused, even where the content is right."""
    shutil.move(small_pool / name, tmp_path / "elsewhere")
    (small_pool / name).symlink_to(tmp_path / "elsewhere")

    refused(small_pool, rf"{name}\S*: leads through a link")


def test_the_pool_itself_may_be_a_link(small_pool, tmp_path):
    """Where a pool lies is the user's to say."""
    (tmp_path / "link").symlink_to(small_pool)

    assert shoal.load(tmp_path / "link").digest == shoal.load(small_pool).digest


def test_a_named_pipe_is_no_file_of_a_pool(small_pool):
    """Nothing waits for a writer."""
    (small_pool / "gate.json").unlink()
    os.mkfifo(small_pool / "gate.json")

    refused(small_pool, "gate.json: is no regular file")


def test_a_missing_file_is_named(small_pool):
    """Each file that the manifest lists is there."""
    (small_pool / "specialists" / "1.safetensors").unlink()

    refused(small_pool, "specialists/1.safetensors: named in the manifest, but not in the pool")


def test_what_is_hashed_is_what_is_used(small_pool, monkeypatch):
    """A file that is swapped right after it was read changes nothing."""
    expected = (small_pool / "gate.json").read_bytes()
    sealed = Sealed(small_pool)
    digest = hashlib.sha256

    def swapping(content: bytes) -> object:
        write_json(small_pool / "gate.json", {"shares": {}})
        return digest(content)

    monkeypatch.setattr(hashlib, "sha256", swapping)

    assert sealed.document("gate.json") == json.loads(expected)
    with pytest.raises(CorruptError, match=r"gate\.json: does not match its hash"):
        sealed.document("gate.json")


def swapped_numbers(content: dict) -> None:
    first, second = content["specialists"]
    first["partition"], second["partition"] = 1, 0


def swapped_files(content: dict) -> None:
    swapped_numbers(content)
    content["specialists"].reverse()
    for number, entry in enumerate(content["specialists"]):
        entry["file"] = f"specialists/{number}.safetensors"


def numbered_twice(content: dict) -> None:
    content["specialists"][1] |= {"partition": 0, "file": "specialists/0.safetensors"}


def beyond(content: dict) -> None:
    content["specialists"][1] |= {"partition": 2, "file": "specialists/2.safetensors"}


def outside(content: dict) -> None:
    content["specialists"][1]["file"] = "../1.safetensors"


def another_point(content: dict) -> None:
    content["specialists"][1]["point"]["values"] = {"lr": 0.2}


def one_left_out(content: dict) -> None:
    del content["specialists"][1], content["files"]["specialists/1.safetensors"]


def more_partitions(content: dict) -> None:
    content["partitions"] = 3


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (swapped_numbers, r"manifest.json: specialists.0.file: .* partition 1 is 'specialists/1"),
        (swapped_files, r"specialists/0.safetensors: digest 'd0', but the manifest has 'd1'"),
        (numbered_twice, r"manifest.json: specialists: partitions \[0, 0\] are not in order"),
        (beyond, r"manifest.json: specialists.1.partition: there is no partition 2 among 2"),
        (outside, r"manifest.json: specialists.1.file: .* not '\.\./1\.safetensors'"),
        (another_point, r"specialists/1.safetensors: point \{'lr': 0.1\}, but the manifest has"),
        (
            one_left_out,
            r"gate.json: shares: they should be of the base \(-1\) and of each specialist, but",
        ),
        (more_partitions, r"manifest.json: partitions: 3, but the pool's other files have 2"),
    ],
)
def test_partitions_and_specialists_belong_together(small_pool, spoil, line):
    """Numbers that were swapped, doubled or changed in the manifest are found without a digest."""
    content = manifest(small_pool)
    spoil(content)
    write_json(small_pool / "manifest.json", content)

    refused(small_pool, line)


def test_another_format_is_named(small_pool):
    """A pool of another version of Shoal is not taken for a broken one."""
    reseal(small_pool, format=1)

    refused(small_pool, "manifest.json: format 1, this version of Shoal reads format 4")


def test_the_digest_is_that_of_the_content(small_pool, tmp_path):
    """It is SHA-256 of the manifest as canonical JSON, wherever the pool lies, however indented."""
    content = manifest(small_pool)
    expected = hashlib.sha256(canonical_json(content).encode()).hexdigest()
    moved = shutil.move(small_pool, tmp_path / "moved")
    (moved / "manifest.json").write_text(json.dumps(dict(reversed(content.items()))))

    assert shoal.load(moved, digest=expected).digest == pool_digest(moved) == expected


def test_a_pool_of_another_digest_is_refused(small_pool):
    """A change anywhere in the pool, sealed anew, has another digest."""
    digest = pool_digest(small_pool)
    gate = json.loads((small_pool / "gate.json").read_text())
    write_json(small_pool / "gate.json", gate | {"shares": {"-1": 0, "0": 0, "1": 1}})
    reseal(small_pool)

    shoal.load(small_pool)
    refused(small_pool, f"manifest.json: its digest is [0-9a-f]{{64}}, not {digest}", digest=digest)


@pytest.mark.parametrize("given", ["", "abc"])
def test_a_part_of_a_digest_is_none(small_pool, given):
    """No shorter text stands for it."""
    refused(small_pool, f"manifest.json: its digest is [0-9a-f]{{64}}, not {given}", digest=given)
