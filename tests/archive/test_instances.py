"""States of instances: what comes back is kept exactly, and recovered at any time."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from shoal.archive import instances as registry
from shoal.archive.instances import Instances, Returned
from shoal.archive.returned import import_folder, import_instance
from shoal.cli.commands import run
from shoal.errors import CorruptError, ModelError, SourceError
from shoal.explore.query.database import Database
from shoal.explore.query.results import Results
from shoal.terminal import command
from shoal_edge.folder import read_pool
from shoal_edge.patch import make
from tests.pool.conftest import build_pool
from tests.shoal_edge.conftest import change


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Results of an experiment with a pool, and an adapted pool."""
    folder = tmp_path_factory.mktemp("instances")
    root = folder / "results"
    (root / "g1").mkdir(parents=True)
    shutil.copytree(build_pool(folder), root / "pool")
    adapted = Path(shutil.copytree(root / "pool", folder / "adapted"))
    change(adapted, "specialists/1.safetensors", 0.01)
    return root, adapted


@pytest.fixture
def root(made, tmp_path):
    """Results of an experiment with a pool."""
    return Path(shutil.copytree(made[0], tmp_path / "results"))


@pytest.fixture
def adapted(made, tmp_path):
    """The pool, adapted, to be adapted further."""
    return Path(shutil.copytree(made[1], tmp_path / "adapted"))


def shoal(*arguments):
    """Run a command; its exit code."""
    with pytest.raises(SystemExit) as ended, command():
        raise SystemExit(run([*map(str, arguments)]))
    return ended.value.code


def patch_of(before, after, out):
    """Write a patch from one pool to another."""
    out.parent.mkdir(exist_ok=True)
    out.write_bytes(make(read_pool(before), read_pool(after)))
    return out


def test_a_patch_is_kept_and_its_pool_recovered_to_the_bit(root, adapted, tmp_path, capsys):
    """A device sends a patch against the published pool; the centre writes the pool it runs."""
    patch = patch_of(root / "pool", adapted, tmp_path / "x.patch")

    assert shoal("models", "import", root, patch, "--instance", "car-17") == 0
    assert shoal("models", "recover", root, "car-17", tmp_path / "out") == 0
    assert shoal("models", "instances", root) == 0

    assert read_pool(tmp_path / "out") == read_pool(adapted)
    assert "car-17@1" in capsys.readouterr().out


def test_every_state_of_a_long_chain_comes_back_from_few_others(root, adapted, tmp_path):
    """Each patch is against the state before; none takes more than eight others to recover."""
    import_instance(root, adapted, "car")
    states = [read_pool(adapted)]
    for _ in range(11):
        before = shutil.copytree(adapted, tmp_path / "before", dirs_exist_ok=True)
        change(adapted, "specialists/0.safetensors", 0.01)
        import_instance(root, patch_of(Path(before), adapted, tmp_path / "p" / "x"), "car")
        states.append(read_pool(adapted))

    kept = Instances(root)
    found = [kept.files(kept.find(f"car@{number}")) for number in range(1, 13)]
    depths = kept.store._current().contents().frames["depth"]  # what a state rests on

    assert found == states
    assert 2 <= depths.max() <= 8


def test_what_a_state_has_in_common_is_kept_once(root, adapted, tmp_path):
    """A hundred instances that did not change take a fraction of their bytes."""
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    first = patch_of(root / "pool", adapted, inbox / "car-0.patch")
    for number in range(1, 100):
        shutil.copy(first, inbox / f"car-{number}.patch")
    import_instance(root, first, "car-0")
    before = Instances(root).store.bytes

    assert len(import_folder(root, inbox)) == 100

    size = sum(map(len, read_pool(adapted).values()))
    assert Instances(root).store.bytes - before < 0.02 * 100 * size


def test_a_state_is_found_by_number_and_by_time(root, monkeypatch):
    """The last one, one by its number, or the last at a time; others are named as wrong."""
    kept = Instances(root)
    for number in range(3):
        moment = f"2026-11-2{number}T06:00:00+00:00"
        monkeypatch.setattr(registry, "_now", lambda moment=moment: moment)
        kept.save({"car": Returned({"w": np.full(3, number)}, "tensors", 24)})

    assert [kept.find(name).number for name in ("car", "car@2", "car@2026-11-21T07:00+01:00")] == [
        *(3, 2, 2)
    ]
    with pytest.raises(
        ModelError, match=r"'car@4' is no state of it; there are 1 to 3, 2026-11-20"
    ):
        kept.find("car@4")
    with pytest.raises(ModelError, match=r"is no state of it"):
        kept.find("car@2026-11-19")
    with pytest.raises(ModelError, match=r"after the @ stands a state's number, or a time"):
        kept.find("car@x")
    with pytest.raises(ModelError, match=r"instance 'cat' is unknown; did you mean 'car'"):
        kept.find("cat")


