"""What lies at a URL, brought into the folder of the source files.

A file is brought once it has settled there, and goes once it is gone there. It appears whole or not
at all. A record tells the files that came so from all others, which stay as they are.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import fsspec
from typing_extensions import TypedDict

from shoal.errors import ShoalError, SourceError
from shoal.formats.files import explained, locked, replacing
from shoal.formats.hashing import canonical_json, file_hash
from shoal.formats.json_file import read_json
from shoal.operate.settling import Settling, names_text
from shoal.operate.source_names import is_named, patterns_of
from shoal.sources.shards import mark_of
from shoal_edge.folder import sync

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from shoal.operate.source_names import Pattern

OWN = ".mirror"
"""Hidden folder beside the source files: the record, and files that are being fetched."""
RECORD = "record.json"

_BATCH = 10
"""Seconds after which fetched files are put into place; the record is written for all of them."""
_VERSION = re.compile(
    r"etag|md5|sha|check|digest|generation|version|modif|updat|mtime|writ|created|^ino$", re.I
)
"""Names of what file systems say of a file's version; times of access are none."""
_PASSWORD = re.compile(r"(?<=://)[^/@:\s]*:[^/@\s]*@")


class UnreachableError(ShoalError):
    """A URL does not answer as it did; nothing is removed, and it may answer later."""

    code = 1


class Brought(TypedDict):
    """A state of a file that came from the URL.

    Attributes:
        version: What the URL said of its version.
        sha256: Of its content, hexadecimal.
        mark: Its mark here; none before it was put into place.
    """

    version: str
    sha256: str
    mark: list[int]


class Record(TypedDict):
    """``record.json``.

    Attributes:
        url: Where the files came from, without a password.
        files: States by name, the newest last; several where putting it into place was interrupted.
    """

    url: str
    files: dict[str, list[Brought]]


class Listed(NamedTuple):
    """A file as the URL lists it: its path there, its size in bytes, and its version."""

    path: str
    size: int
    version: str


class _Fetched(NamedTuple):
    listed: Listed
    aside: Path
    sha256: str


@contextmanager
def mirroring(url: str, folder: Path, settle: float) -> Iterator[Mirror]:
    """Bring files from a URL into a folder while the block lasts; nobody else does.

    Args:
        url: A folder that fsspec knows: ``s3://bucket/data`` and so on.
        folder: The folder of the source files.
        settle: Seconds for which a file has to stay as it is at the URL.

    Raises:
        ShoalError: Somebody else brings files into the folder, or the file system has no locks.
        SourceError: Files in it came from another URL.
    """
    busy = f"{folder}: another `shoal follow --from` brings files into it"
    with locked(folder / OWN / "lock", busy):
        path, shown = folder / OWN / RECORD, _public(url).rstrip("/")
        record: Record = {"url": shown, "files": {}}
        if path.exists():
            record = read_json(path, Record)
        if record["url"] != shown:
            raise SourceError(
                f"{folder}: files in it came from {record['url']}; take another sources.folder for "
                f"{shown}, or remove them and {path}"
            )
        yield Mirror(url, folder, record, settle)


