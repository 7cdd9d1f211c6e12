"""What every backend of the model store promises."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from shoal.errors import ModelError
from shoal.model_store import ModelStore
from shoal.model_store.backends import Memory
from shoal.model_store.care import collectable, freed_by, usage


@pytest.fixture(params=["folder", "memory", "memory://"])
def where(request, tmp_path):
    """A place that holds no store yet."""
    if request.param == "folder":
        return tmp_path / "store"
    if request.param == "memory":
        return Memory()
    return f"memory://{tmp_path.name}"


def net(seed, width=16):
    """A small network's parameters."""
    rng = np.random.default_rng(seed)
    return {
        "0.weight": rng.normal(size=(width, 12)).astype(np.float32),
        "0.bias": rng.normal(size=width).astype(np.float32),
        "1.weight": rng.normal(size=(1, width)).astype(np.float32),
    }


def tuned(base, seed, size=1e-3):
    """The same, a little moved."""
    rng = np.random.default_rng(seed)
    return {n: (a + rng.normal(size=a.shape) * size).astype(a.dtype) for n, a in base.items()}


def same(found, expected):
    """Whether two models have the same names, types, shapes and bits."""
    return list(found) == list(expected) and all(
        found[n].dtype == expected[n].dtype
        and found[n].shape == expected[n].shape
        and found[n].tobytes() == np.asarray(expected[n]).tobytes()
        for n in expected
    )


