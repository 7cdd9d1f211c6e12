"""One text for one value, whatever type, file or spelling it comes from.

========================= =====================================================================
value                     text
========================= =====================================================================
truth values              ``True`` and ``False``; so are the strings ``true``, ``TRUE``, …
numbers                   all their digits, no exponent, no superfluous zero or sign: ``3`` for
                          3, 3.0, ``+3.00`` and a decimal 3.000; a float's are the shortest
                          that spell it
dates and times           ISO 8601 in UTC without a zone, a midnight as its date
other strings             to the letter
========================= =====================================================================

A string with a leading zero is a code (``007``), and so is one with an exponent that has neither
a sign nor a point before it (``1e2``): both stay to the letter.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Callable

TRUE = ("True", "true", "TRUE")
FALSE = ("False", "false", "FALSE")

_SPELLED_NUMBER = r"([+-]?)(0|[1-9]\d*)?(?:\.(\d*))?([eE][+-]?\d+)?"
_SPELLED_TIME = (
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(?::(\d\d)(?:[.,](\d+))?)?(Z|[+-]\d\d(?::?\d\d)?)?"
)
_PLAIN_WHOLE = r"^(0|-?[1-9]\d*)$"
_number = re.compile(_SPELLED_NUMBER, re.ASCII)
_time = re.compile(_SPELLED_TIME, re.ASCII)


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
        return _by_distinct(widened(values), _of_float)
    if types.is_decimal(kind):
        if kind.bit_width < 128:
            values = values.cast(pa.decimal128(kind.precision, kind.scale))
        return _by_distinct(values, canonical_text)
    return _strings(values)


def canonical_text(value: Any) -> str | None:  # noqa: ANN401 - any cell, or a value of the settings
    """Canonical text of one value, None where it is missing (None, NaN)."""
    if value is None:
        return None
    if isinstance(value, (float, np.floating)):
        return _of_float(float(str(value)))
    if isinstance(value, Decimal):
        text = format(value, "f") if value.is_finite() else str(value)
        return None if value.is_nan() else _of_string(text)
    return _of_string(str(value))


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
    number = pc.match_substring_regex(distinct, f"^{_SPELLED_NUMBER}$")
    whole = pc.match_substring_regex(distinct, _PLAIN_WHOLE)
    truth = pc.is_in(distinct, pa.array(TRUE[1:] + FALSE[1:]))
    moment = pc.match_substring_regex(distinct, f"^{_SPELLED_TIME}$")
    other = pc.or_(pc.or_(pc.and_not(number, whole), truth), moment)
    if not pc.any(other).as_py():
        return values
    texts = pa.array([_of_string(text) for text in distinct.filter(other).to_pylist()], pa.string())
    return pc.replace_with_mask(distinct, other, texts).take(encoded.indices)


def _moments(values: pa.Array) -> pa.Array:
    """Times of any unit, to their last digit."""
    text = values.cast(pa.timestamp(values.type.unit)).cast(pa.string())
    text = pc.replace_substring_regex(text, r"(\.\d*?)0+$", r"\1")
    text = pc.replace_substring_regex(text, r"\.$", "")
    text = pc.replace_substring_regex(text, " 00:00:00$", "")
    return pc.replace_substring(text, " ", "T")


def _of_float(value: float | None) -> str | None:
    if value is None or math.isnan(value):
        return None
    if value.is_integer():
        return str(int(value))
    text = repr(value)
    return format(Decimal(text), "f") if "e" in text else text


def _of_string(text: str) -> str:
    if text in TRUE:
        return TRUE[0]
    if text in FALSE:
        return FALSE[0]
    number = _number.fullmatch(text)
    if number and (number[2] or number[3]):
        return _of_number(text, number)
    moment = _time.fullmatch(text)
    return _of_moment(text, moment) if moment else text


def _of_number(text: str, number: re.Match[str]) -> str:
    sign, whole, fraction, exponent = number.groups()
    if exponent:
        if fraction is None and exponent[1].isdigit():
            return text
        value = float(text)
        return text if math.isinf(value) else str(_of_float(value))
    fraction = (fraction or "").rstrip("0")
    digits = (whole or "0") + (f".{fraction}" if fraction else "")
    return f"-{digits}" if sign == "-" and digits != "0" else digits


def _of_moment(text: str, moment: re.Match[str]) -> str:
    day, minute, second, fraction, zone = moment.groups()
    try:
        when = datetime.fromisoformat(f"{day}T{minute}:{second or '00'}{zone or ''}")
    except ValueError:
        return text
    if when.tzinfo is not None:
        try:
            when = when.astimezone(UTC).replace(tzinfo=None)
        except OverflowError:
            return text
    fraction = (fraction or "").rstrip("0")
    if not fraction and when == datetime(when.year, when.month, when.day):
        return when.date().isoformat()
    return when.isoformat() + (f".{fraction}" if fraction else "")
