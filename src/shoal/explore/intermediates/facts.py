"""What is known of a model's layers, kept so that reading them needs no model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from shoal.errors import ModelError, nearest
from shoal.explore.intermediates.forms import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass
class Layer:
    """One of a model's modules.

    Attributes:
        kind: What it gives for a row; None where it cannot be kept.
        reason: Why it cannot.
        tensors: Names of the model's tensors that were read before its output was there.
        flops: Floating-point operations for one row up to there.
        sizes: For each form that was tried, the bytes that a row takes.
    """

    kind: Kind | None = None
    reason: str = "is not called when rows go through the model"
    tensors: frozenset[str] = frozenset()
    flops: float = 0
    sizes: dict[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """As JSON, from which :meth:`from_json` makes it again."""
        return {
            "shape": None if self.kind is None else list(self.kind.shape),
            "dtype": None if self.kind is None else self.kind.dtype,
            "reason": self.reason,
            "tensors": sorted(self.tensors),
            "flops": self.flops,
            "sizes": self.sizes,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """What :meth:`as_json` gave."""
        shape, dtype = content["shape"], content["dtype"]
        kind = None if shape is None else Kind(tuple(shape), dtype)
        tensors = frozenset(content["tensors"])
        return cls(kind, content["reason"], tensors, content["flops"], dict(content["sizes"]))


def wanted_layer(layers: Mapping[str, Layer], name: str, model: str) -> tuple[Layer, Kind]:
    """A layer that can be kept, and what it gives.

    Raises:
        ModelError: The model has no such layer, or what it gives cannot be kept.
    """
    if name not in layers:
        raise ModelError(f"model {model}: no layer {name!r}; {nearest(name, layers)}")
    layer = layers[name]
    if layer.kind is None:
        raise ModelError(f"model {model}: layer {name!r} {layer.reason}")
    return layer, layer.kind
