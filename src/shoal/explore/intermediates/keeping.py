"""Keep activations within a budget: blocks that take longest to recompute per byte come first."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from shoal.errors import ModelError, ShoalError
from shoal.explore.intermediates.catalogue import Column, KeptLayer, address_of, overhead
from shoal.explore.intermediates.forms import check_form
from shoal.explore.intermediates.models import EMBEDDER
from shoal.explore.intermediates.store import naming
from shoal.terminal import say

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.table import Table

    from shoal.explore.intermediates.models import Model
    from shoal.explore.intermediates.rows import Block
    from shoal.explore.intermediates.store import Intermediates

FASTER = "recomputing is faster"
BEYOND = "beyond the budget"


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
class _Item:
    """Activations that one function gives for blocks of rows, in one form.

    Attributes:
        column: Where they will lie.
        architecture: Of the models that have the function.
        sources: Address of each block to the first model that wants it, and the block.
        wanted: How many models want each.
    """

    column: Column
    architecture: str
    sources: dict[bytes, tuple[Model, Block]] = field(default_factory=dict)
    wanted: Counter[bytes] = field(default_factory=Counter)


@dataclass(frozen=True)
class _Value:
    """Predicted value of keeping one row of an item.

    Attributes:
        size: Bytes per row.
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
        """Seconds saved per byte, if each model is asked for once.

        Source:
            Vartak et al. 2018, MISTIQUE, adaptive materialization.
        """
        return self.wanted * (self.recompute - self.read) / max(self.size, 1e-9)


def keep(store: Intermediates, requests: Sequence[Request], budget: int) -> list[KeptLayer]:
    """Keep the activations that are asked for, now and before, as far as the budget goes.

    Blocks that are there already are neither computed nor written. Blocks that nobody asks for
    any more stay while there is room.

    Args:
        store: The activations; its catalogue is replaced.
        requests: Requests that come to those of earlier calls; of another form, they replace them.
        budget: Bytes that all blocks may take.

    Returns:
        What is kept of each layer and form that is asked for, functions together.

    Raises:
        ModelError: A request names a model or layer that is none.
        SourceError: The rows of a release are gone.
    """
    for each in requests:
        check_form(each.form)
        if each.model.rpartition(":")[2] == EMBEDDER:
            raise ModelError("embedder: its embedding is made whenever it is asked for; query it")
    with store.catalogue.lock():
        store.reload()
        known = [Request(*each) for each in store.catalogue.record.get("requests", [])]
        standing, items = _wanted_items(store, known, requests)
        values = _values_of(store, items)
        chosen, verdicts = _choose(store, items, values, budget)
        _compute(store, items, chosen, budget)
        report = _report(store, items, values, chosen, verdicts)
        record = store.catalogue.record
        record["requests"] = [list(each) for each in standing]
        record["budget"], record["report"] = budget, report
        store.catalogue.commit(chosen)
    return report


def _wanted_items(
    store: Intermediates, known: Iterable[Request], new: Sequence[Request]
) -> tuple[list[Request], dict[bytes, _Item]]:
    """Requests that stand, and the items that they want by function and form."""
    replaced = {each._replace(form="") for each in new}
    standing: list[Request] = []
    items: dict[bytes, _Item] = {}
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


def _add(store: Intermediates, request: Request, items: dict[bytes, _Item]) -> None:
    models = [store.models.find(request.model)] if request.model else store.models.all()
    for model in models:
        facts, kind = store.layer(model, request.layer)
        blocks = model.release.rows.blocks(request.rows, model.partition)
        function = model.function(request.layer, facts.tensors)
        column = Column(request.layer, request.form, kind)
        place = address_of(function, b"", request.form)
        item = items.setdefault(place, _Item(column, model.architecture))
        addresses = store.addresses(model, request.layer, request.form, blocks)
        for block, address in addresses.items():
            item.sources.setdefault(address, (model, block))
            item.wanted[address] += 1


def _values_of(store: Intermediates, items: Mapping[bytes, _Item]) -> dict[bytes, _Value]:
    """Value of each item; measures costs that are not known yet."""
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


def _value(store: Intermediates, item: _Item, model: Model) -> _Value:
    layer, form, _ = item.column
    costs, entries = store.costs(model), store.catalogue.entries
    kept = [entries[address] for address in item.sources if address in entries]
    size = store.layers(model)[layer].sizes[form]
    if kept:
        size = sum(each.size for each in kept) / sum(each.rows for each in kept)
    rows = sum(len(block) for _, block in item.sources.values())
    return _Value(
        size,
        costs.read(form, len(item.sources) / rows, size),
        costs.recompute(item.architecture, layer, 1),
        item.wanted.total() / len(item.sources),
    )


