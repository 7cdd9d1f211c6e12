"""Fitted encoders of numbers and categories, as :mod:`shoal.encode.tabular` has them."""

from __future__ import annotations

import json
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal_edge.errors import EdgeError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from shoal_edge.columns import Source
    from shoal_edge.state import State

    Array = NDArray[Any]
    Fitted = Mapping[str, Any]

_NEAR = 1e-7
_LEAST = _NEAR - np.spacing(1)
"""Quantiles from here to one less it are told apart, as in scikit-learn."""


class Encoding:
    """Encoders of a pool's columns, in order.

    Attributes:
        columns: Kind of each column that is encoded, by name.
    """

    def __init__(self, state: State) -> None:
        """Take the fitted encoders.

        Args:
            state: The pool's encoder.

        Raises:
            EdgeError: One is none that devices know.
        """
        self._parts: list[tuple[str, Callable[[Array], Array]]] = []
        self.columns: dict[str, str] = {}
        for number, entry in enumerate(state.meta["encoders"]):
            name = entry["spec"].get("encoder", entry["spec"].get("_target_"))
            if name not in _NUMBERS and name not in _CATEGORIES:
                raise EdgeError(
                    f"encodes column {entry['column']!r} by {name!r}, which devices do not have"
                )
            begin = f"{number}."
            arrays = {
                key.removeprefix(begin): tensor
                for key, tensor in state.tensors.items()
                if key.startswith(begin)
            }
            self.columns[entry["column"]] = entry["kind"]
            self._parts.append((entry["column"], _encoder(name, entry["fitted"] | arrays)))

    def encode(self, columns: Mapping[str, Array], source: Source) -> NDArray[np.float32]:
        """Features, float32 ``(rows, features)``.

        Args:
            columns: Typed columns.
            source: Where rows come from.

        Raises:
            EdgeError: A value is not finite once encoded.
        """
        parts = []
        for column, encode in self._parts:
            with np.errstate(over="ignore"):
                part = encode(columns[column]).astype(np.float32)
            wrong = np.flatnonzero(~np.isfinite(part).all(axis=1))
            if len(wrong):
                raise source.error(
                    wrong[0],
                    column,
                    f"{columns[column][wrong[0]]} is not finite once encoded as float32",
                )
            parts.append(part)
        return np.concatenate(parts, axis=1)


def _encoder(name: str, fitted: Fitted) -> Callable[[Array], Array]:
    if name in _CATEGORIES:
        categories: Sequence[str | None] = json.loads(fitted["categories"].tobytes())
        places = {category: place for place, category in enumerate(categories)}

        def encode(values: Array) -> Array:
            codes = np.fromiter((places.get(value, -1) for value in values), np.int64, len(values))
            return _CATEGORIES[name](codes, values, {**fitted, "count": len(categories)})

        return encode

    def numeric(values: Array) -> Array:
        missing = np.isnan(values)
        filled = np.where(missing, fitted["fill"], values)
        encoded = _NUMBERS[name](filled, fitted)[:, None]
        return np.column_stack([encoded, missing]) if fitted["marked"] else encoded

    return numeric


def _quantiles(values: Array, quantiles: Array) -> Array:
    """Place among the quantiles; equal ones have the mean of their first and last rank."""
    ranks = np.linspace(0, 1, len(quantiles))
    low = -np.interp(-values, -quantiles[::-1], -ranks[::-1])
    found: Array = 0.5 * (np.interp(values, quantiles, ranks) + low)
    return found


def _rank(values: Array, fitted: Fitted) -> Array:
    quantiles = fitted["quantiles"]
    found = _quantiles(values, quantiles)
    found[values == quantiles[-1]] = 1
    found[values == quantiles[0]] = 0
    return found


def _quantile(values: Array, fitted: Fitted) -> Array:
    quantiles = fitted["quantiles"]
    found = _quantiles(values, quantiles)
    found[values + _NEAR > quantiles[-1]] = 1
    found[values - _NEAR < quantiles[0]] = 0
    deviate = NormalDist().inv_cdf
    return np.array([deviate(place) for place in np.clip(found, _LEAST, 1 - _LEAST).tolist()])


def _one_hot(codes: Array, values: Array, fitted: Fitted) -> Array:  # noqa: ARG001 - the others'
    is_own: Array = codes[:, None] == np.arange(fitted["count"])
    return is_own


def _ordinal(codes: Array, values: Array, fitted: Fitted) -> Array:  # noqa: ARG001 - the others'
    return np.where(values == np.array(None), -2, codes)[:, None]


def _target(codes: Array, values: Array, fitted: Fitted) -> Array:  # noqa: ARG001 - the others'
    means: Array = fitted["means"][codes]
    return means


_NUMBERS: dict[str, Callable[[Array, Fitted], Array]] = {
    "scale": lambda values, fitted: (values - fitted["mean"]) / fitted["spread"],
    "passthrough": lambda values, _: values,
    "rank": _rank,
    "quantile": _quantile,
}
_CATEGORIES: dict[str, Callable[[Array, Array, Fitted], Array]] = {
    "one_hot": _one_hot,
    "ordinal": _ordinal,
    "target": _target,
}
