"""Rows that are held at a time, so that a process keeps within the memory that it may take."""

from __future__ import annotations

MEMORY = 2_000_000_000
"""Bytes that a process may hold where the setting ``compute.memory`` does not say otherwise."""
_MOST_ROWS = 65_536
_BLOCKS = 128


def block_rows(row_bytes: int, memory: int = MEMORY) -> int:
    """Rows of a block.

    A block takes a 128th of the memory: a stage holds it in several forms at once, beside Python
    and the libraries.

    Args:
        row_bytes: Bytes of one row.
        memory: Bytes that the process may hold.
    """
    return max(1, min(_MOST_ROWS, memory // (_BLOCKS * max(1, row_bytes))))
