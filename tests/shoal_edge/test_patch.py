"""Patches between the files of two pools."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import save

from shoal_edge.errors import PatchError
from shoal_edge.folder import read_pool
from shoal_edge.patch import Patch, make, rebuilt, sha256
from shoal_edge.weights import common_grid

LIMIT = 1 << 30


def pool_of(**files):
    """Files of a pool, with a manifest that lists them."""
    named = {name.replace("__", "."): content for name, content in files.items()}
    hashes = {name: sha256(content) for name, content in named.items()}
    return named | {"manifest.json": json.dumps({"format": 1, "files": hashes}).encode()}


def weights(**tensors):
    """Content of a safetensors file."""
    return save({name: np.asarray(each) for name, each in tensors.items()})


def after(base, patch):
    """Files after a patch, of those that it changes."""
    return dict(rebuilt(Patch.parse(patch, LIMIT), base.__getitem__))


def test_a_patch_gives_the_files_of_the_new_pool(two_pools):
    """Every file that differs comes out with the bytes of the new pool; others are not in it."""
    old, new = map(read_pool, two_pools)

    made = after(old, make(old, new))

    assert set(made) == {"gate.json", "manifest.json", "specialists/1.safetensors"}
    assert {**old, **made} == new


def test_files_come_and_go():
    """A pool may have files that the one before lacks, and lack some that it has."""
    one, two = weights(w=np.ones(9, np.float32)), b'{"a": 1}'
    first = pool_of(a__safetensors=one, b__json=two)
    second = pool_of(c__json=two, d__safetensors=one)

    there, back = after(first, make(first, second)), after(second, make(second, first))

    assert there == second
    assert back == first


def test_the_same_pools_give_the_same_patch(two_pools):
    """A patch is a function of the two pools."""
    old, new = map(read_pool, two_pools)
    code = (
        "import sys, hashlib, pathlib; from shoal_edge.folder import read_pool;"
        "from shoal_edge.patch import make;"
        "print(hashlib.sha256(make(*map(read_pool, map(pathlib.Path, sys.argv[1:])))).hexdigest())"
    )
    there = subprocess.run(
        [sys.executable, "-c", code, *map(str, two_pools)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert there.stdout.strip() == sha256(make(old, new)), there.stderr


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "i4", "u8", "?"])
def test_tensors_of_any_type_come_back(dtype):
    """Tensors that change, appear, go, and change their shape, of every type."""
    rng = np.random.default_rng(0)
    first, second, third = (rng.normal(size=(3, 5)).astype(dtype) for _ in range(3))
    old = pool_of(a__safetensors=weights(moved=first, gone=second, shaped=third, same=third))
    new = pool_of(
        a__safetensors=weights(moved=second, new=first, shaped=third.reshape(5, 3), same=third)
    )

    made = after(old, make(old, new))

    assert made["a.safetensors"] == new["a.safetensors"]


def test_numbers_that_are_none_come_back():
    """NaN, infinity, -0 and denormals keep their bits."""
    odd = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 1e-45], np.float32)
    old = pool_of(a__safetensors=weights(w=np.ones(6, np.float32)))
    new = pool_of(a__safetensors=weights(w=odd))

    assert after(old, make(old, new))["a.safetensors"] == new["a.safetensors"]
    assert after(new, make(new, old))["a.safetensors"] == old["a.safetensors"]


def test_weights_on_a_grid_are_told_by_steps():
    """A tensor on a grid of a power of two is found to be on it, before and after."""
    rng = np.random.default_rng(0)
    before = rng.integers(-40, 40, 4000).astype(np.float32) / 64
    later = before + (rng.random(4000) < 0.1).astype(np.float32) / 64
    old, new = (pool_of(a__safetensors=weights(w=each)) for each in (before, later))

    patch = make(old, new)

    assert common_grid(before.view(np.uint32), later.view(np.uint32)) == -6
    assert "exponents" in Patch.parse(patch, LIMIT).streams
    assert after(old, patch)["a.safetensors"] == new["a.safetensors"]
    assert len(patch) < 4 * 4000 / 16


def test_a_new_model_is_told_by_steps_from_the_base():
    """Its weights are on a grid; those of the base, which are on none, are rounded to it."""
    rng = np.random.default_rng(0)
    base = rng.normal(size=(50, 80)).astype(np.float32)
    near = (np.round(base * 64) + rng.integers(-1, 2, base.shape) + 0.0) / 64
    near = near.astype(np.float32)
    old = pool_of(base__safetensors=weights(w=base))
    new = pool_of(base__safetensors=weights(w=base), model__safetensors=weights(w=near))
    alone = pool_of(other__safetensors=weights(w=base))
    beside = pool_of(other__safetensors=weights(w=base), model__safetensors=weights(w=near))

    patch = make(old, new)

    assert after(old, patch)["model.safetensors"] == new["model.safetensors"]
    assert "exponents" in Patch.parse(patch, LIMIT).streams
    assert len(patch) < len(make(alone, beside)) / 3


def test_a_tensor_that_is_new_in_a_file_is_told_by_steps_from_the_base_too():
    """Whatever file it is in."""
    model = np.arange(12, dtype=np.float32) / 64
    old = pool_of(base__safetensors=weights(w=model), a__safetensors=weights(v=model))
    both = weights(v=model, w=model + np.float32(1 / 64))
    new = pool_of(base__safetensors=weights(w=model), a__safetensors=both)

    patch = make(old, new)

    assert "exponents" in Patch.parse(patch, LIMIT).streams
    assert after(old, patch)["a.safetensors"] == both


@pytest.mark.parametrize("odd", [0.0, np.nan, np.inf, 1e30])
@pytest.mark.parametrize("other_base", [False, True])
def test_a_new_model_comes_whatever_the_base_is(odd, other_base):
    """Where the base has odd numbers, another shape, or changes with the same patch."""
    model = np.arange(12, dtype=np.float32) / 64
    base, next_base = (np.where(model > level, np.float32(odd), model) for level in (0.1, 0.15))
    old = pool_of(base__safetensors=weights(w=base, v=model))
    new = pool_of(
        base__safetensors=weights(w=next_base if other_base else base, v=model),
        model__safetensors=weights(w=model, v=model.reshape(3, 4)),
    )

    assert after(old, make(old, new))["model.safetensors"] == new["model.safetensors"]


@pytest.mark.parametrize(
    "values", [[0.1, 1e10], [-0.0, 1.0], [np.nan, 1.0], [1e-45, 1.0], [1.0, np.inf]]
)
def test_weights_on_no_grid_have_none(values):
    """Numbers far apart, -0, denormals and what is no number are not on a grid."""
    patterns = np.array(values, np.float32).view(np.uint32)

    assert common_grid(patterns, patterns) is None


def test_hashes_that_a_device_can_compute_take_no_bytes(two_pools):
    """Of the digests of a changed specialist the patch holds its own, and not those of tensors."""
    old, new = map(read_pool, two_pools)

    streams = Patch.parse(make(old, new), LIMIT).streams

    assert "digests.new" not in streams


def test_a_patch_for_another_pool_is_refused(two_pools):
    """A patch fits the pool that it was made from and no other."""
    old, new = map(read_pool, two_pools)
    patch = Patch.parse(make(old, new), LIMIT)

    with pytest.raises(PatchError, match="for a pool with manifest"):
        list(rebuilt(patch, new.__getitem__))


def test_a_base_with_a_changed_file_is_refused(two_pools):
    """A file before that is not what its manifest says does not give the file after."""
    old, new = map(read_pool, two_pools)
    patch = Patch.parse(make(old, new), LIMIT)
    changed = bytearray(old["specialists/1.safetensors"])
    changed[-1] ^= 1
    spoilt = {**old, "specialists/1.safetensors": bytes(changed)}

    with pytest.raises(PatchError, match=r"specialists/1\.safetensors: does not come out"):
        list(rebuilt(patch, spoilt.__getitem__))


def test_pools_of_two_formats_have_no_patch(two_pools):
    """A device that reads the old format may not know the new one."""
    old, new = map(read_pool, two_pools)
    manifest = json.dumps(json.loads(new["manifest.json"]) | {"format": 9}).encode()

    with pytest.raises(PatchError, match="from format 4 to 9"):
        make(old, new | {"manifest.json": manifest})


def test_equal_pools_have_a_patch_that_changes_nothing(two_pools):
    """Two copies with the same content follow each other where nothing was learnt."""
    old = read_pool(two_pools[0])

    assert after(old, make(old, old)) == {"manifest.json": old["manifest.json"]}


def test_a_patch_that_unpacks_to_too_much_is_refused(two_pools):
    """What a small file claims to hold is looked at before it is unpacked."""
    old, new = map(read_pool, two_pools)

    with pytest.raises(PatchError, match="bytes unpacked, 100 are the most"):
        Patch.parse(make(old, new), 100)


@pytest.mark.parametrize("name", ["../a.json", "/etc/a.json", "a/../b.json", "a/b/c.json", ""])
def test_names_that_lead_elsewhere_are_refused(two_pools, name):
    """A manifest from elsewhere cannot have a file written outside of the pool's folder."""
    old = read_pool(two_pools[0])
    new = pool_of(a__json=b"{}")
    manifest = json.loads(new["manifest.json"])
    manifest["files"] = {name: sha256(b"{}")}
    manifest["format"] = 4

    with pytest.raises(PatchError, match="which no pool's file is called"):
        make(old, {name: b"{}", "manifest.json": json.dumps(manifest).encode()})


def test_it_needs_neither_torch_nor_shoal():
    """A device imports numpy, safetensors, zstandard and the standard library, and no more."""
    code = (
        "import sys; before = set(sys.modules); import shoal_edge.folder, shoal_edge.patch;"
        "print({n.partition('.')[0] for n in set(sys.modules) - before} - sys.stdlib_module_names)"
    )
    found = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, check=False
    )
    if found.returncode:  # without `site` nothing is installed
        found = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )

    named = eval(found.stdout)
    assert named <= {"numpy", "safetensors", "zstandard", "shoal_edge", "cython_runtime", "_cython"}
    assert {"numpy", "safetensors", "zstandard", "shoal_edge"} <= named
