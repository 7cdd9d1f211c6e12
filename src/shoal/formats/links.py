"""Names of specialists that continue, which stand where others have a digest of rows."""

from __future__ import annotations

import re

_LINK = re.compile("[0-9a-f]{24}-([0-9a-f]{10})")


def link_name(hashed: str, point: str) -> str:
    """Name of a specialist that continues.

    Args:
        hashed: Hash over all that it is made from, 24 hexadecimal digits.
        point: Id of the only grid point that is trained.
    """
    return f"{hashed}-{point}"


def point_of(name: str) -> str | None:
    """Id of the only grid point of a specialist that continues; None for a digest of rows."""
    found = _LINK.fullmatch(name)
    return found[1] if found else None
