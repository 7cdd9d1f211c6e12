"""A pool's folder, changed in place."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import pytest

from shoal.pool.pool import Pool
from shoal_edge import folder as folders
from shoal_edge.errors import PatchError
from shoal_edge.folder import apply, read_pool
from shoal_edge.patch import make


def content(folder):
    """Content of everything in a folder, by name."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def beside(pool):
    """Names of what lies beside a pool."""
    return {path.name for path in pool.parent.iterdir()} - {pool.name, "patch"}


def test_applying_changes_the_pool_in_place(two_pools, pool, patch):
    """The folder holds the new pool, which loads; the old one is kept beside it."""
    done = apply(pool, patch)

    assert content(pool) == content(two_pools[1])
    assert content(done.kept) == content(two_pools[0])
    assert done.changed == 2
    assert Pool.load(pool).digest == Pool.load(two_pools[1]).digest


def test_two_copies_are_kept(two_pools, pool, patch, tmp_path):
    """After a patch there and one back there are the pool and the one before, and no more."""
    apply(pool, patch)
    back = tmp_path / "back"
    back.write_bytes(make(read_pool(two_pools[1]), read_pool(two_pools[0])))

    done = apply(pool, back)

    assert content(pool) == content(two_pools[0])
    assert content(done.kept) == content(two_pools[1])
    assert beside(pool) == {".pool.before", ".pool.lock", "back"}


def test_files_that_do_not_change_are_not_copied(pool, patch):
    """A pool of many specialists does not take twice its size to change a few of them."""
    before = (pool / "specialists/0.safetensors").stat().st_ino

    apply(pool, patch)

    assert (pool / "specialists/0.safetensors").stat().st_ino == before


def test_a_pool_behind_a_link_is_changed_where_it_lies(two_pools, pool, patch, tmp_path):
    """A link to the folder goes on to lead to the pool."""
    link = tmp_path / "link"
    link.symlink_to(pool)

    apply(link, patch)

    assert link.is_symlink()
    assert content(pool) == content(two_pools[1])


@pytest.mark.parametrize("name", ["specialists/1.safetensors", "specialists/0.safetensors"])
def test_a_damaged_pool_is_not_patched(pool, patch, name):
    """A file that the patch takes, or leaves, must be what the manifest says."""
    spoilt = bytearray((pool / name).read_bytes())
    spoilt[-1] ^= 1
    (pool / name).write_bytes(spoilt)
    before = content(pool)

    with pytest.raises(PatchError, match=f"{name}: does not match its hash in the manifest"):
        apply(pool, patch)
    assert content(pool) == before
    assert beside(pool) == {".pool.lock"}


def test_a_patch_for_another_pool_changes_nothing(two_pools, patch, tmp_path):
    """A patch that was applied does not fit again."""
    pool = Path(shutil.copytree(two_pools[1], tmp_path / "pool"))

    with pytest.raises(PatchError, match="for a pool with manifest"):
        apply(pool, patch)
    assert content(pool) == content(two_pools[1])


def test_one_patch_at_a_time(pool, patch):
    """Two at once would write to the same folder."""
    with (pool.parent / ".pool.lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        with pytest.raises(PatchError, match="another patch is being applied"):
            apply(pool, patch)


def test_a_file_system_that_cannot_exchange_is_named(two_pools, pool, patch, monkeypatch):
    """Where folders cannot change places in one step, nothing is done and the reason is said."""
    monkeypatch.setattr(folders, "_EXCHANGE", 0x80)  # no flag of Linux

    with pytest.raises(PatchError, match=r"cannot exchange folders \(invalid argument\)"):
        apply(pool, patch)
    assert content(pool) == content(two_pools[0])


def test_a_full_disk_leaves_the_pool(two_pools, pool, patch, monkeypatch):
    """Where there is no room the line says so, and nothing is left behind."""

    def full(*_):
        raise OSError(28, os.strerror(28), "there")

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(PatchError, match="no space left on device; the pool is as it was"):
        apply(pool, patch)
    assert content(pool) == content(two_pools[0])
    assert beside(pool) == {".pool.lock"}


def test_links_in_a_pool_are_refused(pool, patch):
    """A pool's files lie in its folder."""
    target = pool / "specialists/0.safetensors"
    shutil.move(target, pool.parent / "elsewhere")
    target.symlink_to(pool.parent / "elsewhere")

    with pytest.raises(PatchError, match=r"specialists/0\.safetensors"):
        apply(pool, patch)


def test_what_is_no_pool_is_refused(tmp_path, patch):
    """A folder without a manifest is no pool."""
    (tmp_path / "empty").mkdir()

    with pytest.raises(PatchError, match=r"empty: not a pool, it has no manifest\.json"):
        apply(tmp_path / "empty", patch)
