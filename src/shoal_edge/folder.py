"""A pool's folder: read and checked; changed in place, as a whole or not at all."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from shoal_edge.errors import PatchError
from shoal_edge.patch import MANIFEST, Patch, files_of, rebuilt, room, sha256

if TYPE_CHECKING:
    from collections.abc import Iterator

_EXCHANGE = 2
_HERE = -100
"""``RENAME_EXCHANGE`` and ``AT_FDCWD`` of Linux."""


def open_file(folder: Path, name: str) -> int:
    """Descriptor of a file, through no link below the folder, whatever happens meanwhile.

    Raises:
        OSError: It is not there, or led to by a link.
    """
    *parents, last = PurePosixPath(name).parts
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for parent in parents:
            inner = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=place)
            os.close(place)
            place = inner
        # Without blocking, since a named pipe would wait for a writer.
        return os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=place)
    finally:
        os.close(place)


def read_file(folder: Path, name: str) -> bytes:
    """A file's bytes, through no link below the folder.

    Raises:
        PatchError: It is not there, or no regular file.
    """
    try:
        with os.fdopen(open_file(folder, name), "rb") as file:
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return file.read()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise PatchError(f"{folder / name}: {reason}") from None
    raise PatchError(f"{folder / name}: is no regular file, as a pool's files are")


def manifest_files(folder: Path) -> dict[str, str]:
    """SHA-256 of each file that a pool's manifest lists, by name.

    Raises:
        PatchError: There is no pool in the folder.
    """
    if not os.path.lexists(folder / MANIFEST):
        raise PatchError(f"{folder}: not a pool, it has no {MANIFEST}")
    try:
        return files_of(read_file(folder, MANIFEST))
    except PatchError as error:
        raise _about(folder, error) from None


def read_pool(folder: Path) -> dict[str, bytes]:
    """Content of all files of a pool by name, the manifest among them, checked by its hashes.

    Raises:
        PatchError: There is no pool in the folder, or a file is another than its manifest says.
    """
    files = manifest_files(folder)
    found = {name: read_checked(folder, name, digest) for name, digest in files.items()}
    return {**found, MANIFEST: read_file(folder, MANIFEST)}


def read_checked(folder: Path, name: str, digest: str) -> bytes:
    """A file that has this SHA-256.

    Raises:
        PatchError: It has another.
    """
    content = read_file(folder, name)
    if sha256(content) != digest:
        raise PatchError(f"{folder / name}: does not match its hash in the manifest")
    return content


@dataclass(frozen=True)
class Applied:
    """What applying a patch did.

    Attributes:
        manifest: SHA-256 of the new pool's manifest.
        changed: Files that are others now, or new.
        kept: Folder of the pool before.
    """

    manifest: str
    changed: int
    kept: Path


def apply(folder: Path, patch: Path) -> Applied:
    """Turn the pool in a folder into the one that a patch makes.

    The new pool is written beside the old one, all of its files are checked and brought to the
    disk, and then the two folders change places in one step of the file system. So whenever it is
    killed, one of the two is in the folder, whole. The old one stays in ``.NAME.before``. Files
    that do not change are the same files in both; those that no manifest lists stay with the old.

    Args:
        folder: The pool's folder.
        patch: The patch.

    Raises:
        PatchError: The patch is for another pool, either is damaged, there is no room, or somebody
            else is at it. The folder is as it was.
    """
    where = folder.resolve()
    aside, kept = (where.with_name(f".{where.name}.{end}") for end in ("next", "before"))
    try:
        with alone(where):
            before = manifest_files(where)
            settle(aside, kept)
            applied = _write(where, aside, patch, before, kept)
            shutil.rmtree(kept, ignore_errors=True)
            exchange(where, aside)
            aside.rename(kept)
            sync(where.parent)
            return applied
    except OSError as error:
        name = error.filename if isinstance(error.filename, str) else str(folder)
        reason = (error.strerror or str(error)).lower()
        raise PatchError(f"{name}: {reason}; the pool is as it was") from None


def _write(where: Path, aside: Path, patch: Path, before: dict[str, str], kept: Path) -> Applied:
    """Write the new pool aside, and check all of it."""
    try:
        size = sum((where / name).lstat().st_size for name in (*before, MANIFEST))
        parsed = Patch.parse(patch.read_bytes(), room(size))
        return _written(where, aside, parsed, before, kept)
    except PatchError as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise _about(patch, error) from None
    except OSError:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def _written(where: Path, aside: Path, patch: Patch, before: dict[str, str], kept: Path) -> Applied:
    def read(name: str) -> bytes:
        return (
            read_file(where, name) if name == MANIFEST else read_checked(where, name, before[name])
        )

    aside.mkdir()
    shutil.copymode(where, aside)
    changed, manifest = set[str](), b""
    for name, content in rebuilt(patch, read):
        if name == MANIFEST:
            manifest = content
        else:
            write_file(aside / name, content)
            changed.add(name)
    after = files_of(manifest)
    for name, digest in after.items():
        if name not in changed:
            (aside / name).parent.mkdir(exist_ok=True)
            _share(where / name, aside / name)
        if sha256(read_file(aside, name)) != digest:
            raise PatchError(f"{where / name}: does not match its hash in the manifest")
    write_file(aside / MANIFEST, manifest)
    for place in {(aside / name).parent for name in after}:
        sync(place)
    sync(aside)
    return Applied(patch.target, len(changed), kept)


def write_file(path: Path, content: bytes) -> None:
    """Write a new file, brought to the disk."""
    path.parent.mkdir(exist_ok=True)
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _share(source: Path, target: Path) -> None:
    """Give a file a second name; where the file system cannot, copy it."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EXDEV, errno.EMLINK, errno.EOPNOTSUPP):
            raise
        write_file(target, source.read_bytes())


def settle(aside: Path, kept: Path) -> None:
    """Clear up behind one that was killed: what lies aside is whole if its manifest is there."""
    if not kept.exists() and os.path.lexists(aside / MANIFEST):
        aside.rename(kept)
    shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def alone(where: Path) -> Iterator[None]:
    """Only one at a time; the system frees the lock of one that is killed."""
    with where.with_name(f".{where.name}.lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PatchError(f"{where}: another patch is being applied to it") from None
        yield


def exchange(first: Path, second: Path) -> None:
    """Have two folders change names, in one step.

    Raises:
        PatchError: The system or the file system cannot.
    """
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        raise PatchError(f"{first}: this system cannot exchange folders (renameat2)") from None
    if rename(_HERE, os.fsencode(first), _HERE, os.fsencode(second), _EXCHANGE):
        reason = os.strerror(ctypes.get_errno()).lower()
        shutil.rmtree(second, ignore_errors=True)
        raise PatchError(f"{first}: the file system cannot exchange folders ({reason})")


def sync(path: Path) -> None:
    """Bring a file, or the entries of a folder, to the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _about(path: Path, error: PatchError) -> PatchError:
    text = str(error)
    return error if text.startswith("/") else PatchError(f"{path}: {text}")
