"""How a release's models are stored."""

import numpy as np

from shoal.archive.keep import _File, _Parent, _save
from shoal.archive.kept import Key
from shoal.formats.fitted_state import save_state
from shoal.model_store import ModelStore
from shoal.model_store.backends import Memory
from shoal.model_store.care import usage

PLAN = {
    "release": "r",
    "settings": {
        "generation": 1,
        "model": {},
        "train_specialists": {"seed": 0},
        "store": {"keep": "delta"},
    },
}


def test_links_are_differences_from_their_parents_in_bounded_chains(tmp_path):
    """A small step takes few bytes after many others, and no model is read over more than eight."""
    rng = np.random.default_rng(0)
    store = ModelStore(Memory())
    weights = rng.normal(size=20_000).astype(np.float32)
    path, key = tmp_path / "base.safetensors", Key("base", "made", "g1")
    save_state(path, {"w": weights}, {})
    (base,) = _save(store, [_File(key, path, tmp_path / "none.json")], PLAN, {}, None)
    made = {}
    for number in range(12):
        weights = weights + rng.normal(size=20_000).astype(np.float32) * np.float32(1e-5)
        parent = _Parent(key, path, {"buffers": "trained"}) if number else None
        path, key = tmp_path / f"{number}.safetensors", Key("specialist", "made", str(number), "p")
        save_state(path, {"w": weights}, {"continues": "it"} if number else {})
        file = _File(key, path, tmp_path / "none.json", "code", 0, str(number), parent)
        (listed,) = _save(store, [file], PLAN, {}, base["id"])
        made[listed["id"]] = weights

    ids = list(made)
    assert [store.record(model)["parent"] for model in ids] == [None, *ids[:-1]]
    assert all(store.record(model)["base"] == base["id"] for model in ids)
    used = [usage(store, model) for model in ids]
    assert max(each.steps for each in used) == 8
    assert all(each.stored < each.plain / 2 for each in used)
    assert all((store.load(model)["w"] == own).all() for model, own in made.items())


def test_a_parent_that_the_store_lacks_is_none(tmp_path):
    """A model with other bits, of the same name, is not taken for it."""
    store, mixing = ModelStore(Memory()), {"buffers": "trained"}
    key = Key("specialist", "made", "0", "p")
    files = [tmp_path / f"{number}.safetensors" for number in range(3)]
    for number, path in enumerate(files):
        save_state(path, {"w": np.full(3, number, np.float32)}, {"continues": "it"})
    none = tmp_path / "none.json"
    (other,) = _save(store, [_File(key, files[0], none)], PLAN, {}, None)
    link = Key("specialist", "made", "1", "p")
    file = _File(link, files[2], none, parent=_Parent(key, files[1], mixing))

    (listed,) = _save(store, [file], PLAN, {("specialist", None, "p"): other["id"]}, None)

    assert store.record(listed["id"])["parent"] is None
