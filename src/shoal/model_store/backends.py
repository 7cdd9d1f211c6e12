"""Where a model store's files lie: a folder, this process's memory, or any fsspec URL."""

from __future__ import annotations

import io
import json
import os
import socket
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from shoal.errors import ShoalError, SourceError
from shoal.formats.files import locked, replacing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

LOCK = "lock"
_CREATING = threading.Lock()
_PATIENCE = 60.0  # seconds that a writer waits for another on a URL


class Backend(Protocol):
    """Files under flat names; each appears whole or not at all.

    To read one that is missing raises FileNotFoundError.
    """

    place: str
    """The name that errors use."""

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """Bytes ``start`` to ``stop`` (exclusive) of a file; fewer where it ends before."""

    def write(self, name: str) -> AbstractContextManager[BinaryIO]:
        """A file to write to, which appears or is replaced when the block ends well."""

    def sizes(self) -> dict[str, int]:
        """Every file's name and bytes, those of writers that were killed included."""

    def delete(self, name: str) -> None:
        """Remove a file; one that is missing is no error."""

    def lock(self) -> AbstractContextManager[None]:
        """Only one writer is in this block at a time, whatever thread, process or host."""


class Folder:
    """A local or network folder."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self.place = str(path)

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """See :class:`Backend`."""
        with (self._path / name).open("rb", buffering=0) as file:
            if start:
                file.seek(start)
            return file.read() if stop is None else _read_fully(file, stop - start)

    @contextmanager
    def write(self, name: str) -> Iterator[BinaryIO]:
        """See :class:`Backend`."""
        with replacing(self._path / name) as aside, aside.open("wb") as file:
            yield file

    def sizes(self) -> dict[str, int]:
        """See :class:`Backend`."""
        if not self._path.is_dir():
            return {}
        return {entry.name: entry.stat().st_size for entry in os.scandir(self._path)}

    def delete(self, name: str) -> None:
        """See :class:`Backend`."""
        (self._path / name).unlink(missing_ok=True)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """See :class:`Backend`. The kernel, or the file server, frees it if the holder dies."""
        with locked(self._path / LOCK):
            yield


def _read_fully(file: io.FileIO, count: int) -> bytes:
    """At most ``count`` bytes; a read of a file of which less is left never asks for more."""
    count = min(count, max(0, os.fstat(file.fileno()).st_size - file.tell()))
    parts = []
    while count > 0 and (part := file.read(count)):
        parts.append(part)
        count -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


class Memory:
    """This process's memory; gone with it."""

    place = "memory"

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """See :class:`Backend`."""
        try:
            return self._files[name][start:stop]
        except KeyError:
            raise FileNotFoundError(name) from None

    @contextmanager
    def write(self, name: str) -> Iterator[BinaryIO]:
        """See :class:`Backend`."""
        file = io.BytesIO()
        yield file
        self._files[name] = file.getvalue()

    def sizes(self) -> dict[str, int]:
        """See :class:`Backend`."""
        return {name: len(content) for name, content in list(self._files.items())}

    def delete(self, name: str) -> None:
        """See :class:`Backend`."""
        self._files.pop(name, None)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """See :class:`Backend`."""
        with self._lock:
            yield


class Url:
    """Object stores and others that fsspec knows, by URL: ``memory://``, ``s3://`` and so on."""

    def __init__(self, url: str) -> None:
        """Open the URL's file system.

        Raises:
            SourceError: fsspec does not know it, or lacks what it needs for it.
        """
        import fsspec

        try:
            self._files, path = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise SourceError(f"{url}: not a usable URL ({error})") from None
        self._root = path.rstrip("/")
        self.place = url

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}"

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """See :class:`Backend`."""
        content: bytes = self._files.cat_file(self._at(name), start=start, end=stop)
        return content

    @contextmanager
    def write(self, name: str) -> Iterator[BinaryIO]:
        """See :class:`Backend`. An object appears when all of it has been sent."""
        file = io.BytesIO()
        yield file
        self._files.pipe_file(self._at(name), file.getvalue())

    def sizes(self) -> dict[str, int]:
        """See :class:`Backend`."""
        with suppress(FileNotFoundError):
            self._files.invalidate_cache(self._root)
            listed: list[dict[str, Any]] = self._files.ls(self._root, detail=True)
            return {entry["name"].rsplit("/", 1)[-1]: entry["size"] for entry in listed}
        return {}

    def delete(self, name: str) -> None:
        """See :class:`Backend`."""
        with suppress(FileNotFoundError):
            self._files.rm_file(self._at(name))

    @contextmanager
    def lock(self) -> Iterator[None]:
        """See :class:`Backend`. A file that only one writer can create; it names its holder.

        Raises:
            ShoalError: It was held for a minute by one who may be gone.
        """
        holder = {"host": socket.gethostname(), "process": os.getpid()}
        patient_until = time.monotonic() + _PATIENCE
        while True:
            try:
                # Threads take turns: not every file system of fsspec checks and creates at once.
                with _CREATING, self._files.open(self._at(LOCK), "xb") as file:
                    file.write(json.dumps(holder).encode())
                break
            except FileExistsError:
                if time.monotonic() > patient_until:
                    raise self._held() from None
                time.sleep(0.05)
        try:
            yield
        finally:
            self.delete(LOCK)

    def _held(self) -> ShoalError:
        holder = self.read(LOCK).decode(errors="replace")
        return ShoalError(
            f"{self._at(LOCK)}: held for over {_PATIENCE:.0f} seconds by {holder}; "
            "remove the file if that process is gone"
        )


def backend_of(where: str | os.PathLike[str] | Backend) -> Backend:
    """The backend for a folder's path or a URL; one that is a backend already stays as it is."""
    if not isinstance(where, str | os.PathLike):
        return where
    path = str(where)
    for local in ("file://", "local://"):
        path = path.removeprefix(local)
    return Url(path) if "://" in path else Folder(path)
