"""Which names below a folder ``sources.files`` names, without looking into the folder."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from shoal.plan.first_look import AUTO
from shoal.sources.readers import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Sequence

Pattern = tuple[str, ...]
"""A path or glob by its parts."""


def patterns_of(files: str | Sequence[Any]) -> list[Pattern]:
    """Paths and globs of ``sources.files``, each by its parts."""
    if files == AUTO:
        either = ["".join(f"[{each}{each.upper()}]" for each in suffix) for suffix in SUFFIXES]
        return [(f"*{suffix}",) for suffix in either]
    named = [file["path"] if isinstance(file, dict) else file for file in files]
    return [PurePosixPath(name).parts for name in named]


def is_named(patterns: Sequence[Pattern], parts: Sequence[str], *, below: bool = False) -> bool:
    """Whether a path is a source; with ``below``, whether there may be some in that folder.

    No part of it is hidden, ``..`` among them, or empty, or cannot be printed.
    """
    is_plain = all(part and part[0] != "." and part.isprintable() for part in parts)
    return is_plain and any(_fits(pattern, parts, below=below) for pattern in patterns)


def _fits(pattern: Sequence[str], parts: Sequence[str], *, below: bool) -> bool:
    """Whether a glob names a path, as ``glob.glob`` has it, or may name some below it."""
    if not parts:
        return bool(pattern) if below else all(part == "**" for part in pattern)
    if not pattern:
        return False
    first, rest = pattern[0], pattern[1:]
    if first == "**" and (
        _fits(rest, parts, below=below) or _fits(pattern, parts[1:], below=below)
    ):
        return True
    agrees = parts[0] == first or fnmatchcase(parts[0], first)
    return agrees and _fits(rest, parts[1:], below=below)