def test_a_damaged_patch_is_refused_in_one_line_and_nothing_is_kept(
    root, adapted, tmp_path, capsys
):
    """Bits that flip anywhere, a patch that ends early, and a file that is none."""
    patch = patch_of(root / "pool", adapted, tmp_path / "x.patch")
    content = patch.read_bytes()
    rng = np.random.default_rng(0)
    damaged = [b"", b"nothing", content[:-1], content[: len(content) // 2]]
    for place in rng.integers(len(content), size=20):
        damaged.append(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
    for each in damaged:
        patch.write_bytes(each)

        assert shoal("models", "import", root, patch, "--instance", "car") == 2

        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"shoal: error: {patch}: ")
    assert all(state.instance == "copy" for state in Instances(root).states)


def test_a_folder_of_patches_is_kept_as_a_whole_or_not_at_all(root, adapted, tmp_path):
    """One that does not fit names itself, and the others are not kept."""
    good = patch_of(root / "pool", adapted, tmp_path / "inbox" / "a.patch")
    bad = patch_of(adapted, root / "pool", tmp_path / "inbox" / "b.patch")

    with pytest.raises(
        ModelError, match=rf"{bad}: it is made from a pool with manifest \w+, which"
    ):
        import_folder(root, tmp_path / "inbox")
    assert "a" not in {state.instance for state in Instances(root).states}

    import_instance(root, good, "a")
    assert len(import_folder(root, tmp_path / "inbox")) == 2
    with pytest.raises(SourceError, match=r"no pool, and no file INSTANCE\.patch"):
        import_folder(root, root)


def test_a_pool_that_is_damaged_is_no_snapshot(root, adapted):
    """Each file is held against the manifest."""
    file = adapted / "specialists/1.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\0")

    with pytest.raises(CorruptError, match=r"does not match its hash in the manifest"):
        import_instance(root, adapted, "car")
    assert Instances(root).states == []


def test_damage_in_the_store_is_found_when_a_state_is_recovered(root, adapted, tmp_path):
    """A pack that was overwritten gives an error that names it, and no folder."""
    import_instance(root, adapted, "car")
    (pack,) = Instances(root).folder.glob("pack-*")
    content = bytearray(pack.read_bytes())
    third = len(content) // 3
    content[third : 2 * third] = bytes(third)
    pack.write_bytes(content)

    with pytest.raises(CorruptError, match=r"pack-"):
        Instances(root).recover("car", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert Instances(root).store.fsck()


def test_names_lead_nowhere(root, adapted):
    """An instance's name is no path."""
    for name in ("../x", "", ".x", "a/b", "a@2", "a" * 81):
        with pytest.raises(ModelError, match=r"a name has at most 80 letters"):
            import_instance(root, adapted, name)


def test_nothing_is_overwritten(root, adapted):
    """A folder that is there is refused."""
    import_instance(root, adapted, "car")

    with pytest.raises(SourceError, match=r"is there already"):
        Instances(root).recover("car", adapted)


def test_the_registry_is_a_table_that_queries_see(root, adapted):
    """It is that of the store even where its file is an older one, or gone."""
    import_instance(root, adapted, "car-1")
    path = root / "instances" / "instances.parquet"
    older = path.read_bytes()
    import_instance(root, root / "pool", "car-2")
    asked = "SELECT id, way FROM instances ORDER BY id"

    for content in (path.read_bytes(), older, None):
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        found = list(Database(Results(root)).ask(asked).rows)

        assert found == [("car-1@1", "snapshot"), ("car-2@1", "snapshot")]
        assert pq.read_table(path).num_rows == 2


def test_trees_say_which_tensors_to_send(root, adapted):
    """Those that differ: no text, since digests in it follow from them, and no other model."""
    first, second = import_instance(root, root / "pool", "a"), import_instance(root, adapted, "b")
    trees = [Instances(root).store.tree(state.id) for state in (first, second)]

    found = trees[1].apart(trees[0])

    assert trees[0].apart(trees[0]) == []
    weights = {name for name in trees[1].tensors if name.startswith("specialists/1.safetensors:")}
    assert set(found) == weights
