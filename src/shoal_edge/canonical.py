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
from typing import Any

import numpy as np

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None")
"""Strings that are no value."""
NUMBER = r"^[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|(?i:inf|infinity|nan))$"
"""What a string must be to be a number."""
TRUE = ("True", "true", "TRUE")
FALSE = ("False", "false", "FALSE")

SPELLED_NUMBER = r"([+-]?)(0|[1-9]\d*)?(?:\.(\d*))?([eE][+-]?\d+)?"
SPELLED_TIME = r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(?::(\d\d)(?:[.,](\d+))?)?(Z|[+-]\d\d(?::?\d\d)?)?"

_number = re.compile(SPELLED_NUMBER, re.ASCII)
_time = re.compile(SPELLED_TIME, re.ASCII)


def canonical_text(value: Any) -> str | None:  # noqa: ANN401 - any cell, or a value of the settings
    """Canonical text of one value, None where it is missing (None, NaN)."""
    if value is None:
        return None
    if isinstance(value, (float, np.floating)):
        return of_float(float(str(value)))
    if isinstance(value, Decimal):
        text = format(value, "f") if value.is_finite() else str(value)
        return None if value.is_nan() else of_string(text)
    return of_string(str(value))


def of_float(value: float | None) -> str | None:
    """Text of a float; None where it is missing."""
    if value is None or math.isnan(value):
        return None
    if value.is_integer():
        return str(int(value))
    text = repr(value)
    return format(Decimal(text), "f") if "e" in text else text


def of_string(text: str) -> str:
    """Text of a string."""
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
        return text if math.isinf(value) else str(of_float(value))
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
