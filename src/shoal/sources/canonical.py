"""One text for one value, by :mod:`shoal_edge.canonical`, for columns of Arrow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shoal_edge.canonical import (
    FALSE,
    SPELLED_NUMBER,
    SPELLED_TIME,
    TRUE,
    canonical_text,
    of_float,
    of_string,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_PLAIN_WHOLE = r"^(0|-?[1-9]\d*)$"


def canonical(values: pa.Array) -> pa.Array:
    """Canonical texts of a column, null where it is null or NaN.

    Args:
        values: Strings, numbers, truth values, dates or times; no dictionary.
    """
    kind, types = values.type, pa.types
    if types.is_integer(kind) or types.is_date(kind):
        return values.cast(pa.string())
    if types.is_boolean(kind):
        return pc.if_else(values, TRUE[0], FALSE[0])
    if types.is_timestamp(kind):
        return _moments(values)
    if types.is_floating(kind):
        return _by_distinct(widened(values), of_float)
    if types.is_decimal(kind):
        if kind.bit_width < 128:
            values = values.cast(pa.decimal128(kind.precision, kind.scale))
        return _by_distinct(values, canonical_text)
    return _strings(values)


def widened(values: pa.Array) -> pa.Array:
    """Numbers as float64; those of fewer bits by their shortest decimal digits."""
    if pa.types.is_float16(values.type):
        texts = [None if v is None else str(np.float16(v)) for v in values.to_pylist()]
        return pa.array(texts, pa.string()).cast(pa.float64())
    if pa.types.is_float32(values.type):
        return values.cast(pa.string()).cast(pa.float64())
    if pa.types.is_boolean(values.type):
        return values.cast(pa.uint8()).cast(pa.float64())
    return values.cast(pa.float64(), safe=False)


def _by_distinct(values: pa.Array, text: Callable[[Any], str | None]) -> pa.Array:
    """The text of each value, worked out once for those that are equal."""
    encoded = values.dictionary_encode()
    texts = [text(value) for value in encoded.dictionary.to_pylist()]
    return pa.array(texts, pa.string()).take(encoded.indices)


def _strings(values: pa.Array) -> pa.Array:
    """Strings, those of them changed that spell a number, a truth value or a time."""
    encoded = values.dictionary_encode()
    distinct = encoded.dictionary
    number = pc.match_substring_regex(distinct, f"^{SPELLED_NUMBER}$")
    whole = pc.match_substring_regex(distinct, _PLAIN_WHOLE)
    truth = pc.is_in(distinct, pa.array(TRUE[1:] + FALSE[1:]))
    moment = pc.match_substring_regex(distinct, f"^{SPELLED_TIME}$")
    other = pc.or_(pc.or_(pc.and_not(number, whole), truth), moment)
    if not pc.any(other).as_py():
        return values
    texts = pa.array([of_string(text) for text in distinct.filter(other).to_pylist()], pa.string())
    return pc.replace_with_mask(distinct, other, texts).take(encoded.indices)


def _moments(values: pa.Array) -> pa.Array:
    """Times of any unit, to their last digit."""
    text = values.cast(pa.timestamp(values.type.unit)).cast(pa.string())
    text = pc.replace_substring_regex(text, r"(\.\d*?)0+$", r"\1")
    text = pc.replace_substring_regex(text, r"\.$", "")
    text = pc.replace_substring_regex(text, " 00:00:00$", "")
    return pc.replace_substring(text, " ", "T")
