"""Which kept models are stored as differences from which."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from shoal.archive.rows import is_rows
from shoal.model_store.bases import best_bases
from shoal.model_store.rewrite import rewrite

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shoal.model_store import PoolStore

LONGEST_CHAIN = 4
"""Models that are read before one, at most, unless it is said otherwise."""
_MOST = 8  # models that one is compared with


def rebase(store: PoolStore, longest: int = LONGEST_CHAIN, *, even_if_larger: bool = False) -> int:
    """Choose for each model the one that it is kept as a difference from, and write all anew.

    Args:
        store: The models and their records.
        longest: Models that are read before one, at most.
        even_if_larger: Whether the store is written anew where that saves no bytes.

    Returns:
        Bytes saved.
    """
    records = {each: store.record(each) for each in store.ids() if not is_rows(each)}
    bases = best_bases(store, _candidates(records), longest)
    return rewrite(store, bases, even_if_larger=even_if_larger)


def _candidates(records: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """For each model those that are likely to resemble it.

    Its base, the one before it in its partition, those after it, and those of the same rows.
    """
    after, beside = defaultdict(list), defaultdict(list)
    weights = {model for model, record in records.items() if "recipe" not in record}
    for model in sorted(weights):
        record = records[model]
        after[record["parent"]].append(model)
        if record["digest"] is not None:
            beside[record["digest"]].append(model)
    found = {}
    for model in sorted(weights):
        record = records[model]
        near = [record["parent"], record["base"], *after[model], *beside[record["digest"]]]
        named = [each for each in dict.fromkeys(near) if each in weights and each != model]
        found[model] = [] if record.get("keep") == "snapshot" else named[:_MOST]
    return found