class TestModelStoreContract:
    """Saving, loading, removing and collecting, whatever the files lie in."""

    def test_models_come_back_bit_for_bit(self, where):
        """A pool of fine-tuned models is recovered exactly, one by one and together."""
        base = net(0)
        pool = {f"m{n}": tuned(base, n) for n in range(100)}
        store = ModelStore(where)

        store.save({"base": base, **pool}, base="base")

        again = ModelStore(where)
        assert all(same(again.load(model), pool[model]) for model in ("m0", "m57", "m99"))
        loaded = again.load_many(pool)
        assert all(same(loaded[model], pool[model]) for model in pool)
        assert again.ids() == sorted(["base", *pool])
        assert len(again) == 101
        assert "m5" in again
        assert "m100" not in again

    def test_a_pool_takes_few_files(self, where):
        """Two hundred models and a round of twenty more take five files."""
        base = net(0)
        store = ModelStore(where)

        store.save({f"m{n}": tuned(base, n) for n in range(200)} | {"base": base}, base="base")
        store.save({f"n{n}": tuned(base, 500 + n) for n in range(20)}, base="base")

        assert len([n for n in store._backend.sizes() if n != "lock"]) <= 5

    def test_equal_tensors_are_stored_once(self, where):
        """A tensor that another model has, under whatever name, adds no bytes to the packs."""
        store = ModelStore(where)
        store.save({"a": net(1)})
        before = _pack_bytes(store)

        store.save({"b": net(1), "c": {"other": net(1)["0.weight"]}})

        assert _pack_bytes(store) == before
        assert same(store.load("c"), {"other": net(1)["0.weight"]})

    def test_a_round_is_compared_with_its_parents(self, where):
        """Models that moved little from their parents take less than against their base."""
        base = net(0, 64)
        first = {f"m{n}": tuned(base, n, 1.0) for n in range(20)}
        second = {f"n{n}": tuned(first[f"m{n}"], 100 + n, 1e-4) for n in range(20)}
        alone, related = ModelStore(where), ModelStore(Memory())
        for store in (alone, related):
            store.save({"base": base, **first}, base="base")

        alone.save(second, base="base")
        related.save(second, base="base", parents={f"n{n}": f"m{n}" for n in range(20)})

        assert all(same(related.load(model), second[model]) for model in second)
        assert _pack_bytes(related) < 0.85 * _pack_bytes(alone)

    def test_parents_may_come_with_their_children(self, where):
        """A chain of parents saved at once is recovered, whatever order it is given in."""
        chain = [net(0)]
        for n in range(12):
            chain.append(tuned(chain[-1], n))
        models = {f"m{n}": model for n, model in enumerate(chain)}
        store = ModelStore(where)

        store.save(
            dict(reversed(models.items())), parents={f"m{n}": f"m{n - 1}" for n in range(1, 13)}
        )

        assert all(same(store.load(model), models[model]) for model in models)
        assert store._current().contents().frames["depth"].max() <= 8

    def test_saving_again_changes_nothing(self, where):
        """The same model under the same id is left as it is; another under that id is refused."""
        store = ModelStore(where)
        store.save({"a": net(1)})
        before = store._backend.sizes()

        store.save({"a": net(1)})

        assert store._backend.sizes() == before
        with pytest.raises(ModelError, match="'a' is in the store with other tensors"):
            store.save({"b": net(3), "a": net(2)})
        assert "b" not in store

    def test_what_is_removed_is_gone_after_collection(self, where):
        """Removing a model frees its bytes but not those of the models made from it."""
        base = net(0, 64)
        store = ModelStore(where)
        store.save({"base": base})
        store.save({f"m{n}": tuned(base, n) for n in range(20)}, base="base")
        store.save({"lone": net(9, 64)})

        store.remove(["base", "lone", "m3"])

        assert store.collect_garbage() > 0
        assert store.fsck() == []
        assert store.ids() == sorted(f"m{n}" for n in range(20) if n != 3)
        assert all(same(store.load(f"m{n}"), tuned(base, n)) for n in range(20) if n != 3)
        with pytest.raises(ModelError, match="no model 'lone'"):
            store.load("lone")

    def test_small_rounds_do_not_pile_up_files(self, where):
        """After many rounds of one model each there are no more than some forty files."""
        base = net(0)
        store = ModelStore(where)
        store.save({"base": base})

        for n in range(70):
            store.save({f"m{n}": tuned(base, n)}, base="base")

        assert len(store._backend.sizes()) < 40
        store.collect_garbage()
        assert len(store._backend.sizes()) <= 4
        assert all(same(store.load(f"m{n}"), tuned(base, n)) for n in range(70))

    def test_two_writers_do_not_lose_each_other(self, where):
        """Models saved by several writers at once are all there afterwards."""
        base = net(0)
        ModelStore(where).save({"base": base})

        def write(writer):
            for n in range(5):
                ModelStore(where).save(
                    {f"w{writer}-{n}": tuned(base, 10 * writer + n)}, base="base"
                )

        threads = [threading.Thread(target=write, args=(writer,)) for writer in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        store = ModelStore(where)
        assert len(store) == 16
        assert store.fsck() == []
        assert same(store.load("w2-4"), tuned(base, 24))

    def test_a_writer_that_fails_leaves_the_store_as_it_was(self, where, monkeypatch):
        """Whatever write fails, readers find the state before, and the next writer works."""
        base = net(0)
        store = ModelStore(where)
        store.save({"base": base})
        backend = store._backend
        write = backend.write
        for failing in range(3):  # the pack, the index, the root
            calls = iter(range(10))

            def fail(name, calls=calls, failing=failing):
                if next(calls) == failing:
                    raise KeyboardInterrupt
                return write(name)

            monkeypatch.setattr(backend, "write", fail)
            with pytest.raises(KeyboardInterrupt):
                store.save({"m": tuned(base, 1)}, base="base")
            monkeypatch.undo()

            assert ModelStore(where).ids() == ["base"]
            assert ModelStore(where).fsck() == []

        store.save({"m": tuned(base, 1)}, base="base")
        store.collect_garbage()
        assert same(ModelStore(where).load("m"), tuned(base, 1))

    def test_a_reader_outlives_a_collection(self, where):
        """A store that was opened before files were replaced reads the new ones."""
        base = net(0)
        reader, writer = ModelStore(where), ModelStore(where)
        writer.save({"base": base})
        writer.save({"m": tuned(base, 1)}, base="base")
        assert same(reader.load("m"), tuned(base, 1))

        writer.collect_garbage()

        assert same(reader.load("base"), base)

    def test_records_are_kept_with_models(self, where):
        """What was given with a model comes back with it, also after a collection."""
        store = ModelStore(where)
        store.save({"a": net(1), "b": net(2)}, records={"a": {"seed": 7, "parts": ["x"]}})

        store.remove(["b"])
        store.collect_garbage()

        assert store.record("a") == {"seed": 7, "parts": ["x"]}

    def test_trees_tell_which_layers_differ(self, where):
        """Models that share a layer share its hash, and equal models the root."""
        base = net(0)
        changed = base | {"1.weight": base["1.weight"] + 1}
        store = ModelStore(where)
        store.save({"a": base, "b": changed, "c": dict(base)})

        a, b, c = (store.tree(model) for model in "abc")

        assert a == c
        assert a.root != b.root
        assert [layer for layer in a.layers if a.layers[layer] != b.layers[layer]] == ["1"]

    def test_tensors_handed_out_are_apart(self, where):
        """Changing one loaded model changes no other, even where they share a tensor."""
        store = ModelStore(where)
        store.save({"a": net(1), "b": net(1)})

        loaded = store.load_many(["a", "b"], "torch")
        loaded["a"]["0.bias"] += 1

        assert same({n: t.numpy() for n, t in loaded["b"].items()}, net(1))
        assert isinstance(loaded["b"]["0.bias"], torch.Tensor)

    def test_a_model_may_give_way_in_one_step(self, where):
        """A model that is replaced has another record; what refers to its tensors still reads."""
        store, first = ModelStore(where), net(0)
        store.save({"a": first})
        second = tuned(first, 1)
        store.save({"b": second}, base="a")

        store.save({"a": {}}, records={"a": {"gone": True}}, replace=True)

        assert store.load("a") == {}
        assert store.record("a") == {"gone": True}
        assert store.tree("a").tensors == {}
        assert same(store.load("b"), second)
        store.collect_garbage()
        assert same(store.load("b"), second)
        assert store.fsck() == []

    def test_what_removal_would_free_is_known_before(self, where):
        """Only frames that no other model needs are counted."""
        store, first = ModelStore(where), net(0)
        store.save({"a": first})
        store.save({"b": tuned(first, 1), "c": first}, base="a")

        assert freed_by(store, ["a"]) == freed_by(store, ["c"]) == 0
        assert freed_by(store, ["b"]) == usage(store, "b").stored > 0
        everything = usage(store, "a").stored + usage(store, "b").stored
        assert freed_by(store, ["a", "b", "c"]) == everything

    def test_garbage_that_is_there_already_is_counted_apart(self, where):
        """Frames of models that were removed, and packs that a killed writer left unnamed."""
        store = ModelStore(where)
        store.save({"a": net(0), "b": net(1)})
        assert collectable(store) == 0

        size, other = freed_by(store, ["a"]), freed_by(store, ["b"])
        store.remove(["a"])
        assert (collectable(store), freed_by(store, ["b"])) == (size, other)
        with store.backend.write(f"pack-{'0' * 32}.zarr.zip") as file:
            file.write(b"123")
        assert collectable(store) == size + 3

        store.collect_garbage()
        assert collectable(store) == 0


def _pack_bytes(store):
    return sum(size for name, size in store._backend.sizes().items() if name.startswith("pack-"))
