"""Damage is found and named; hostile files get an error within bounded memory and time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from shoal.errors import CorruptError, ShoalError
from shoal.hashing import canonical_json, json_hash
from shoal.pool_store import PoolStore
from shoal.pool_store.backends import Memory
from shoal.pool_store.index_format import PackPlace, write_index
from shoal.pool_store.tensors import Kind


def pool(count=40):
    """A base and models near it."""
    rng = np.random.default_rng(0)
    base = {"0.weight": rng.normal(size=(20, 30)).astype("f4"), "0.bias": np.ones(3, "f4")}
    moved = {
        f"m{n}": {k: a + rng.normal(size=a.shape).astype("f4") / 1000 for k, a in base.items()}
        for n in range(count)
    }
    return {"base": base, **moved}


@pytest.fixture
def store():
    """A store in memory with a base and forty models."""
    models = pool()
    store = PoolStore(Memory())
    store.save({"base": models.pop("base")})
    store.save(models, base="base")
    return store


def files(store):
    """The store's files, to be tampered with."""
    return store._backend._files


def all_models(store):
    """Every model as a reader that starts afresh gets it."""
    return PoolStore(store._backend).load_many(pool())


def forged(store, change):
    """Write what ``change`` makes of the index, with hashes that agree."""
    contents = store._current().contents()
    change(contents)
    write_index(store._backend, contents)
    return PoolStore(store._backend)


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
    assert (PoolStore(store._backend).load("m8")["0.weight"] == pool()["m8"]["0.weight"]).all()


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
        PoolStore(store._backend).save({"new": {"t": np.ones(2)}})


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
    assert (PoolStore(store._backend).load("base")["0.bias"] == 1).all()


def _rename(contents, name):
    pack = contents.packs[1]
    contents.packs[1] = PackPlace(name, pack.bytes, pack.forms)


def _reshape(contents, shape):
    _each_kind(contents, lambda kind: Kind(kind.dtype, tuple(shape)))


def _retype(contents, dtype):
    _each_kind(contents, lambda kind: Kind(dtype, kind.shape))


def _each_kind(contents, change):
    pack = contents.packs[1]
    forms = tuple(replace(f, kinds=tuple(change(kind) for kind in f.kinds)) for f in pack.forms)
    contents.packs[1] = PackPlace(pack.name, pack.bytes, forms)


def _reform(contents, **changes):
    pack = contents.packs[1]
    forms = tuple(replace(form, **changes) for form in pack.forms)
    contents.packs[1] = PackPlace(pack.name, pack.bytes, forms)


def _set(contents, field, value):
    contents.frames[field][contents.frames["pack"] == 1] = value


def _refer(contents, number):
    contents.tensors["reference"][contents.entries["m1"].rows[0]] = number


def _circle(contents):
    one, two = (contents.entries[model].rows[0] for model in ("m1", "m2"))
    contents.tensors["reference"][[one, two]] = [two, one]


def _grow(contents):
    pack = contents.packs[1]
    contents.packs[1] = PackPlace(pack.name, 2**50, pack.forms)
    _set(contents, "size", 2**40)


HOSTILE = {
    "path": (lambda c: _rename(c, "../../../../etc/passwd"), "header not readable .*no name"),
    "absolute path": (lambda c: _rename(c, "/etc/passwd"), "header not readable .*no name"),
    "terabytes": (lambda c: _reshape(c, [10**13]), "none$"),
    "more than there is": (lambda c: _reshape(c, [10**30, 10**30]), "none$"),
    "negative": (lambda c: _reshape(c, [-5]), "no kind of tensors"),
    "unknown codec": (lambda c: _reform(c, codec=9), "no form of frames"),
    "unknown type": (lambda c: _retype(c, "object"), "no kind of tensors"),
    "beyond the file": (lambda c: _set(c, "offset", 2**63), "none$"),
    "huge frame": (lambda c: _set(c, "size", 2**62), "none$"),
    "unknown form": (lambda c: _set(c, "form", 999), "none$"),
    "unknown pack": (lambda c: _set(c, "pack", 999), "none$"),
    "keys beyond the pack": (lambda c: _reform(c, keys=slice(2**40, 2**41)), "no chosen bytes"),
    "keys that are no keys": (lambda c: _reform(c, keys=slice(0, 4000)), "its keys are none"),
    "keys before the pack": (lambda c: _reform(c, keys=slice(-9, 400)), "no chosen bytes"),
    "a byte beyond the word": (lambda c: _reform(c, keys=(4, 0)), "no chosen bytes"),
    "other bytes squeezed": (lambda c: _reform(c, is_squeezed=True), "its frame is"),
    "a reference to nothing": (lambda c: _refer(c, 10**6), "none$"),
    "a circle": (_circle, "refers to what it cannot"),
    "another kind": (lambda c: _refer(c, c.entries["base"].rows[1]), "refers to what it cannot"),
    "a long chain": (lambda c: _set(c, "depth", 200), "none$"),
    "pack beyond its end": (_grow, "truncated|overlaps|damaged"),
}


