"""Which model is kept as a difference from which: few bytes, under a bound on recovery.

To recover a model that is kept as a difference its base is recovered first, so long chains are
small and slow. Choosing bases such that the store is small while no model's recovery costs more
than a bound is problem 6 of Bhattacherjee et al., "Principles of dataset versioning: exploring
the recreation/storage tradeoff" (VLDB 2015), which is NP-hard; the greedy way moves one model at a
time, as their local move greedy does.

How many bytes a difference takes is estimated by the bits of its words, without encoding any.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from shoal.errors import SettingsError
from shoal.model_store.tensors import DTYPES, stacked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from shoal.model_store.store import PoolStore
    from shoal.model_store.tensors import Kind

_SLACK = 1e-9
_EXPONENT_BITS = 3  # that are left of a float's exponent among others of its tensor


class Way(NamedTuple):
    """One way to keep a model.

    Attributes:
        size: Bytes.
        cost: What it adds to the cost of recovering the base: 1 where the length of chains is
            bounded, seconds where time is.
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


def _check(ways: Mapping[str, Mapping[str | None, Way]], bound: float) -> None:
    for model, own in ways.items():
        if None not in own or own[None].cost > bound:
            raise SettingsError(f"model {model!r} cannot be recovered at a cost of {bound:g}")


def best_bases(
    store: PoolStore, candidates: Mapping[str, Sequence[str]], longest: int
) -> dict[str, str]:
    """Which model each is best kept as a difference from; those kept whole are left out.

    Args:
        store: The models.
        candidates: For each those to choose from.
        longest: Models that are read before one, at most.

    Raises:
        CorruptError: The store is damaged.
    """
    ways = {model: ways_to_keep(store, model, others) for model, others in candidates.items()}
    return {model: base for model, base in greedy_bases(ways, longest).items() if base is not None}


def ways_to_keep(store: PoolStore, model: str, others: Sequence[str]) -> dict[str | None, Way]:
    """About how many bytes a model takes, whole and as a difference from each of some others."""
    loaded = store.load_many((model, *others), "torch")
    words = {each: _words(tensors) for each, tensors in loaded.items()}
    own = words[model]
    found: dict[str | None, Way] = {None: Way(sum(_whole(*each) for each in own.values()), 0)}
    for other in others:
        theirs = words[other]
        found[other] = Way(sum(_apart(*own[name], theirs.get(name)) for name in own))
    return found


def _words(tensors: Mapping[str, Any]) -> dict[str, tuple[Kind, NDArray[Any]]]:
    """Tensors by name, as words of bits."""
    found = {}
    for name, tensor in tensors.items():
        kind, rows = stacked([tensor], name)
        found[name] = kind, rows.reshape(-1).view(kind.word_type)
    return found


def _whole(kind: Kind, words: NDArray[Any]) -> float:
    """Bytes of a tensor by itself."""
    fraction = DTYPES[kind.dtype].fraction
    bits = 8 * words.itemsize if fraction is None else fraction + 1 + _EXPONENT_BITS
    return bits * len(words) / 8


def _apart(kind: Kind, words: NDArray[Any], other: tuple[Kind, NDArray[Any]] | None) -> float:
    """Bytes of what a tensor differs by."""
    if other is None or other[0] != kind:
        return _whole(kind, words)
    difference = words - other[1]
    smaller = np.minimum(difference, -difference).astype(np.float64)
    return float(np.log2(smaller + 1).sum() + np.count_nonzero(smaller)) / 8
