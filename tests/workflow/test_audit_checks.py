"""Each kind of artifact, spoiled, is found by `shoal audit`."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from shoal.formats.fitted_state import load_state, save_state
from shoal.formats.json_file import read_json, write_json
from shoal.formats.provenance import recording
from shoal.operate.audit.files import read_artifact
from tests.workflow.spoil import audited, blamed, flip, one, swap


@pytest.fixture
def spoiled(copied, monkeypatch: pytest.MonkeyPatch):
    """A copy of the finished experiment, in which the test stands."""
    monkeypatch.chdir(copied.folder)
    return copied


def test_a_flipped_bit_in_a_specialist_is_found(spoiled):
    """Tensors are compared with their hashes; what was made from the file is not blamed too."""
    path = one("specialists/*/*/*/*/model.safetensors")
    flip(path, -1)

    assert blamed() == [str(path)]


def test_specialists_in_each_others_place_are_found(spoiled):
    """Whole files under the wrong digest are named, both of them."""
    paths = sorted(Path("results/tiny/g1").glob("specialists/*/*/*/*/model.safetensors"))
    swap(paths[0], paths[-1])

    assert set(blamed()) == {str(paths[0]), str(paths[-1])}


def test_specialists_at_each_others_grid_point_are_found(spoiled):
    """Whole files of the right digest under the wrong grid point are named, both of them."""
    folder = one("specialists/*/*/*")
    paths = sorted(folder.glob("*/model.safetensors"))
    swap(paths[0], paths[1])

    assert set(blamed()) == {str(path) for path in paths}


def test_an_edited_digest_in_the_index_is_found(spoiled):
    """The index is made again from the summaries, and only it is blamed."""
    path = one("cluster/*/indexes/*/index.json")
    content = read_json(path, Any)
    content["partitions"][0]["digests"]["train"] = "0" * 24
    content["partitions"][0]["specialist"] = "0" * 24
    write_json(path, content)

    assert blamed() == [str(path)]


def test_edited_members_beside_the_index_are_found(spoiled):
    """Where the index finds its rows is part of what the summaries say."""
    path = one("cluster/*/indexes/*/members/0.json")
    content = read_json(path, Any)
    content["train"] = content["train"][1:]
    write_json(path, content)

    assert blamed() == [str(path)]


def test_an_edited_summary_is_found(spoiled):
    """A summary's sums are counted again from the row hashes of its store."""
    path = one("cluster/*/summary/*/*.json")
    content = read_json(path, Any)
    content["groups"][0]["sum"] = "0" * 64
    write_json(path, content)

    assert blamed() == [str(path)]


def test_another_shards_rows_are_found(spoiled):
    """A store that is whole but made from another shard's rows is named."""
    stores = sorted(Path("results/tiny/g1").glob("encode/*/rows/*/*.zarr.zip"))
    shutil.copyfile(stores[1], stores[0])

    assert blamed() == [str(stores[0])]


def test_a_damaged_row_store_is_found(spoiled):
    """Members of a zip are compared with their checksums."""
    path = one("encode/*/rows/*/*.zarr.zip")
    flip(path, path.stat().st_size // 3)

    assert blamed() == [str(path)]


def test_a_source_file_that_changed_unseen_is_found(spoiled):
    """A change that keeps what the cache of content hashes looks at is seen by the content."""
    source = Path("data/part-0.csv")
    source.write_text(source.read_text().replace("north", "south", 1))
    cache = Path("results/tiny/.source-hashes.json")
    content, stat = read_json(cache, Any), source.stat()
    mark = [stat.st_size, stat.st_mtime_ns, stat.st_ino, stat.st_ctime_ns]
    write_json(cache, content | {str(source): content[str(source)] | {"mark": mark}})

    (path,) = blamed()

    assert path.startswith("results/tiny/g1/split/")
    assert any("data/part-0.csv" in line for line in audited()[1])


def test_another_base_than_everything_was_made_from_is_found(spoiled):
    """A whole file in place of another is blamed itself, once, not all that was made from it."""
    path = one("base/*/base.safetensors")
    tensors, meta = load_state(path)
    record = read_artifact(path).made_from
    with recording(map(Path, record["files"]), record["code"]):
        save_state(path, {name: tensor + 1 for name, tensor in tensors.items()}, meta)

    assert blamed() == [str(path)]


def test_an_artifact_of_another_base_is_found(spoiled):
    """Where others were made from the file that is there, the one that was not is stale."""
    path, base = one("choices/*/*/*/*.json"), one("base/*/base.safetensors")
    content = read_json(path, Any)
    content["made_from"]["files"][str(base)] = "0" * 64
    write_json(path, content)

    code, (line, _) = audited()

    assert code == 1
    assert line.startswith(f"{path}: was made from another {base} than the one that is there")


def test_a_record_of_another_jobs_input_is_found(spoiled):
    """An artifact names the inputs that its path stands for, no more and no fewer."""
    path = one("embed/*/ledger.json").with_name("embedder.safetensors")
    choice = one("choices/*/*/*/*.json")
    content = read_json(choice, Any)
    content["made_from"]["files"][str(path)] = "0" * 64
    write_json(choice, content)

    code, (line, _) = audited()

    assert code == 1
    assert line.startswith(f"{choice}: was made from {path}, which is not what this path stands")


def test_a_changed_table_is_blamed_itself(spoiled):
    """A change that Parquet does not notice is seen by what was made from the table."""
    path = one("transform/*/rows/*/*.parquet")
    flip(path, 1000)

    assert blamed() == [str(path)]


def test_a_choice_of_no_point_of_the_grid_is_found(spoiled):
    """A choice must be one of the grid's points."""
    path = one("choices/*/*/*/*.json")
    write_json(path, read_json(path, Any) | {"point": "0123456789"})

    assert str(path) in blamed()


def test_a_pool_of_other_specialists_is_found(spoiled):
    """A pool holds what was chosen, not what its manifest happens to list."""
    path = one("choices/*/*/*/*.json")
    content = read_json(path, Any)
    other = next(each for each in content["losses"] if each not in ("base", content["point"]))
    write_json(path, content | {"point": other})

    assert str(one("pool/*/*/manifest.json")) in blamed()


def test_a_changed_file_of_the_pool_is_found(spoiled):
    """A pool's files are those that its manifest lists."""
    path = one("pool/*/*/specialists/0.safetensors")
    flip(path, -1)

    assert str(path) in blamed()


def test_a_stale_copy_of_the_pool_is_found(spoiled):
    """The pool that people load is the current release's."""
    path = Path("results/tiny/pool/specialists/0.safetensors")
    flip(path, -1)
    left = path.with_name("7.safetensors")
    left.write_bytes(path.read_bytes())

    assert set(blamed()) == {str(path), str(left)}


def test_edited_metrics_are_found(spoiled):
    """The metrics that people read are the ones that evaluate wrote."""
    path = Path("results/tiny/metrics.json")
    write_json(path, read_json(path, Any) | {"verdict": "helps very much"})

    assert blamed() == [str(path)]
