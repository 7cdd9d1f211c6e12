"""Bring a pool up to date from a web server, which is not trusted (The Update Framework, TUF).

What the server has to say is signed, and the device knows the keys: see
https://theupdateframework.github.io/specification/latest. A repository has two folders:
``metadata`` and ``targets``. Targets are ``pool``, the newest pool as one file
(:mod:`shoal_edge.archive`), and ``patches/SHA256`` for older pools, by the hash of their manifests.
The signed ``custom`` of each has ``to``, the hash of the manifest of the pool that it makes.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tuf.api.exceptions import (
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
)
from tuf.ngclient import Updater, UpdaterConfig
from urllib3.exceptions import HTTPError

from shoal_edge.archive import install
from shoal_edge.errors import PatchError
from shoal_edge.fetch import Fetcher
from shoal_edge.folder import apply, read_file
from shoal_edge.patch import MANIFEST, sha256

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tuf.ngclient import TargetFile

POOL = "pool"
"""Name of the target that is the newest pool."""

LIMITS = UpdaterConfig(
    root_max_length=1 << 16,
    timestamp_max_length=1 << 12,
    snapshot_max_length=1 << 16,
    targets_max_length=1 << 18,
)
"""Most bytes of metadata: what a server that never ends may send."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_ALTERED = (LengthOrHashMismatchError, DownloadLengthMismatchError)
_DAY = 86400


def patch_from(manifest: str) -> str:
    """Name of the target that turns a pool into the newest one.

    Args:
        manifest: SHA-256 of the pool's manifest.
    """
    return f"patches/{manifest}"


@dataclass(frozen=True)
class Updated:
    """What an update did.

    Attributes:
        by: What came: a patch, the whole pool, or nothing, since there is nothing newer.
        manifest: SHA-256 of the pool's manifest now.
        size: Bytes of the patch or pool.
    """

    by: Literal["nothing", "patch", "pool"]
    manifest: str
    size: int


def update(pool: Path, url: str, root: Path | None = None) -> Updated:
    """Bring a pool up to date.

    A pool is patched where there is a patch for it, else replaced. Whatever happens, the folder has
    the old pool or the newest one. Beside it, in ``.NAME.updates``, lies what the device knows of
    the repository; without it an old state of the server is not recognised as old.

    Args:
        pool: The pool's folder; there need not be one yet.
        url: The repository's address.
        root: The repository's first ``root.json``, which says whose signatures count. It has to
            come by a way that is trusted; it is kept, so it is needed once.

    Raises:
        PatchError: What the server says is refused, or does not come, or there is no room; the
            message says which and why.
    """
    where = pool.resolve()
    state = where.with_name(f".{where.name}.updates")
    try:
        mine = _manifest(where)
        with _alone(state, where):
            return _update(where, mine, url.rstrip("/"), state, root)
    except ExpiredMetadataError as error:
        now = datetime.now(UTC)
        raise PatchError(
            f"{url}: {error} on {now:%Y-%m-%d %H:%M} UTC: the server has nothing newer, or this "
            f"device's clock is wrong; {_KEPT}"
        ) from None
    except (RepositoryError, DownloadError, HTTPError) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise PatchError(f"{url}: {reason}; {_KEPT}") from None
    except OSError as error:
        name = error.filename if isinstance(error.filename, str) else str(pool)
        reason = (error.strerror or str(error)).lower()
        raise PatchError(f"{name}: {reason}; {_KEPT}") from None


_KEPT = "the pool is as it was"


def _update(where: Path, mine: str | None, url: str, state: Path, root: Path | None) -> Updated:
    _check_clock(state)
    shutil.rmtree(state / "targets", ignore_errors=True)  # of one that was killed
    updater = Updater(
        metadata_dir=str(state / "metadata"),
        metadata_base_url=f"{url}/metadata/",
        target_dir=str(state / "targets"),
        target_base_url=f"{url}/targets/",
        fetcher=Fetcher(state / "parts"),
        config=LIMITS,
        bootstrap=_first_root(state, root),
    )
    updater.refresh()
    newest = updater.get_targetinfo(POOL)
    if newest is None:
        raise PatchError(f"{url}: no pool is published there yet")
    target = _made_by(newest)
    if mine == target:
        return Updated("nothing", target, 0)
    patch = updater.get_targetinfo(patch_from(mine)) if mine else None
    if patch is not None and _made_by(patch) == target and _patched(where, updater, patch):
        return Updated("patch", target, patch.length)
    with _downloaded(updater, newest) as path:
        try:
            install(where, path, target)
        except PatchError as error:
            raise PatchError(f"{url}: {POOL}: {error}") from None
    return Updated("pool", target, newest.length)


def _patched(where: Path, updater: Updater, patch: TargetFile) -> bool:
    """Patch a pool; False where the patch is not there, altered, or does not fit."""
    try:
        with _downloaded(updater, patch) as path:
            apply(where, path)
    except PatchError as error:
        reason = error.__context__
        if isinstance(reason, OSError) and reason.errno in _FULL:
            raise  # there is no room for the whole pool either
        return False
    except (*_ALTERED, DownloadHTTPError):
        return False
    return True


@contextmanager
def _downloaded(updater: Updater, target: TargetFile) -> Iterator[Path]:
    """A target's file, as long as it is needed."""
    path = Path(updater.download_target(target))
    try:
        yield path
    finally:
        path.unlink()


def _made_by(target: TargetFile) -> str:
    """SHA-256 of the manifest of the pool that a target makes."""
    custom = target.custom
    made = custom.get("to") if isinstance(custom, dict) else None
    if not isinstance(made, str):
        raise PatchError(f"target {target.path[:80]!r} does not say which pool it makes")
    return made


def _manifest(where: Path) -> str | None:
    """SHA-256 of a pool's manifest; None where there is no folder yet.

    Raises:
        PatchError: In the folder there is something else.
    """
    if not os.path.lexists(where):
        return None
    if not os.path.lexists(where / MANIFEST):
        raise PatchError(f"{where}: not a pool, it has no {MANIFEST}")
    return sha256(read_file(where, MANIFEST))


def _first_root(state: Path, given: Path | None) -> bytes:
    """The root that all trust comes from."""
    path = state / "root.json"
    if given is not None:
        content = given.read_bytes()
        aside = path.with_suffix(".new")
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    if not path.exists():
        raise PatchError(
            f"{path}: not there, so no signature counts; give the repository's first root.json "
            f"with --root"
        )
    return path.read_bytes()


def _check_clock(state: Path) -> None:
    """Refuse a clock that is behind what it was: by it nothing old would ever expire."""
    path = state / "metadata" / "timestamp.json"
    if path.exists() and (seen := path.stat().st_mtime) > time.time() + _DAY:
        now, then = (datetime.fromtimestamp(each, UTC) for each in (time.time(), seen))
        raise PatchError(
            f"this device's clock is wrong: it says {now:%Y-%m-%d}, its last update was on "
            f"{then:%Y-%m-%d}; {_KEPT}"
        )


@contextmanager
def _alone(state: Path, where: Path) -> Iterator[None]:
    """Only one at a time; the system frees the lock of one that is killed."""
    for folder in ("metadata", "parts"):
        (state / folder).mkdir(parents=True, exist_ok=True)
    with (state / "lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PatchError(f"{where}: another update is going on") from None
        yield
