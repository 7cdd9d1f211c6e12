"""Shards: source files under the identity of their content."""

from __future__ import annotations

import functools
import hashlib
import re
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from typing_extensions import TypedDict

from shoal.errors import CorruptError, ShoalError, SourceError
from shoal.formats.hashing import canonical_json, file_hash
from shoal.formats.json_file import read_json, write_json
from shoal.terminal import reason_of, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shoal.settings.data import ArraySource

NAMES_FILE = ".shards.json"
"""Beside source files: names for contents, where a plan had to name them before they existed."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,100}$")]
"""A shard's name, which becomes part of paths."""

_SETTLED_NS = 2_000_000_000
"""Clocks of file systems may stand still for so long."""


Mark = tuple[int, int, int, int]
"""Size, mtime, inode and ctime of a file: while they stay, so does its content."""


def mark_of(path: Path) -> Mark | None:
    """The mark of a file, which is not read; None where it is not there."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns, stat.st_ino, stat.st_ctime_ns


class Known(TypedDict):
    """A file's hash, and its mark of when it was taken; none where that says too little."""

    mark: list[int]
    hash: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def name_shards(
    sources: Sequence[tuple[Path, ArraySource | None]], cache: Path
) -> dict[str, tuple[Path, ArraySource | None]]:
    """Source files by shard name.

    A shard is named by its file's content, so a rename, a touch or an older file in a newer
    one's place is seen for what it is. Two files of the same content get ``-2``, ``-3`` behind
    the name.

    Args:
        sources: Files, each with its array names if it has such.
        cache: JSON file of content hashes, valid while size, mtime, inode and ctime stay; that
            of a file that changed just now is not, as its next change may have the same times.

    Raises:
        SourceError: A file is gone.
        CorruptError: Declared names are none that a shard may have, or of several contents.
    """
    known = _known(cache)
    fresh: dict[str, Known] = {}
    shards: dict[str, tuple[Path, ArraySource | None]] = {}
    for path, arrays in sorted(sources, key=lambda source: str(source[0])):
        found = mark_of(path)
        if found is None:
            raise SourceError(f"{path}: no such file")
        mark = list(found)
        entry = known.get(str(path))
        known_hash = entry["hash"] if entry is not None and entry["mark"] == mark else None
        content = known_hash or file_hash(path)
        has_settled = time.time_ns() - mark[-1] > _SETTLED_NS
        fresh[str(path)] = {"mark": mark if known_hash or has_settled else [], "hash": content}
        name = shard_name(path, content, arrays)
        unique, copies = name, 1
        while unique in shards:
            copies += 1
            unique = f"{name}-{copies}"
        shards[unique] = (path, arrays)
    if fresh != known:
        _keep(cache, fresh)
    return shards


def last_planned(cache: Path) -> list[Path]:
    """Files that the last plan was of; none where there was no plan."""
    return list(map(Path, _known(cache)))


def _known(cache: Path) -> dict[str, Known]:
    """Content of a cache; empty where it does not read."""
    try:
        return read_json(cache, dict[str, Known])
    except ShoalError:
        return {}


def _keep(cache: Path, hashes: dict[str, Known]) -> None:
    """Write a cache where that is possible: who only looks need not be allowed to write."""
    try:
        write_json(cache, hashes)
    except (OSError, ShoalError) as error:
        _say_once(f"{reason_of(error)[0]}; source files are read again each time to name them")


@functools.cache
def _say_once(sentence: str) -> None:
    say(sentence)


def is_of_shard(shard: str, path: Path, content: str, arrays: ArraySource | None) -> bool:
    """Whether a content is the one that a shard is named by.

    Args:
        shard: Its name, with ``-2`` and so on behind it where several files have this content.
        path: The source file.
        content: Hash of what was read of it.
        arrays: Its array names, where it has such.
    """
    name = shard_name(path, content, arrays)
    return re.fullmatch(rf"{re.escape(name)}(-\d+)?", shard) is not None


def shard_name(path: Path, content: str, arrays: ArraySource | None) -> str:
    """Name of the first shard of a content: a declared one, or the beginning of its hash.

    Args:
        path: The source file, beside which names may be declared.
        content: Hash of its content.
        arrays: Its array names, where it has such; other names make other rows of it.
    """
    if arrays is not None:
        content = hashlib.sha256((content + canonical_json(arrays.arrays)).encode()).hexdigest()
    return str(_names(path.parent).get(content, content[:12]))


def declare_names(names: dict[Path, str]) -> None:
    """Record names for the contents of files in one folder; a name stays with its content."""
    folder = next(iter(names)).parent
    known = _names(folder)
    fresh = {file_hash(path): name for path, name in names.items() if name not in known.values()}
    write_json(folder / NAMES_FILE, known | fresh)


def _names(folder: Path) -> dict[str, str]:
    """Names that are declared for contents in a folder, each for one alone."""
    path = folder / NAMES_FILE
    names = read_json(path, dict[str, Name]) if path.exists() else {}
    twice = [name for name, count in Counter(names.values()).items() if count > 1]
    if twice:
        raise CorruptError(f"{path}: two contents have the name {twice[0]!r}")
    return names
