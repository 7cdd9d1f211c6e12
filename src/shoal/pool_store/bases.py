"""Which model is kept as a difference from which: few bytes, under a bound on recovery.

To recover a model that is kept as a difference its base is recovered first, so long chains are
small and slow. Choosing bases such that the store is small while no model's recovery costs more
than a bound is problem 6 of Bhattacherjee et al., "Principles of dataset versioning: exploring
the recreation/storage tradeoff" (VLDB 2015), which is NP-hard; the greedy way moves one model at a
time, as their local move greedy does.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, NamedTuple

from shoal.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SLACK = 1e-9


class Way(NamedTuple):
    """One way to keep a model.

    Attributes:
        size: Bytes.
        cost: What it adds to the cost of recovering the base, above 0: 1 where the length of
            chains is bounded, seconds where time is.
    """

    size: float
    cost: float = 1


def greedy_bases(
    ways: Mapping[str, Mapping[str | None, Way]], bound: float
) -> dict[str, str | None]:
    """A base for each model, or ``None``: from all models whole, the greatest saving first.

    Args:
        ways: For each model the ways to keep it, by base; ``None`` is whole.
        bound: Cost that no model's recovery exceeds.

    Raises:
        SettingsError: Some model cannot be recovered whole within the bound.
    """
    tree = _Tree(ways, bound)
    waiting = [(-saving, m, b) for m in ways for b, saving in tree.savings(m)]
    moved = True
    while waiting and moved:
        heapq.heapify(waiting)
        blocked, moved = [], False
        while waiting:
            negative, model, base = heapq.heappop(waiting)
            if -negative != tree.saving(model, base):
                continue
            if not tree.allows(model, base):
                blocked.append((negative, model, base))
                continue
            tree.move(model, base)
            moved = True
            for other, saving in tree.savings(model):
                heapq.heappush(waiting, (-saving, model, other))
        waiting = blocked
    return tree.bases


class _Tree:
    """Models below their bases."""

    def __init__(self, ways: Mapping[str, Mapping[str | None, Way]], bound: float) -> None:
        _check(ways, bound)
        self._ways = ways
        self._bound = bound
        self.bases: dict[str, str | None] = dict.fromkeys(ways)
        self._above: dict[str, set[str]] = {model: set() for model in ways}

    def saving(self, model: str, base: str) -> float:
        """Bytes that another base of a model would save."""
        own = self._ways[model]
        return own[self.bases[model]].size - own[base].size

    def savings(self, model: str) -> list[tuple[str, float]]:
        """Bases of which each would save some bytes."""
        bases = [base for base in self._ways[model] if base is not None]
        return [(base, saved) for base in bases if (saved := self.saving(model, base)) > 0]

    def allows(self, model: str, base: str) -> bool:
        """Whether the bound holds then, and no model would be its own base."""
        chain = self._chain(base)
        way = self._ways[model][base]
        cost = self._cost(chain) + way.cost + self._height(model)
        return model not in chain and cost <= self._bound + _SLACK

    def move(self, model: str, base: str) -> None:
        """Give a model another base."""
        before = self.bases[model]
        if before is not None:
            self._above[before].remove(model)
        self.bases[model] = base
        self._above[base].add(model)

    def _chain(self, model: str) -> list[str]:
        """A model, its base, and so on."""
        chain = [model]
        while (base := self.bases[chain[-1]]) is not None:
            chain.append(base)
        return chain

    def _cost(self, chain: Sequence[str]) -> float:
        return sum(self._ways[model][self.bases[model]].cost for model in chain)

    def _height(self, model: str) -> float:
        """Cost of the dearest way from a model to one that is recovered from it."""
        own = (self._ways[m][model].cost + self._height(m) for m in self._above[model])
        return max(own, default=0.0)


def exact_bases(
    ways: Mapping[str, Mapping[str | None, Way]], bound: float
) -> dict[str, str | None]:
    """The bases of fewest bytes, by integer programming: for few models, and to check the greedy.

    Args:
        ways: For each model the ways to keep it, by base; ``None`` is whole.
        bound: Cost that no model's recovery exceeds.

    Raises:
        SettingsError: Some model cannot be recovered whole within the bound.
    """
    import pulp

    _check(ways, bound)

    problem = pulp.LpProblem("bases", pulp.LpMinimize)
    number = {model: place for place, model in enumerate(ways)}
    kept = {
        (model, base): problem.add_variable(f"kept_{place}", 0, 1, pulp.LpInteger)
        for place, (model, base) in enumerate((m, b) for m, own in ways.items() for b in own)
    }
    cost = {m: problem.add_variable(f"cost_{place}", 0, bound) for m, place in number.items()}
    problem += pulp.lpSum(each * ways[m][b].size for (m, b), each in kept.items())
    for model, own in ways.items():
        problem += pulp.lpSum(kept[model, base] for base in own) == 1
        for base, way in own.items():
            before = 0 if base is None else cost[base]
            slack = (1 - kept[model, base]) * (bound + way.cost)
            problem += cost[model] + slack >= before + way.cost
    solver = pulp.COIN_CMD(path=pulp.PULP_CBC_CMD.pulp_cbc_path, msg=False)
    if problem.solve(solver) != pulp.LpStatusOptimal:
        raise RuntimeError("CBC found no optimum")
    return {m: next(b for b in own if kept[m, b].value() > 0.5) for m, own in ways.items()}


def _check(ways: Mapping[str, Mapping[str | None, Way]], bound: float) -> None:
    for model, own in ways.items():
        if None not in own or own[None].cost > bound:
            raise SettingsError(f"model {model!r} cannot be recovered at a cost of {bound:g}")