@pytest.mark.parametrize("attack", HOSTILE)
def test_a_forged_index_is_refused(store, attack):
    """Indexes that no store writes, their hashes in order, cost an error and little else."""
    change, message = HOSTILE[attack]

    started = time.monotonic()
    tracemalloc.start()
    with pytest.raises(CorruptError, match=message) as raised:
        all_models(forged(store, change))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert "\n" not in str(raised.value)
    assert peak < 64 << 20
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    "root",
    [
        b"",
        b"\x00" * 1000,
        b"[" * 60000,
        b"x" * 10**6,
        b'{"format": 1}',
        b'{"format":1,"index":"../../etc/passwd","header":[0,9,9,"aa"],"seal":"aa"}',
    ],
    ids=range(6),
)
def test_a_forged_root_is_refused(store, root):
    """Whatever stands in pool.json, the error is one line."""
    files(store)["pool.json"] = root

    with pytest.raises(CorruptError, match=r"memory/pool.json: ") as raised:
        all_models(store)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "of format 2, and this Shoal reads 1"),
        ({"index": "../../../etc/passwd"}, "does not match"),
        ({"header": [0, 100, 2**45, "00"]}, "claims 35184372088832 bytes"),
        ({"header": [0, 2**45, 2**45, "00"]}, "truncated"),
        ({"header": [-5, 10, 10, "00"]}, "damaged|truncated"),
    ],
)
def test_a_forged_root_with_its_seal_is_refused(store, change, message):
    """A root that agrees with its own hash is still not believed."""
    record = json.loads(files(store)["pool.json"])
    del record["seal"]
    record |= change
    files(store)["pool.json"] = canonical_json(record | {"seal": json_hash(record)}).encode()

    with pytest.raises(CorruptError, match=message):
        all_models(store)


def test_a_bomb_in_a_page_is_refused(store, monkeypatch):
    """A page that would unfold to more than it says is not unfolded."""
    import hashlib

    import zstandard

    bomb = zstandard.compress(bytes(1 << 28), 3)
    files(store)["index-" + "0" * 32] = bomb
    record = {"format": 1, "index": "index-" + "0" * 32}
    record["header"] = [0, len(bomb), 1000, hashlib.sha256(bomb).hexdigest()[:32]]
    files(store)["pool.json"] = canonical_json(record | {"seal": json_hash(record)}).encode()

    tracemalloc.start()
    with pytest.raises(CorruptError, match="header is of another size than it says"):
        all_models(store)
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()


def test_names_of_models_are_no_paths(tmp_path):
    """Ids and names of tensors that look like paths are kept as text and touch no file."""
    store = PoolStore(tmp_path / "store")
    models = {
        "../../evil": {"../x": np.ones(2)},
        "/abs": {"/y": np.ones(3)},
        "a\nb": {"": np.ones(1)},
    }

    store.save(models)

    assert store.ids() == sorted(models)
    assert list(store.load("../../evil")) == ["../x"]
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


KILLED = """
import os, signal, sys
import numpy as np
from shoal.pool_store import PoolStore
store = PoolStore(sys.argv[1])
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
    store = PoolStore(tmp_path)
    store.save({"old": {"t": np.ones(5)}})

    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), str(write)], env=os.environ, check=False
    )

    assert ended.returncode == -signal.SIGKILL
    again = PoolStore(tmp_path)
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
