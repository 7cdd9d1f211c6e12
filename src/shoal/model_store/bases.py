"""Chooses which model is stored as a difference from which: few bytes, bounded recovery.

To recover a model that is kept as a difference its base is recovered first, so long chains are
small and slow. Choosing bases such that the store is small while no model's recovery costs more
than a bound is problem 6 of Bhattacherjee et al., "Principles of dataset versioning: exploring
the recreation/storage tradeoff" (VLDB 2015), which is NP-hard; the greedy way moves one model at a
time, as their local move greedy does.

How many bytes a difference takes is estimated by the bits of its words, without encoding any.
"""

from __future__ import annotations

import heapq
import io
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from shoal.errors import CorruptError, SettingsError
from shoal.model_store.index_format import ROOT
from shoal.model_store.saving import in_order
from shoal.model_store.store import ModelStore
from shoal.model_store.tensors import DTYPES, stacked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from shoal.model_store.backends import Backend
    from shoal.model_store.tensors import Kind, Tensors

_SLACK = 1e-9
_EXPONENT_BITS = 3  # that are left of a float's exponent among others of its tensor


class Option(NamedTuple):
    """One way to keep a model.

    Attributes:
        size: Bytes.
        cost: Cost of recovery beyond that of the base: 1 where the length of chains is bounded,
            seconds where time is.
    """

    size: float
    cost: float = 1


def greedy_bases(
    options: Mapping[str, Mapping[str | None, Option]], bound: float
) -> dict[str, str | None]:
    """A base for each model, or ``None``: from all models whole, the greatest saving first.

    Args:
        options: For each model the ways to keep it, by base; ``None`` is whole.
        bound: Cost that no model's recovery exceeds.

    Raises:
        SettingsError: Some model cannot be recovered whole within the bound.
    """
    tree = _Tree(options, bound)
    waiting = [(-saving, m, b) for m in options for b, saving in tree.savings(m)]
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

    def __init__(self, options: Mapping[str, Mapping[str | None, Option]], bound: float) -> None:
        for model, own in options.items():
            if None not in own or own[None].cost > bound:
                raise SettingsError(f"model {model!r} cannot be recovered at a cost of {bound:g}")
        self._options = options
        self._bound = bound
        self.bases: dict[str, str | None] = dict.fromkeys(options)
        self._above: dict[str, set[str]] = {model: set() for model in options}

    def saving(self, model: str, base: str) -> float:
        """Bytes that another base of a model would save."""
        own = self._options[model]
        return own[self.bases[model]].size - own[base].size

    def savings(self, model: str) -> list[tuple[str, float]]:
        """Bases of which each would save some bytes."""
        bases = [base for base in self._options[model] if base is not None]
        return [(base, saved) for base in bases if (saved := self.saving(model, base)) > 0]

    def allows(self, model: str, base: str) -> bool:
        """Whether the bound holds then, and no model would be its own base."""
        chain = [base]
        while (below := self.bases[chain[-1]]) is not None:
            chain.append(below)
        cost = sum(self._options[each][self.bases[each]].cost for each in chain)
        cost += self._options[model][base].cost + self._height(model)
        return model not in chain and cost <= self._bound + _SLACK

    def move(self, model: str, base: str) -> None:
        """Give a model another base."""
        before = self.bases[model]
        if before is not None:
            self._above[before].remove(model)
        self.bases[model] = base
        self._above[base].add(model)

    def _height(self, model: str) -> float:
        """Cost of the dearest way from a model to one that is recovered from it."""
        own = (self._options[m][model].cost + self._height(m) for m in self._above[model])
        return max(own, default=0.0)


def best_bases(
    store: ModelStore, candidates: Mapping[str, Sequence[str]], longest: int
) -> dict[str, str]:
    """For each model the one that it is best kept as a difference from, if any.

    Args:
        store: The models.
        candidates: For each those to choose from.
        longest: Models that are read before one, at most.

    Raises:
        CorruptError: The store is damaged.
    """
    options = {each: options_to_keep(store, each, others) for each, others in candidates.items()}
    return {
        model: base for model, base in greedy_bases(options, longest).items() if base is not None
    }


def options_to_keep(
    store: ModelStore, model: str, others: Sequence[str]
) -> dict[str | None, Option]:
    """About how many bytes a model takes, whole and as a difference from each of some others."""
    loaded = store.load_many((model, *others), "torch")
    words = {each: _words(tensors) for each, tensors in loaded.items()}
    own = words[model]
    found: dict[str | None, Option] = {None: Option(sum(_whole(*each) for each in own.values()), 0)}
    for other in others:
        theirs = words[other]
        found[other] = Option(sum(_apart(*own[name], theirs.get(name)) for name in own))
    return found


def _words(tensors: Tensors) -> dict[str, tuple[Kind, NDArray[Any]]]:
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


def rewrite(store: ModelStore, bases: Mapping[str, str], *, even_if_larger: bool = False) -> int:
    """Encode every model of a store anew, if that saves bytes.

    Another state of the store is written beside the present one and read back; then the root is
    replaced, in one step. Before, the store is as it was.

    Args:
        store: The models.
        bases: For some of them another, that they are kept as a difference from.
        even_if_larger: Whether to do so where it costs bytes.

    Returns:
        Bytes saved.

    Raises:
        ModelError: Models refer to each other.
        CorruptError: Something does not read, before or afterwards.
    """
    before = store.bytes
    store.collect_garbage()
    with store.backend.lock():
        present, aside = store.bytes, _Aside(store.backend)
        new = ModelStore(aside)
        sizes = {m: sum(kind.bytes for kind in store.layout(m).values()) for m in store.ids()}
        known = {model: base for model, base in bases.items() if model in sizes and base in sizes}
        for part in in_order(sizes, {model: [base] for model, base in known.items()}):
            records = {model: store.record(model) for model in part}
            own = {model: known[model] for model in part if model in known}
            new.save(store.load_many(part, "torch"), None, own, records)
        new.collect_garbage()
        if damages := new.fsck():
            raise CorruptError(f"{damages[0]}; the store was left as it is")
        if even_if_larger or new.bytes < present:
            with store.backend.write(ROOT) as file:
                file.write(aside.root)
    store.collect_garbage()
    return before - store.bytes


class _Aside:
    """A backend of which the root counts for nobody else yet; no file of the store goes."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._before = set(backend.sizes())
        self._written: dict[str, None] = {}
        self.place = backend.place
        self.root = b""

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """See :class:`Backend`."""
        if name != ROOT:
            return self._backend.read(name, start, stop)
        if not self.root:
            raise FileNotFoundError(name)
        return self.root[start:stop]

    @contextmanager
    def write(self, name: str) -> Iterator[BinaryIO]:
        """See :class:`Backend`."""
        if name == ROOT:
            file = io.BytesIO()
            yield file
            self.root = file.getvalue()
            return
        with self._backend.write(name) as real:
            yield real
        self._written[name] = None

    def sizes(self) -> dict[str, int]:
        """See :class:`Backend`."""
        real = self._backend.sizes()
        return {n: real[n] for n in self._written} | ({ROOT: len(self.root)} if self.root else {})

    def delete(self, name: str) -> None:
        """See :class:`Backend`. A file that both states have, with one content, stays."""
        self._written.pop(name, None)
        if name not in self._before:
            self._backend.delete(name)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """See :class:`Backend`; its own lock is held."""
        yield
