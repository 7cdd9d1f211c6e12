"""Which models are compared with which, and in what order they are written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shoal.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

_PACK_BYTES = 1 << 30  # of models that are encoded at once


def references_of(
    new: Iterable[str], base: str | None, parents: Mapping[str, str], stored: Collection[str]
) -> dict[str, list[str]]:
    """For each model those that it is compared with, parent before base.

    Raises:
        ModelError: One of those is neither new nor stored.
    """
    models = dict.fromkeys(new)
    found = {}
    for model in models:
        named = [other for other in (parents.get(model), base) if other not in (None, model)]
        found[model] = [str(other) for other in dict.fromkeys(named)]
        for other in found[model]:
            if other not in models and other not in stored:
                raise ModelError(
                    f"model {model!r} names {other!r} as base or parent; no such model"
                )
    return found


def in_order(
    sizes: Mapping[str, int], references: Mapping[str, Sequence[str]]
) -> Iterable[list[str]]:
    """Models in parts, each after those that it refers to, and none beyond a pack's size.

    Args:
        sizes: Bytes of each model.
        references: For each, models that must be there before, if they are among these.

    Raises:
        ModelError: Some refer to each other.
    """
    left = dict(sizes)
    while left:
        ready = [m for m in left if not any(other in left for other in references.get(m, ()))]
        if not ready:
            raise ModelError(f"models {sorted(left)[:3]} are each other's parents")
        part: list[str] = []
        size = 0
        for model in ready:
            part.append(model)
            size += left.pop(model)
            if size >= _PACK_BYTES:
                yield part
                part, size = [], 0
        if part:
            yield part
