"""Patches between pools' folders, as the commands make and apply them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from shoal.errors import CorruptError
from shoal.formats.files import replacing
from shoal.pool.sealed import Sealed
from shoal.terminal import say
from shoal_edge.errors import PatchError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from shoal_edge.folder import Applied


def deploy_patch(copy: Path, base_copy: Path, out: Path) -> None:
    """Write the patch that brings an earlier copy to the channel's newest.

    Where there can be none, as between pools of two formats, the file is empty and the log says
    why: devices with that copy take the whole one.

    Args:
        copy: Manifest of the newest copy.
        base_copy: That of the earlier one.
        out: The patch.
    """
    try:
        make_patch(base_copy.parent, copy.parent, out)
    except CorruptError as error:
        say(f"no patch: {error}")
        with replacing(out) as aside:
            aside.write_bytes(b"")


def make_patch(before: Path, after: Path, out: Path) -> tuple[int, int]:
    """Write what turns one pool into another.

    Args:
        before: Folder of the pool before.
        after: Folder of the pool after.
        out: The patch.

    Returns:
        Bytes of the patch, and of all files of the pool after.

    Raises:
        SourceError: There is no pool in a folder.
        CorruptError: A pool's file is not what its manifest says, or the pools are too different.
    """
    from shoal_edge.folder import read_pool
    from shoal_edge.patch import make

    for folder in (before, after):
        Sealed(folder)
    with _as_ours():
        pools = [read_pool(folder) for folder in (before, after)]
    with _as_ours(f"{before} -> {after}: "):
        patch = make(*pools)
    with replacing(out) as aside:
        aside.write_bytes(patch)
    return len(patch), sum(map(len, pools[1].values()))


def apply_patch(pool: Path, patch: Path) -> Applied:
    """Apply a patch to a pool in its folder, see :func:`shoal_edge.folder.apply`.

    Raises:
        CorruptError: It does not fit; the folder is as it was.
    """
    from shoal_edge.folder import apply

    with _as_ours():
        return apply(pool, patch)


@contextmanager
def _as_ours(about: str = "") -> Iterator[None]:
    try:
        yield
    except PatchError as error:
        raise CorruptError(f"{about}{error}") from None
