"""Numbers and settings as people read them, in the terminal and on the report page."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from shoal.formats.hashing import canonical_json
from shoal.formats.scores import SCORES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shoal.formats.kinds import Metric

NONE = "-"
"""Shown where there is no number."""

_PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")
_EXTRA_DIGITS = 3


def flops_text(flops: float | None) -> str:
    """FLOPs with three significant digits and a prefix: ``1.23 GFLOP``."""
    if flops is None:
        return NONE
    rounded = float(f"{flops:.3g}")
    power = int(math.log10(rounded)) // 3 if rounded >= 1 else 0
    power = min(power, len(_PREFIXES) - 1)
    scaled = rounded / 1000**power
    whole = power == 0 and rounded == int(rounded)
    digits = 0 if whole else max(0, 2 - int(math.log10(scaled))) if scaled >= 1 else 2
    return f"{scaled:.{digits}f} {_PREFIXES[power]}FLOP"


def megabytes_text(size: int) -> str:
    """Bytes as megabytes: ``1,234 MB``."""
    return f"{size / 1e6:,.0f} MB"


def seconds_text(seconds: float | None) -> str:
    """A duration: ``4.2 s``, ``3 min 05 s`` or ``2 h 10 min``."""
    if seconds is None:
        return NONE
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min"


def count_text(count: int | None) -> str:
    """A count with thousands set apart: ``12,345``."""
    return NONE if count is None else f"{count:,}"


def share_text(share: float | None) -> str:
    """A share in per cent with one decimal: ``4.2 %``."""
    return NONE if share is None else f"{100 * share:.1f} %"


def number_text(number: float | None, decimals: int, sign: bool = False) -> str:
    """A number with a fixed count of decimals, and a plus if ``sign`` and it is above zero."""
    if number is None:
        return NONE
    text = f"{number:+,.{decimals}f}" if sign else f"{number:,.{decimals}f}"
    # No "-0.000": a sign that the shown digits do not support would mislead.
    return text.lstrip("+-") if not text.strip("+-0.,") else text


def significant_text(number: float | None, digits: int = 4) -> str:
    """A number with significant digits: ``0.8000``."""
    return NONE if number is None else f"{number:#.{digits}g}"


def value_text(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """A setting's value in one line: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else canonical_json(value)


def score_decimals(metric: Metric, scores: Iterable[float], must_show: Iterable[float] = ()) -> int:
    """Decimals that scores of one size are shown with.

    Args:
        metric: Three decimals for what is a share, such as ``accuracy``, for others four
            significant digits.
        scores: The scores; of others the largest decides.
        must_show: Numbers other than zero that must not be rounded to zero, such as the end of
            an interval that decides a verdict; at most three more decimals are given for them.
    """
    largest = max((abs(score) for score in scores), default=1.0)
    decimals = 3
    if not SCORES[metric].is_share:
        decimals = _clamp(3 - _exponent(largest or 1.0), 0, 9)
    needed = [-_exponent(number) for number in must_show if number]
    return _clamp(max([decimals, *needed]), decimals, decimals + _EXTRA_DIGITS)


def _exponent(number: float) -> int:
    """Place of the first significant digit: 0 for 1 to 9.99, -2 for 0.05."""
    return math.floor(math.log10(abs(number)))


def _clamp(value: int, low: int, high: int) -> int:
    return max(low, min(high, value))
