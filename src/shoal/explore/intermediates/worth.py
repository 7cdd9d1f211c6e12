"""What is asked to be kept, by what computes it, and what keeping it is worth."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from shoal.errors import ShoalError
from shoal.explore.intermediates.catalogue import Column, address_of
from shoal.terminal import say

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from shoal.explore.intermediates.models import Model
    from shoal.explore.intermediates.rows import Block
    from shoal.explore.intermediates.store import Intermediates


class Request(NamedTuple):
    """Something to keep, now and after later releases.

    Attributes:
        model: Its name; empty for base, generalist and chosen specialists of the last release.
        layer: Name of a module.
        form: The form.
        rows: ``own``, ``all``, or how many of all.
    """

    model: str
    layer: str
    form: str
    rows: str


@dataclass
class Item:
    """What one function gives for blocks of rows, in one form.

    Attributes:
        column: Where it will lie.
        architecture: Of the models that have the function.
        sources: Address of each block to the first model that wants it, and the block.
        wanted: How many models want each.
    """

    column: Column
    architecture: str
    sources: dict[bytes, tuple[Model, Block]] = field(default_factory=dict)
    wanted: Counter[bytes] = field(default_factory=Counter)

    @property
    def rows(self) -> int:
        """Rows of all blocks."""
        return sum(len(block) for _, block in self.sources.values())


@dataclass(frozen=True)
class Value:
    """What keeping a row of an item is worth, predicted.

    Attributes:
        size: Bytes a row.
        read: Seconds to read it.
        recompute: Seconds to recompute it.
        wanted: Models that want it, on average.
    """

    size: float
    read: float
    recompute: float
    wanted: float

    @property
    def density(self) -> float:
        """Seconds saved a byte, if each model is asked for once.

        Source:
            Vartak et al. 2018, MISTIQUE, adaptive materialization.
        """
        return self.wanted * (self.recompute - self.read) / max(self.size, 1e-9)


def wanted_items(
    store: Intermediates, known: Iterable[Request], new: Sequence[Request]
) -> tuple[list[Request], dict[bytes, Item]]:
    """Requests that stand, and what they want by function and form."""
    replaced = {each._replace(form="") for each in new}
    standing: list[Request] = []
    items: dict[bytes, Item] = {}
    for each in known:
        if each._replace(form="") in replaced:
            continue
        try:
            _add(store, each, items)
            standing.append(each)
        except ShoalError as error:
            say(f"{each.layer} of {each.model or 'all models'} is asked for no more: {error}")
    for each in dict.fromkeys(new):
        _add(store, each, items)
        standing.append(each)
    return standing, items


def _add(store: Intermediates, request: Request, items: dict[bytes, Item]) -> None:
    models = [store.models.find(request.model)] if request.model else store.models.all()
    for model in models:
        facts, kind = store.layer(model, request.layer)
        blocks = model.release.rows.blocks(request.rows, model.partition)
        function = model.function(request.layer, facts.tensors)
        column = Column(request.layer, request.form, kind)
        place = address_of(function, b"", request.form)
        item = items.setdefault(place, Item(column, model.architecture))
        addresses = store.addresses(model, request.layer, request.form, blocks)
        for block, address in addresses.items():
            item.sources.setdefault(address, (model, block))
            item.wanted[address] += 1


def values_of(store: Intermediates, items: Mapping[bytes, Item]) -> dict[bytes, Value]:
    """What each item is worth; measures what is not known yet."""
    models: dict[str, Model] = {}
    asked: dict[str, dict[tuple[str, str], None]] = defaultdict(dict)
    for item in items.values():
        for model, _ in item.sources.values():
            models.setdefault(item.architecture, model)
            break
        asked[item.architecture][item.column.layer, item.column.form] = None
    for architecture, model in models.items():
        store.learn(model, asked[architecture])
    return {
        place: _value(store, item, models[item.architecture])
        for place, item in items.items()
        if item.sources
    }


def _value(store: Intermediates, item: Item, model: Model) -> Value:
    layer, form, _ = item.column
    costs, rows = store.costs(model), item.rows
    entries = store.catalogue.entries
    kept = [entries[address] for address in item.sources if address in entries]
    size = store.layers(model)[layer].sizes[form]
    if kept:
        size = sum(each.size for each in kept) / sum(each.rows for each in kept)
    return Value(
        size,
        costs.read(form, len(item.sources) / rows, size),
        costs.recompute(item.architecture, layer, 1),
        item.wanted.total() / len(item.sources),
    )
