"""Hostile files get an error within bounded memory and time."""

from __future__ import annotations

import json
import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from shoal.errors import CorruptError
from shoal.formats.hashing import canonical_json, json_hash
from shoal.model_store import ModelStore
from shoal.model_store.index_format import PackPlace
from shoal.model_store.tensors import Kind
from tests.model_store.tampering import all_models, files, forged


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
    store = ModelStore(tmp_path / "store")
    models = {
        "../../evil": {"../x": np.ones(2)},
        "/abs": {"/y": np.ones(3)},
        "a\nb": {"": np.ones(1)},
    }

    store.save(models)

    assert store.ids() == sorted(models)
    assert list(store.load("../../evil")) == ["../x"]
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
