"""Publish a channel's pools for devices: what ``shoal channel`` does."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import fsspec

from shoal.deploy.publish import PublishedChannel
from shoal.deploy.repository import LASTS, create, opened
from shoal.errors import CorruptError, SettingsError, SourceError, nearest
from shoal.formats.json_file import read_json
from shoal.pool.sealed import Sealed
from shoal_edge.archive import pack
from shoal_edge.errors import PatchError
from shoal_edge.folder import read_pool
from shoal_edge.patch import MANIFEST, make, sha256
from shoal_edge.update import POOL, patch_from

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

BEHIND = 8
"""Copies before the newest one from which there is a patch."""

CHANNEL = "channel.json"

_LAST = "metadata/timestamp.json"
"""The one file whose content changes; by it devices learn of all others."""

_OURS = re.compile(
    r"metadata/\d+\.(targets|snapshot)\.json|targets/(patches/)?[0-9a-f]{64}\.(pool|[0-9a-f]{64})"
)
"""What may be removed on the server."""


def start(folder: Path, url: str | None) -> Path:
    """Make keys and a repository without pools.

    Returns:
        The first ``root.json``, which devices need.
    """
    root = create(folder)
    _upload(folder, url)
    return root


@dataclass(frozen=True)
class Published:
    """What was published.

    Attributes:
        manifest: SHA-256 of the pool's manifest.
        size: Bytes of the pool as one file.
        patches: Bytes of each patch, by the hash of the manifest of the pool that it is for.
        without: Hashes of those for which there is none: they are too different, or it is larger.
    """

    manifest: str
    size: int
    patches: dict[str, int]
    without: list[str]


def publish(folder: Path, copies: Sequence[Path], url: str | None) -> Published:
    """Publish a pool, and patches from those before it.

    Args:
        folder: The publisher's folder.
        copies: Folders of pools, the newest last; or the one folder of a channel
            (:mod:`shoal.deploy.publish`), in which the patches are made.
        url: Where a copy of ``public`` goes, anything that fsspec knows.

    Raises:
        SourceError: There is no pool in a folder, or no repository.
        CorruptError: A pool's file is not what its manifest says.
        SettingsError: A key is not there.
    """
    if len(copies) == 1 and (copies[0] / CHANNEL).exists():
        return release(folder, *_channel(copies[0]), url)
    *before, newest = copies[-BEHIND - 1 :]
    target = _pool(newest)
    patches, without = {}, []
    for copy in before:
        base = _pool(copy)
        manifest = sha256(base[MANIFEST])
        if base[MANIFEST] != target[MANIFEST]:
            patches[manifest] = _patch(base, target)
            without += [] if patches[manifest] else [manifest]
    made = {manifest: patch for manifest, patch in patches.items() if patch}
    return release(folder, target, made, url, without)


def release(
    folder: Path,
    pool: Mapping[str, bytes],
    patches: Mapping[str, bytes],
    url: str | None,
    without: Sequence[str] = (),
) -> Published:
    """Publish a pool and patches that are made.

    Args:
        folder: The publisher's folder.
        pool: Content of the pool's files by name, the manifest among them.
        patches: Patches to it, by the hash of the manifest of the pool that each is for.
        url: Where a copy of ``public`` goes.
        without: Hashes of pools for which there is none.
    """
    whole = pack(pool)
    to = {"to": sha256(pool[MANIFEST])}
    worth = {manifest: patch for manifest, patch in patches.items() if len(patch) < len(whole)}
    files = {patch_from(manifest): (patch, to) for manifest, patch in worth.items()}
    with opened(folder) as repository:
        repository.put({POOL: (whole, to), **files})
        repository.renew()
        _upload(folder, url)
    sizes = {manifest: len(patch) for manifest, patch in worth.items()}
    lacking = [*without, *(patches.keys() - worth.keys())]
    return Published(to["to"], len(whole), sizes, lacking)


def renew(folder: Path, url: str | None) -> list[str]:
    """Sign the timestamp anew, and what else is due.

    Returns:
        Roles that are due, but whose keys are not there.
    """
    with opened(folder) as repository:
        missing = repository.renew()
        _upload(folder, url)
    return missing


def rotate(folder: Path, role: str, url: str | None) -> None:
    """Give a role a new key; the old one counts no more."""
    if role not in LASTS:
        raise SettingsError(f"there is no role {role!r}: {nearest(role, LASTS)}")
    with opened(folder) as repository:
        repository.replace_keys(role)
        repository.renew()
        _upload(folder, url)


def _channel(folder: Path) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """A channel's newest copy, and the patches to it."""
    said = read_json(folder / CHANNEL, PublishedChannel)
    pool = _pool(folder / "copy")
    patches = {}
    for manifest, patch in said["patches"].items():
        patches[manifest] = (folder / patch["file"]).read_bytes()
        if sha256(patches[manifest]) != patch["sha256"]:
            raise CorruptError(f"{folder / patch['file']}: another than {CHANNEL} says")
    if sha256(pool[MANIFEST]) != said["manifest"]:
        raise CorruptError(f"{folder / 'copy'}: another than {CHANNEL} says")
    return pool, patches


def _pool(folder: Path) -> dict[str, bytes]:
    Sealed(folder)
    try:
        return read_pool(folder)
    except PatchError as error:
        raise CorruptError(str(error)) from None


def _patch(base: dict[str, bytes], target: dict[str, bytes]) -> bytes | None:
    try:
        return make(base, target)
    except PatchError:  # of two formats, or too different
        return None


def _upload(folder: Path, url: str | None) -> None:
    """Have a copy of ``public`` somewhere, the file by which it is found last."""
    if url is None:
        return
    public = folder / "public"
    paths = (path for path in public.rglob("*") if path.is_file())
    here = {path.relative_to(public).as_posix(): path for path in paths}
    try:
        files, base = fsspec.core.url_to_fs(url)
        base = base.rstrip("/")
        files.invalidate_cache()
        there = {name.removeprefix(f"{base}/") for name in files.find(base)}
        for name in [*sorted(here.keys() - there - {_LAST}), _LAST]:
            files.makedirs(f"{base}/{name}".rpartition("/")[0], exist_ok=True)
            files.put_file(str(here[name]), f"{base}/{name}")
        for name in sorted(there - here.keys()):
            if _OURS.fullmatch(name):
                files.rm_file(f"{base}/{name}")
    except (ValueError, ImportError, OSError) as error:
        reason = " ".join(str(error).split())
        raise SourceError(f"{url}: not published, the same command goes on ({reason})") from None
