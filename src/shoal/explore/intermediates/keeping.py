"""What is kept within a budget: the blocks whose recomputation takes longest a byte."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from shoal.errors import ModelError
from shoal.explore.intermediates.catalogue import Column, address_of, overhead
from shoal.explore.intermediates.forms import check_form
from shoal.explore.intermediates.models import EMBEDDER
from shoal.explore.intermediates.store import naming
from shoal.explore.intermediates.worth import Request, values_of, wanted_items

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shoal.explore.intermediates.models import Model
    from shoal.explore.intermediates.rows import Block
    from shoal.explore.intermediates.store import Intermediates
    from shoal.explore.intermediates.worth import Item, Value

FASTER = "recomputing is faster"
BEYOND = "beyond the budget"


def keep(store: Intermediates, requests: Sequence[Request], budget: int) -> list[dict[str, Any]]:
    """Keep what was asked for, now and before, as far as the budget goes.

    Blocks that are there already are neither computed nor written. What nobody asks for any more
    stays while there is room.

    Args:
        store: What is kept; its catalogue is replaced.
        requests: Requests that come to those of earlier calls; of another form, they replace them.
        budget: Bytes that all blocks may take.

    Returns:
        What became of the requests; see :func:`_report`.

    Raises:
        ModelError: A request names a model or layer that is none.
        SourceError: The rows of a release are gone.
    """
    for each in requests:
        check_form(each.form)
        if each.model.rpartition(":")[2] == EMBEDDER:
            raise ModelError("embedder: its embedding is kept with the rows already; query it")
    with store.catalogue.lock():
        store.reload()
        known = [Request(*each) for each in store.catalogue.record.get("requests", [])]
        standing, items = wanted_items(store, known, requests)
        values = values_of(store, items)
        chosen, verdicts = _choose(store, items, values, budget)
        _compute(store, items, chosen, budget)
        rows = _report(store, items, values, chosen, verdicts)
        record = store.catalogue.record
        record |= {"requests": [list(each) for each in standing], "budget": budget, "report": rows}
        store.catalogue.commit(chosen)
    return rows


def _choose(
    store: Intermediates,
    items: Mapping[bytes, Item],
    values: Mapping[bytes, Value],
    budget: int,
) -> tuple[set[bytes], dict[bytes, str]]:
    """Addresses that fit, the densest first, then what nobody asks for; why others are left out."""
    entries = store.catalogue.entries
    columns = {item.column for item in items.values()} | {e.column for e in entries.values()}
    room = budget - overhead(len(columns), budget)
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


def _compute(
    store: Intermediates, items: Mapping[bytes, Item], chosen: set[bytes], budget: int
) -> None:
    """Compute and add what is missing of what was chosen, a model after another.

    ``chosen`` loses what turns out not to fit, and gets the other address of what read more of
    a model's tensors than the survey has seen.
    """
    entries = store.catalogue.entries
    used = sum(entry.size for address, entry in entries.items() if address in chosen)
    columns = {item.column for item in items.values()} | {e.column for e in entries.values()}
    room = budget - used - overhead(len(columns), budget)
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
    """Add what is missing of one model; the bytes that are left."""
    alike: dict[frozenset[str], list[Block]] = defaultdict(list)
    for block, columns in blocks.items():
        alike[frozenset(column.layer for column in columns.values())].append(block)
    for layers, group in alike.items():
        found = store.compute(model, sorted(layers), group, watched=True)
        for block, values, read in found:
            for address, column in blocks[block].items():
                beyond = not read[column.layer] <= store.layers(model)[column.layer].tensors
                own = _address_of_all(model, column, block) if beyond else address
                chosen.discard(address)
                with naming(model, column.layer, block):
                    size = store.catalogue.add(own, column, values[column.layer], room)
                if size:
                    chosen.add(own)
                    room -= size
    return room


def _address_of_all(model: Model, column: Column, block: Block) -> bytes:
    """Address of a block whose values may depend on any of the model's tensors."""
    return address_of(model.whole(column.layer), block.address, column.form)


def _report(
    store: Intermediates,
    items: Mapping[bytes, Item],
    values: Mapping[bytes, Value],
    chosen: set[bytes],
    verdicts: Mapping[bytes, str],
) -> list[dict[str, Any]]:
    """A row for each layer and form that is asked for, functions together.

    Returns:
        ``layer``, ``form``; ``wanted``: blocks that models want, ``distinct``: different ones
        among them, ``kept``: of these; ``rows`` and ``bytes`` of what is kept; ``size``: bytes a
        row; ``read`` and ``recompute``: predicted seconds a row; ``note``: why others are not kept.
    """
    grouped: dict[tuple[str, str], list[bytes]] = defaultdict(list)
    for place in values:
        grouped[items[place].column[:2]].append(place)
    sizes = store.catalogue.sizes()
    rows = []
    for (layer, form), places in sorted(grouped.items()):
        addresses = {a: len(b) for p in places for a, (_, b) in items[p].sources.items()}
        there = addresses.keys() & chosen
        mean = {
            name: sum(getattr(values[place], name) for place in places) / len(places)
            for name in ("size", "read", "recompute")
        }
        rows.append(
            {
                "layer": layer,
                "form": form,
                "wanted": sum(items[place].wanted.total() for place in places),
                "distinct": len(addresses),
                "kept": len(there),
                "rows": sum(addresses[address] for address in there),
                "bytes": sum(sizes[address] for address in there),
                **mean,
                "note": ", ".join(sorted({verdicts[p] for p in places if p in verdicts})),
            }
        )
    return rows
