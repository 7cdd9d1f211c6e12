"""Names of the slots after a search's first step, whose slots are named by grid points."""

from __future__ import annotations


def later_slot(validation: str, number: int | str) -> str:
    """Name of a slot after the first step: its number, and the rows that decided what it trains.

    Args:
        validation: Digest of the partition's validation rows.
        number: Place of the slot in its step.
    """
    return f"{validation}-{number}"


def validation_of(slot: str) -> str:
    """Digest of the validation rows in a slot's name; empty in the first step."""
    return slot.rpartition("-")[0]


def number_of(slot: str) -> int:
    """Place of a later slot in its step."""
    return int(slot.rpartition("-")[2])
