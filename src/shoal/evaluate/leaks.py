"""Doubts that the check of all rows raised, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shoal.formats.text import count_text, share_text

if TYPE_CHECKING:
    from collections.abc import Mapping

NEAR_SHARE = 0.01
"""Share of held-out rows that must be near to training rows, beyond chance, for a warning."""


def doubt_lines(found: Mapping[str, Any]) -> list[str]:
    """A warning for each leak and each value that seems to have several spellings.

    Args:
        found: What :func:`shoal.split.check.check` returned, or metrics that hold it.
    """
    # Earlier runs recorded neither.
    leaks = leak_lines(found["leaks"]) if "leaks" in found else []
    return [*leaks, *map(_spelling_line, found.get("spellings", []))]


def leak_lines(leaks: Mapping[str, Any]) -> list[str]:
    """A warning for each kind of leak that was found; none for clean data.

    Args:
        leaks: What :func:`shoal.split.leaks.find_leaks` returned.
    """
    exact, near = leaks["exact"], leaks["near"]
    lines = []
    if exact["rows"]:
        lines.append(
            f"leak? {_of(exact)} held-out rows have the same inputs as a row of an earlier fold; "
            f"keep one of each, or split so that they stay together"
        )
    by_chance = near["by_chance"]
    if near["rows"] - by_chance > NEAR_SHARE * near["of"] + 3 * by_chance**0.5:
        lines.append(
            f"leak? {_of(near)} held-out rows are almost the same as a training row, "
            f"{by_chance:.0f} by chance; split so that they stay together, by group or similarity"
        )
    return [*lines, *map(_column_line, leaks["columns"])]


def _of(counts: Mapping[str, int]) -> str:
    share = share_text(counts["rows"] / counts["of"])
    return f"{count_text(counts['rows'])} of {count_text(counts['of'])} ({share})"


def _column_line(found: Mapping[str, Any]) -> str:
    told = f"column {found['column']!r} alone gives the label"
    if found["constant"]:
        how = (
            f"right in {share_text(found['score'])} of validation rows, the most frequent class "
            f"in {share_text(found['constant'])}"
        )
    else:
        how = f"R² {found['score']:.3f} on validation rows"
    return f"leak? {told}: {how}; declare it ignore if it is not known when predicting"


def _spelling_line(found: Mapping[str, Any]) -> str:
    one, other = found["spellings"][:2]
    rows = f"{count_text(one['rows'])} and {count_text(other['rows'])} rows"
    more = f", and so do those of {found['others']} further values" if found["others"] else ""
    return (
        f"spelling? column {found['column']!r}: {one['value']!r} and {other['value']!r} ({rows}) "
        f"differ only in case or blanks{more}; spell them alike if they are one value"
    )


def checked_line(leaks: Mapping[str, Any]) -> str:
    """What was looked at, in a sentence."""
    exact, near = leaks["exact"]["of"], leaks["near"]["of"]
    return (
        f"{count_text(exact)} held-out rows were compared with training rows for equal inputs, "
        f"{count_text(near)} of them for similar ones, and each column was asked for the label."
    )
