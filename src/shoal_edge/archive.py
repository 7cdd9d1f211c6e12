"""A whole pool as one file: a tar archive, compressed by zstandard, the manifest first."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
from typing import IO, TYPE_CHECKING

import zstandard

from shoal_edge.errors import PatchError

# What applying a patch is made of, so that both change a pool's folder in the same way.
from shoal_edge.folder import alone, exchange, settle, sync, write_file
from shoal_edge.patch import MANIFEST, files_of, sha256

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_LEVEL = 19
_LONGEST = 1 << 25
"""Most bytes of a manifest."""

_CHUNK = 1 << 20


def pack(pool: Mapping[str, bytes]) -> bytes:
    """A pool's files as one; the same files give the same bytes.

    Args:
        pool: Content of each file by name, the manifest among them.
    """
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in (MANIFEST, *sorted(pool.keys() - {MANIFEST})):
            member = tarfile.TarInfo(name)
            member.size = len(pool[name])
            tar.addfile(member, io.BytesIO(pool[name]))
    return zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compress(plain.getvalue())


def install(folder: Path, archive: Path, manifest: str) -> None:
    """Put the pool of an archive into a folder, as a whole or not at all.

    As with a patch, the new pool is written beside the old one, checked, and brought to the disk;
    then both change places. The old one, if there is one, stays in ``.NAME.before``.

    Args:
        folder: The pool's folder; it may not be there yet.
        archive: The archive.
        manifest: SHA-256 that the new pool's manifest must have.

    Raises:
        PatchError: It is another pool, or damaged. The folder is as it was.
        OSError: There is no room. The folder is as it was.
    """
    where = folder.resolve()
    aside, kept = (where.with_name(f".{where.name}.{end}") for end in ("next", "before"))
    with alone(where):
        settle(aside, kept)
        try:
            aside.mkdir()
            _unpack(archive, aside, manifest)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        if where.exists():
            shutil.copymode(where, aside)
            shutil.rmtree(kept, ignore_errors=True)
            exchange(where, aside)
            aside.rename(kept)
        else:
            aside.rename(where)
        sync(where.parent)


def _unpack(archive: Path, aside: Path, digest: str) -> None:
    try:
        with (
            archive.open("rb") as packed,
            zstandard.ZstdDecompressor().stream_reader(packed) as plain,
            tarfile.open(fileobj=plain, mode="r|") as tar,
        ):
            members = iter(tar)
            manifest = _manifest(tar, next(members, None))
            if sha256(manifest) != digest:
                raise PatchError(f"its {MANIFEST} is another than the one that is announced")
            left = files_of(manifest)
            for member in members:
                content = tar.extractfile(member) if member.isreg() else None
                if content is None or member.name not in left:
                    raise PatchError(f"{member.name[:80]!r} is no file of its {MANIFEST}")
                _copy(content, aside / member.name, left.pop(member.name))
    except (tarfile.TarError, zstandard.ZstdError, EOFError) as error:
        raise PatchError(f"no whole pool, or damaged ({error})") from None
    if left:
        raise PatchError(f"damaged ({min(left)} is not there)")
    write_file(aside / MANIFEST, manifest)  # the last: with it the folder is a whole pool
    for place in {(aside / name).parent for name in files_of(manifest)} | {aside}:
        sync(place)


def _manifest(tar: tarfile.TarFile, first: tarfile.TarInfo | None) -> bytes:
    content = tar.extractfile(first) if first is not None and first.name == MANIFEST else None
    if first is None or content is None or first.size > _LONGEST:
        raise PatchError(f"no pool, or damaged (it does not begin with a {MANIFEST})")
    return content.read()


def _copy(content: IO[bytes], path: Path, digest: str) -> None:
    """Write a file, and check that it has this SHA-256."""
    found = hashlib.sha256()
    path.parent.mkdir(exist_ok=True)
    with path.open("xb") as file:
        while chunk := content.read(_CHUNK):
            found.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    if found.hexdigest() != digest:
        raise PatchError(f"{path.name}: does not match its hash in the manifest")
