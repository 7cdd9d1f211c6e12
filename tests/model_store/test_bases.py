"""Bases of models that are kept as differences."""

import numpy as np
import pulp
import pytest

from shoal.errors import SettingsError
from shoal.model_store import ModelStore
from shoal.model_store.backends import Memory
from shoal.model_store.bases import Option, best_bases, greedy_bases, options_to_keep, rewrite
from shoal.model_store.care import usage


def exact_bases(options, bound):
    """The bases of fewest bytes, by integer programming."""
    problem = pulp.LpProblem("bases", pulp.LpMinimize)
    number = {model: place for place, model in enumerate(options)}
    kept = {
        (model, base): problem.add_variable(f"kept_{place}", 0, 1, pulp.LpInteger)
        for place, (model, base) in enumerate((m, b) for m, own in options.items() for b in own)
    }
    cost = {m: problem.add_variable(f"cost_{place}", 0, bound) for m, place in number.items()}
    problem += pulp.lpSum(each * options[m][b].size for (m, b), each in kept.items())
    for model, own in options.items():
        problem += pulp.lpSum(kept[model, base] for base in own) == 1
        for base, option in own.items():
            before = 0 if base is None else cost[base]
            slack = (1 - kept[model, base]) * (bound + option.cost)
            problem += cost[model] + slack >= before + option.cost
    solver = pulp.COIN_CMD(path=pulp.PULP_CBC_CMD.pulp_cbc_path, msg=False)
    assert problem.solve(solver) == pulp.LpStatusOptimal
    return {m: next(b for b in own if kept[m, b].value() > 0.5) for m, own in options.items()}


def a_pool(seed, models=9):
    """Ways to keep some models: whole, or as a difference from any of four others."""
    rng = np.random.default_rng(seed)
    names = [f"m{number}" for number in range(models)]
    options = {name: {None: Option(float(rng.uniform(90, 100)))} for name in names}
    for name in names:
        for base in rng.permutation([n for n in names if n != name])[:4]:
            options[name][str(base)] = Option(float(rng.uniform(10, 80)))
    return options


def size(options, bases):
    """Bytes of a pool under a choice of bases."""
    return sum(options[model][base].size for model, base in bases.items())


def cost(options, bases, model):
    """Cost of a model's recovery; it ends only if there is no cycle."""
    total = 0.0
    while model is not None:
        total += options[model][bases[model]].cost
        model = bases[model]
        assert total < 1000
    return total


@pytest.mark.parametrize("bound", [1, 2, 3, 5])
@pytest.mark.parametrize("seed", range(5))
def test_no_recovery_costs_more_than_the_bound(seed, bound):
    """Every model is recovered within the bound."""
    options = a_pool(seed)
    bases = greedy_bases(options, bound)

    assert list(bases) == list(options)
    assert max(cost(options, bases, model) for model in options) <= bound


@pytest.mark.parametrize("bound", [1, 3])
def test_the_greedy_choice_is_near_the_exact_one(bound):
    """It is never smaller than the optimum, and over some pools at most a fifth larger."""
    pools = [a_pool(seed) for seed in range(3)]
    greedy = [size(options, greedy_bases(options, bound)) for options in pools]
    exact = [size(options, exact_bases(options, bound)) for options in pools]
    assert all(g >= e - 1e-6 for g, e in zip(greedy, exact, strict=True))
    assert sum(greedy) <= 6 / 5 * sum(exact)


def test_a_bound_on_time_adds_up_seconds():
    """A chain whose seconds exceed the bound is cut, though it would be smaller."""
    options = {
        "a": {None: Option(100, 1.0)},
        "b": {None: Option(100, 1.0), "a": Option(5, 0.5)},
        "c": {None: Option(100, 1.0), "b": Option(10, 0.5)},
    }
    for choose in (greedy_bases, exact_bases):
        assert choose(options, 2.0) == {"a": None, "b": "a", "c": "b"}
        assert choose(options, 1.5) == {"a": None, "b": "a", "c": None}


def test_a_pool_out_of_reach_is_refused():
    """A model that costs more than the bound even whole is named."""
    options = {"a": {None: Option(100, 3.0)}}
    with pytest.raises(SettingsError, match="'a' cannot be recovered at a cost of 2"):
        greedy_bases(options, 2.0)


def chain(models, size=4000):
    """Models of which each is near the one before it, and farther from the first."""
    rng = np.random.default_rng(0)
    found = [rng.normal(size=size).astype(np.float32)]
    for _ in range(models - 1):
        found.append((found[-1] * (1 + rng.normal(size=size) * 1e-4)).astype(np.float32))
    return {f"m{number}": {"weight": each} for number, each in enumerate(found)}


@pytest.mark.parametrize("longest", [1, 3])
def test_a_store_written_anew_is_smaller_with_short_chains(longest):
    """Models saved whole become differences, of chains no longer than asked, with their bits."""
    models = chain(8)
    store = ModelStore(Memory())
    for model, tensors in models.items():
        store.save({model: tensors}, records={model: {"name": model}})
    before = store.bytes
    candidates = {f"m{n}": [f"m{n - 1}"] if n else [] for n in range(8)}

    saved = rewrite(store, best_bases(store, candidates, longest))

    assert saved == before - store.bytes > 0
    assert 0 < max(usage(store, model).steps for model in models) <= longest
    for model, tensors in models.items():
        assert store.load(model)["weight"].tobytes() == tensors["weight"].tobytes()
        assert store.record(model) == {"name": model}
    assert store.fsck() == []


def test_a_difference_is_estimated_near_its_bytes():
    """By bits of words alone: within a quarter of what is stored, whole and as a difference."""
    models = chain(2)
    store = ModelStore(Memory())
    store.save({"m0": models["m0"]})
    store.save({"m1": models["m1"]}, base="m0")
    whole, apart = options_to_keep(store, "m0", []), options_to_keep(store, "m1", ["m0"])

    assert whole[None].size == pytest.approx(usage(store, "m0").stored, rel=0.25)
    assert apart["m0"].size == pytest.approx(usage(store, "m1").stored, rel=0.25)


def test_a_store_that_would_not_shrink_stays():
    """Writing anew what is as small as it gets changes no byte, unless it is asked for."""
    store = ModelStore(Memory())
    models = chain(3)
    store.save({"m0": models["m0"]})
    store.save({"m1": models["m1"], "m2": models["m2"]}, base="m0")
    store.collect_garbage()
    before = store.bytes

    assert rewrite(store, {}) == 0
    assert store.bytes == before
    assert rewrite(store, {}, even_if_larger=True) < 0
    assert usage(store, "m1").steps == 0


def test_a_rewrite_that_is_cut_off_leaves_the_store_as_it_was(monkeypatch):
    """Until the root is replaced nothing that is needed has changed."""
    store = ModelStore(Memory())
    models = chain(4)
    for model, tensors in models.items():
        store.save({model: tensors})
    write = store.backend.write
    monkeypatch.setattr(store.backend, "write", lambda name: _killed(write, name))

    with pytest.raises(KeyboardInterrupt):
        rewrite(store, {"m1": "m0", "m2": "m1"})

    monkeypatch.undo()
    assert store.fsck() == []
    assert usage(store, "m1").steps == 0
    store.collect_garbage()
    assert store.load("m2")["weight"].tobytes() == models["m2"]["weight"].tobytes()


def _killed(write, name):
    if name == "pool.json":
        raise KeyboardInterrupt
    return write(name)