class Mirror:
    """A URL and the folder that its files are brought into.

    Attributes:
        url: The URL.
        folder: The folder.
        record: Which files came from there.
        there: Files as they were seen at the URL.
    """

    def __init__(self, url: str, folder: Path, record: Record, settle: float) -> None:
        self.url = url
        self.folder = folder
        self.record = record
        self.there: Settling[str, Listed] = Settling(settle)
        self._files: Any = None
        self._was_right = bool(record["files"])
        self._is_saved = True

    def look(self, files: str | Sequence[Any]) -> Generator[str, None, list[Path]]:
        """Look at the URL once: bring what has settled there, remove what has gone.

        Args:
            files: ``sources.files``, plain values.

        Yields:
            A sentence before files are brought or removed.

        Returns:
            What was brought or removed.

        Raises:
            UnreachableError: The URL cannot be listed or read, or nothing is there any more.
            SourceError: It is no URL of files, or a file is in the way that did not come from it.
        """
        patterns, files_here = patterns_of(files), self.record["files"]
        listed = self._list(patterns)
        known = [name for name in files_here if is_named(patterns, name.split("/"))]
        self.there.look(listed, known)
        settled, moving = self.there.settled(), self.there.moving()
        here = {name: self._here(name) for name in sorted({*settled, *known} - moving.keys())}
        versions = {name: state["version"] for name, state in here.items() if state}
        wanted = {
            name: each for name, each in settled.items() if versions.get(name) != each.version
        }
        changed: list[Path] = []
        if wanted:
            yield f"brings {names_text(list(wanted))} from {self.record['url']}"
        while wanted:
            fetched = self._fetch_some(wanted)
            listed = self._list(patterns)
            same = {name: each for name, each in fetched.items() if listed.get(name) == each.listed}
            self.there.look(listed, known)
            changed += self._place(same)
        gone = [name for name in here if name not in settled and name not in listed]
        if gone:
            yield f"removes {names_text(gone)}, gone from {self.record['url']}"
        for name in gone:
            if self._here(name) is not None:
                self._path(name).unlink()
            del files_here[name]
            changed.append(self._path(name))
        if gone or not self._is_saved:
            self._save()
        return changed

    def _list(self, patterns: Sequence[Pattern]) -> dict[str, Listed]:
        """Files at the URL that are sources, by their path below it."""
        with self._asking(self.url):
            try:
                self._files, path = fsspec.core.url_to_fs(self.url)
            except (ImportError, ValueError) as error:
                what = f"{self.url}: not a usable URL ({error})"
                raise SourceError(_public(what)) from None
            self._files.invalidate_cache()
            try:
                entries = self._files.ls(path, detail=True)
            except FileNotFoundError:  # of an empty folder in an object store too
                entries = []
            listed = dict(self._walk(path, entries, (), patterns))
        if not listed:
            what = f"{self.record['url']}: no file is there that sources.files names"
            raise UnreachableError(what) if self._was_right else SourceError(what)
        self._was_right = True
        return listed

    def _walk(
        self,
        path: str,
        entries: Iterable[Mapping[str, Any]],
        above: tuple[str, ...],
        patterns: Sequence[Pattern],
    ) -> Iterator[tuple[str, Listed]]:
        """Files in a folder at the URL, and in those below in which sources may be."""
        for entry in entries:
            parent, _, name = entry["name"].rstrip("/").rpartition("/")
            parts = (*above, name)
            if parent.strip("/") != path.strip("/"):  # of the folder itself, and of empty names
                continue
            if entry["type"] == "directory" and is_named(patterns, parts, below=True):
                below = self._files.ls(entry["name"], detail=True)
                yield from self._walk(entry["name"], below, parts, patterns)
            elif entry["type"] == "file" and is_named(patterns, parts):
                yield "/".join(parts), self._listed(entry)

    def _listed(self, entry: Mapping[str, Any]) -> Listed:
        if entry.get("size") is None:  # listings of web servers say names alone
            entry = self._files.info(entry["name"])
        size, told = entry.get("size"), {n: str(v) for n, v in entry.items() if _VERSION.search(n)}
        if size is None or not told:
            what = f"{entry['name']}: the server says no size, or neither a time nor a tag by which"
            raise SourceError(_public(f"{what} changes are seen"))
        return Listed(entry["name"], size, canonical_json(told | {"size": size}))

    def _fetch_some(self, wanted: dict[str, Listed]) -> dict[str, _Fetched]:
        """Fetch files for a while, which are then wanted no more; those that came whole."""
        own, until = self.folder / OWN, time.monotonic() + _BATCH
        for left in own.glob("*.part"):
            left.unlink()
        fetched: dict[str, _Fetched] = {}
        while wanted and (not fetched or time.monotonic() < until):
            name = next(iter(wanted))
            listed, aside = wanted.pop(name), own / f"{len(fetched)}.part"
            with self._asking(listed.path):
                try:
                    self._files.get_file(listed.path, str(aside))
                except FileNotFoundError:
                    continue
            if aside.is_file() and aside.stat().st_size == listed.size:
                sync(aside)
                fetched[name] = _Fetched(listed, aside, file_hash(aside))
        return fetched

    def _place(self, fetched: Mapping[str, _Fetched]) -> list[Path]:
        """Put files into place, after the record says that they may be there."""
        files, paths = self.record["files"], {name: self._path(name) for name in fetched}
        for name, each in fetched.items():
            here = self._here(name)
            fresh: Brought = {"version": each.listed.version, "sha256": each.sha256, "mark": []}
            files[name] = [*([here] if here else []), fresh]
        self._save()
        for name, each in fetched.items():
            paths[name].parent.mkdir(parents=True, exist_ok=True)
            self._here(name)
            each.aside.replace(paths[name])
        for folder in {path.parent for path in paths.values()}:
            sync(folder)
        for name, path in paths.items():
            files[name] = [files[name][-1] | {"mark": list(mark_of(path) or ())}]
        self._save()
        return list(paths.values())

    def _here(self, name: str) -> Brought | None:
        """State in which a file is here; None where there is none.

        Raises:
            SourceError: What is here under its name did not come from the URL.
        """
        path = self._path(name)
        mark, states = list(mark_of(path) or ()), self.record["files"].get(name, [])
        if not mark and not os.path.lexists(path):
            return None
        for state in states:
            if mark and state["mark"] == mark:
                return state
        if states and path.is_file() and not path.is_symlink():
            content = file_hash(path)
            for state in states:
                if state["sha256"] == content:
                    state["mark"] = mark
                    self._is_saved = False
                    return state
        how = "was changed here after it came from" if states else "is here and did not come from"
        raise SourceError(
            f"{path}: {how} {self.record['url']}; it stays as it is: move it, or give it another "
            f"name, and start again"
        )

    def _path(self, name: str) -> Path:
        """Where a file is here, which is in the folder."""
        path = self.folder / name
        if "/" in name and not path.parent.resolve().is_relative_to(self.folder.resolve()):
            raise SourceError(f"{path.parent}: leads out of {self.folder}, so nothing is put there")
        return path

    def _save(self) -> None:
        own = self.folder / OWN
        with replacing(own / RECORD) as aside:
            aside.write_text(canonical_json(self.record))
            sync(aside)
        sync(own)
        self._is_saved = True

    @contextmanager
    def _asking(self, path: str) -> Iterator[None]:
        """Whatever is wrong with the line, the server or the rights becomes one error."""
        try:
            yield
        except ShoalError:
            raise
        except Exception as error:  # each file system has errors of its own
            raise self._unreachable(path, error) from None

    def _unreachable(self, path: str, error: Exception) -> UnreachableError:
        reason = explained(error) if isinstance(error, OSError) else " ".join(str(error).split())
        return UnreachableError(_public(f"{path}: {reason or type(error).__name__}"))


def _public(text: str) -> str:
    """A text without the passwords of URLs in it."""
    return _PASSWORD.sub("", text)