def _choose(
    store: Intermediates,
    items: Mapping[bytes, _Item],
    values: Mapping[bytes, _Value],
    budget: int,
) -> tuple[set[bytes], dict[bytes, str]]:
    """Addresses that fit, the densest first, then those that nobody asks for any more.

    The verdicts say why items are left out.
    """
    entries = store.catalogue.entries
    room = budget - _overhead(store, items, budget)
    chosen: set[bytes] = set()
    verdicts: dict[bytes, str] = {}
    for place in sorted(values, key=lambda place: (-values[place].density, place)):
        if values[place].density <= 0:
            verdicts[place] = FASTER
            continue
        for address, (_, block) in items[place].sources.items():
            there = entries.get(address)
            size = there.size if there else values[place].size * len(block)
            if address in chosen:
                continue
            if size > room:
                verdicts[place] = BEYOND
                break
            chosen.add(address)
            room -= int(size)
    asked = {address for item in items.values() for address in item.sources}
    for address, entry in entries.items():
        if address not in asked and entry.size <= room:
            chosen.add(address)
            room -= entry.size
    return chosen, verdicts


def _overhead(store: Intermediates, items: Mapping[bytes, _Item], budget: int) -> int:
    columns = {item.column for item in items.values()}
    columns |= {entry.column for entry in store.catalogue.entries.values()}
    return overhead(len(columns), budget)


def _compute(
    store: Intermediates, items: Mapping[bytes, _Item], chosen: set[bytes], budget: int
) -> None:
    """Compute and add the missing ones of the chosen blocks, one model after another.

    ``chosen`` loses blocks that turn out not to fit, and gets the other address of those that read
    more of a model's tensors than the survey has seen.
    """
    entries = store.catalogue.entries
    used = sum(entry.size for address, entry in entries.items() if address in chosen)
    room = budget - used - _overhead(store, items, budget)
    missing: dict[str, dict[Block, dict[bytes, Column]]] = defaultdict(lambda: defaultdict(dict))
    models: dict[str, Model] = {}
    for item in items.values():
        for address, (model, block) in item.sources.items():
            if address in chosen and address not in entries:
                models[model.id] = model
                missing[model.id][block][address] = item.column
    for identity, blocks in missing.items():
        room = _compute_model(store, models[identity], blocks, chosen, room)


def _compute_model(
    store: Intermediates,
    model: Model,
    blocks: Mapping[Block, Mapping[bytes, Column]],
    chosen: set[bytes],
    room: int,
) -> int:
    """Add the missing blocks of one model; returns the bytes that are left."""
    alike: dict[frozenset[str], list[Block]] = defaultdict(list)
    for block, columns in blocks.items():
        alike[frozenset(column.layer for column in columns.values())].append(block)
    for layers, group in alike.items():
        found = store.compute(model, sorted(layers), group, watched=True)
        for block, values, read in found:
            for address, column in blocks[block].items():
                own = address
                if not read[column.layer] <= store.layers(model)[column.layer].tensors:
                    # The values may depend on any of the model's tensors.
                    own = address_of(model.whole(column.layer), block.address, column.form)
                chosen.discard(address)
                with naming(model, column.layer, block):
                    size = store.catalogue.add(own, column, values[column.layer], room)
                if size:
                    chosen.add(own)
                    room -= size
    return room


def _report(
    store: Intermediates,
    items: Mapping[bytes, _Item],
    values: Mapping[bytes, _Value],
    chosen: set[bytes],
    verdicts: Mapping[bytes, str],
) -> list[KeptLayer]:
    grouped: dict[tuple[str, str], list[bytes]] = defaultdict(list)
    for place in values:
        grouped[items[place].column[:2]].append(place)
    sizes = store.catalogue.sizes()
    rows: list[KeptLayer] = []
    for (layer, form), places in sorted(grouped.items()):
        addresses = {a: len(b) for p in places for a, (_, b) in items[p].sources.items()}
        there = addresses.keys() & chosen
        own = [values[place] for place in places]
        rows.append(
            {
                "layer": layer,
                "form": form,
                "wanted": sum(items[place].wanted.total() for place in places),
                "distinct": len(addresses),
                "kept": len(there),
                "rows": sum(addresses[address] for address in there),
                "bytes": sum(sizes[address] for address in there),
                "size": sum(each.size for each in own) / len(own),
                "read": sum(each.read for each in own) / len(own),
                "recompute": sum(each.recompute for each in own) / len(own),
                "note": ", ".join(sorted({verdicts[p] for p in places if p in verdicts})),
            }
        )
    return rows


def kept_table(rows: Sequence[KeptLayer]) -> Table:
    """Show what is kept of each layer and form; times are predictions."""
    from rich.filesize import decimal
    from rich.table import Table

    table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0))
    table.add_column("layer", overflow="fold", min_width=8)
    table.add_column("form", no_wrap=True)
    for name in ("blocks", "different", "kept", "size", "read/row", "recompute"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("others")
    for row in rows:
        table.add_row(
            row["layer"],
            row["form"],
            *(f"{count:,}" for count in (row["wanted"], row["distinct"], row["kept"])),
            decimal(row["bytes"]),
            *(f"{1e6 * seconds:.3g} µs" for seconds in (row["read"], row["recompute"])),
            row["note"],
        )
    return table


def summary(store: Intermediates) -> str:
    """How much there is, in one line."""
    from rich.filesize import decimal

    record = store.catalogue.record
    return (
        f"{store.folder}: {len(store.catalogue.entries):,} blocks, "
        f"{decimal(store.catalogue.size)} of {decimal(record.get('budget', 0))}; "
        f"{len(record.get('requests', []))} requests"
    )
