"""Bases of models that are kept as differences."""

import numpy as np
import pytest

from shoal.errors import SettingsError
from shoal.pool_store.bases import Way, exact_bases, greedy_bases


def a_pool(seed, models=12):
    """Ways to keep some models: whole, or as a difference from any of four others."""
    rng = np.random.default_rng(seed)
    names = [f"m{number}" for number in range(models)]
    ways = {name: {None: Way(float(rng.uniform(90, 100)))} for name in names}
    for name in names:
        for base in rng.permutation([n for n in names if n != name])[:4]:
            ways[name][str(base)] = Way(float(rng.uniform(10, 80)))
    return ways


def size(ways, bases):
    """Bytes of a pool under a choice of bases."""
    return sum(ways[model][base].size for model, base in bases.items())


def cost(ways, bases, model):
    """Cost of a model's recovery; it ends only if there is no cycle."""
    total = 0.0
    while model is not None:
        total += ways[model][bases[model]].cost
        model = bases[model]
        assert total < 1000
    return total


@pytest.mark.parametrize("bound", [1, 2, 3, 5])
@pytest.mark.parametrize("seed", range(5))
def test_no_recovery_costs_more_than_the_bound(seed, bound):
    """Every model is recovered within the bound, by the greedy choice and by the exact one."""
    ways = a_pool(seed)
    for choose in (greedy_bases, exact_bases):
        bases = choose(ways, bound)
        assert list(bases) == list(ways)
        assert max(cost(ways, bases, model) for model in ways) <= bound


@pytest.mark.parametrize("bound", [1, 2, 3, 5])
def test_the_greedy_choice_is_near_the_exact_one(bound):
    """It is never smaller than the optimum, and over some pools at most a seventh larger."""
    pools = [a_pool(seed) for seed in range(5)]
    greedy = [size(ways, greedy_bases(ways, bound)) for ways in pools]
    exact = [size(ways, exact_bases(ways, bound)) for ways in pools]
    assert all(g >= e - 1e-6 for g, e in zip(greedy, exact, strict=True))
    assert sum(greedy) <= 8 / 7 * sum(exact)


def test_a_bound_on_time_adds_up_seconds():
    """A chain whose seconds exceed the bound is cut, though it would be smaller."""
    ways = {
        "a": {None: Way(100, 1.0)},
        "b": {None: Way(100, 1.0), "a": Way(5, 0.5)},
        "c": {None: Way(100, 1.0), "b": Way(10, 0.5)},
    }
    for choose in (greedy_bases, exact_bases):
        assert choose(ways, 2.0) == {"a": None, "b": "a", "c": "b"}
        assert choose(ways, 1.5) == {"a": None, "b": "a", "c": None}


def test_a_pool_out_of_reach_is_refused():
    """A model that costs more than the bound even whole is named."""
    ways = {"a": {None: Way(100, 3.0)}}
    with pytest.raises(SettingsError, match="'a' cannot be recovered at a cost of 2"):
        greedy_bases(ways, 2.0)
    with pytest.raises(SettingsError, match="'a' cannot be recovered at a cost of 2"):
        exact_bases(ways, 2.0)
