"""Damage is found and named."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from shoal.errors import CorruptError, ShoalError
from shoal.model_store import ModelStore
from tests.model_store.tampering import all_models, files, forged, pool


def test_a_flipped_bit_is_named(store):
    """The error says which file, which model and which tensor."""
    entry = store._current().find("m7")
    index = store._current()
    (row,) = index.frame_rows(index.frame_of(np.array(entry.rows[:1])))
    name = index.packs[row["pack"]].name
    content = bytearray(files(store)[name])
    content[int(row["offset"]) + 9] ^= 4
    files(store)[name] = bytes(content)

    with pytest.raises(CorruptError, match=rf"memory/{name}: tensor '0.weight' of model 'm7' is"):
        all_models(store)
    assert len(store.fsck()) == 1
    assert "'0.weight' of model 'm7'" in store.fsck()[0]
    assert (ModelStore(store._backend).load("m8")["0.weight"] == pool()["m8"]["0.weight"]).all()


def test_every_fault_is_found_or_harmless(store):
    """After any of many random faults a load gives the right models or an error in one line."""
    rng = np.random.default_rng(0)
    whole = dict(files(store))
    found = 0
    messages = []
    for _ in range(400):
        files(store).update(whole)
        _inject(files(store), rng)
        try:
            loaded = all_models(store)
        except ShoalError as error:
            found += 1
            messages.append(str(error))
        else:
            for model, tensors in pool().items():
                for name, array in tensors.items():
                    assert loaded[model][name].tobytes() == array.tobytes()
    assert found > 200
    assert not any("\n" in message for message in messages)


def _inject(stored, rng):
    name = sorted(stored)[rng.integers(len(stored))]
    content = stored[name]
    fault = rng.integers(4)
    if fault == 0:
        at = rng.integers(len(content))
        stored[name] = (
            content[:at] + bytes([content[at] ^ 1 << rng.integers(8)]) + content[at + 1 :]
        )
    elif fault == 1:
        stored[name] = content[: rng.integers(len(content))]
    elif fault == 2:
        size = max(1, len(content) // 8)
        a, b = rng.integers(0, len(content) - size, 2)
        changed = bytearray(content)
        changed[a : a + size], changed[b : b + size] = content[b : b + size], content[a : a + size]
        stored[name] = bytes(changed)
    else:
        del stored[name]


def test_a_swap_of_two_frames_is_found(store):
    """Two models' frames exchanged in the index, hashes and all, do not pass as each other's."""

    def swap(contents):
        firsts = [contents.entries[model].rows[0] for model in ("m1", "m2")]
        places = np.searchsorted(contents.frames["first"], firsts)
        frames = contents.frames[places]
        for field in ("offset", "size"):
            contents.frames[field][places] = frames[field][::-1]

    with pytest.raises(CorruptError, match=r"of model 'm[12]' is damaged"):
        all_models(forged(store, swap))


def test_a_missing_pack_is_named(store):
    """A deleted pack is an error of what lies in it, and fsck names it once."""
    name = store._current().packs[1].name
    del files(store)[name]

    with pytest.raises(CorruptError, match=rf"memory/{name}: missing"):
        all_models(store)
    assert store.fsck() == [f"memory/{name}: missing"]


def test_a_missing_root_is_no_empty_store(store):
    """Without pool.json the other files are not taken for those of nobody."""
    del files(store)["pool.json"]

    with pytest.raises(CorruptError, match=r"memory/pool.json: missing"):
        ModelStore(store._backend).save({"new": {"t": np.ones(2)}})


def test_a_stale_index_is_found(store):
    """An index of before under the name of the present one does not pass for it."""
    old = files(store)[store._current().file]
    store.save({"more": {"t": np.ones(3)}})
    files(store)[store._current().file] = old

    with pytest.raises(CorruptError, match=r"index-.*: (header is damaged or stale|truncated)"):
        all_models(store)


def test_garbage_is_not_collected_from_a_damaged_store(store):
    """A collection that cannot read what it copies stops, and nothing is gone."""
    name = store._current().packs[1].name
    content = bytearray(files(store)[name])
    content[3000] ^= 1
    files(store)[name] = bytes(content)
    before = set(files(store))
    store.remove(["m3"])

    with pytest.raises(CorruptError, match="is damaged"):
        store.collect_garbage()

    assert before - set(files(store)) <= {n for n in before if n.startswith("index-")}
    assert (ModelStore(store._backend).load("base")["0.bias"] == 1).all()


KILLED = """
import os, signal, sys
import numpy as np
from shoal.model_store import ModelStore
store = ModelStore(sys.argv[1])
write, left = store._backend.write, [int(sys.argv[2])]
def stop(name):
    if left[0] == 0:
        with write(name) as file:
            file.write(b"half")
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    return write(name)
store._backend.write = stop
store.save({"new": {"t": np.arange(1000.0)}})
"""


@pytest.mark.parametrize("write", [0, 1, 2])
def test_a_killed_writer_leaves_the_store_as_it_was(tmp_path, write):
    """After SIGKILL in the middle of any file the store is as before, and its lock is free."""
    store = ModelStore(tmp_path)
    store.save({"old": {"t": np.ones(5)}})

    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), str(write)], env=os.environ, check=False
    )

    assert ended.returncode == -signal.SIGKILL
    again = ModelStore(tmp_path)
    assert again.ids() == ["old"]
    assert again.fsck() == []
    again.save({"new": {"t": np.arange(1000.0)}})
    again.collect_garbage()
    assert sorted(path.name[:5] for path in tmp_path.iterdir()) == [
        "index",
        "lock",
        "pack-",
        "pool.",
    ]
