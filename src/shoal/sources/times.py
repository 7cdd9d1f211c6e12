"""Time columns: how their times are written is decided once, for all files and rows."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shoal.sources.values import (
    NUMBER,
    Place,
    article,
    bad_numbers,
    numeric,
    storage,
    text,
    without_missing,
)


def seconds(values: pa.Array, place: Place, written: str) -> pa.Array:
    """Seconds since 1970, float64, null where missing; a time without a zone is UTC.

    Args:
        values: Times, dates, ISO 8601 strings or numbers.
        place: Where they lie.
        written: ``dates``, of which a number is one as 20260131, or ``numbers``, which are taken
            as they are.

    Raises:
        SourceError: A value is no time, or is not written so.
    """
    how = storage(values.type)
    if how in ("image", "other") or (how == "time" and written == "numbers"):
        raise place.whole(f"holds {article(how)}, but its times are {written}")
    if how == "time":
        if pa.types.is_date(values.type):
            values = values.cast(pa.timestamp("s"))
        micro = values.cast(pa.timestamp("us", values.type.tz), safe=False).cast(pa.int64())
        return pc.divide(micro.cast(pa.float64(), safe=False), 1e6)
    if written == "numbers":
        bad = bad_numbers(_texts(values)) if how == "string" else np.zeros(0, bool)
        if bad.any():
            index = int(np.argmax(bad))
            value = values[index].as_py()
            raise place.error(index, f"{value!r} is not a number, but times of this column are")
        return numeric(values, place)
    texts = _texts(values).to_pylist()
    return pa.array([_seconds(each, place, i) for i, each in enumerate(texts)], pa.float64())


def time_formats(values: pa.Array) -> set[str]:
    """How the times of a column are written, as far as its values say.

    Returns:
        Some of ``dates``; ``numbers``; ``either``, where all numbers are dates such as 20260131.
    """
    how = storage(values.type)
    if how in ("time", "nothing"):
        return {"dates"} if values.null_count < len(values) else set()
    if how not in ("string", "number"):
        return set()
    texts = _texts(values).drop_null()
    is_number = pc.match_substring_regex(texts, NUMBER)
    numbers = texts.filter(is_number)
    found = {"dates"} if len(numbers) < len(texts) else set()
    if len(numbers):
        found.add(
            "either" if all(map(_is_compact_date, numbers.unique().to_pylist())) else "numbers"
        )
    return found


def _texts(values: pa.Array) -> pa.Array:
    """Canonical texts without blanks around them, null where missing."""
    if storage(values.type) == "string":
        values = without_missing(pc.utf8_trim_whitespace(values))
    return text(values, Place("", 1, ""))


def _is_compact_date(number: str) -> bool:
    """Whether a number is a date in ISO 8601's basic format, such as 20260131."""
    try:
        return len(number) == 8 and bool(datetime.strptime(number, "%Y%m%d"))
    except ValueError:
        return False


def _seconds(value: str | None, place: Place, index: int) -> float | None:
    if value is None:
        return None
    is_number = re.match(NUMBER, value)
    try:
        if is_number and not _is_compact_date(value):
            raise ValueError
        moment = datetime.fromisoformat(value)
    except ValueError:
        known = "a number, but times of this column are dates" if is_number else "not a time"
        raise place.error(
            index,
            f"{value!r} is {known}; write 2026-01-31 or 2026-01-31T12:30:00, or all as numbers",
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
