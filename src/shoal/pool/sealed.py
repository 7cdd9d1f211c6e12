"""The files of a pool's folder, each read once, so that the bytes hashed are the bytes used."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from typing import TYPE_CHECKING, Any

from shoal.errors import CorruptError, SourceError
from shoal.formats.documents.ledger import LedgerRecord
from shoal.formats.fitted_state import parse_state
from shoal.formats.json_file import parse_json
from shoal.pool.manifest import MANIFEST, parse_manifest
from shoal_edge.folder import open_file

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_LONGEST = 1 << 25
"""Most bytes of a document: a specialist takes about a thousand of the manifest."""


class Sealed:
    """A pool's folder whose manifest has been read.

    Attributes:
        folder: The folder.
        manifest: The manifest.
        digest: Its digest.
        sha256: SHA-256 of its file, by which devices know a pool.
    """

    def __init__(self, folder: Path, digest: str | None = None) -> None:
        """Read the manifest.

        Args:
            folder: The pool's folder.
            digest: What the manifest's digest has to be, if that is known.

        Raises:
            SourceError: There is no pool in the folder.
            CorruptError: The manifest is none, or has another digest.
        """
        self.folder = folder
        path = folder / MANIFEST
        if not os.path.lexists(path):
            raise SourceError(f"{folder}: not a pool, it has no {MANIFEST}")
        content = _read(folder, MANIFEST, _LONGEST)
        self.sha256 = hashlib.sha256(content).hexdigest()
        self.manifest, self.digest = parse_manifest(content, path)
        if digest is not None and digest != self.digest:
            raise CorruptError(
                f"{path}: its digest is {self.digest}, not {digest[:80]}; this is not the pool "
                f"that you want, or it was changed"
            )

    def read(self, name: str, limit: int | None = None) -> bytes:
        """Content of a file that the manifest lists.

        Args:
            name: Its name in the manifest.
            limit: Most bytes that it may have.

        Raises:
            CorruptError: It is not listed, not a regular file of this folder, or another than
                the manifest says.
        """
        path = self.folder / name
        if name not in self.manifest.files:
            raise CorruptError(f"{self.folder / MANIFEST}: files: {name!r} is not listed")
        content = _read(self.folder, name, limit)
        if hashlib.sha256(content).hexdigest() != self.manifest.files[name]:
            raise CorruptError(f"{path}: does not match its hash in the manifest")
        return content

    def document(self, name: str) -> dict[str, Any]:
        """A JSON object."""
        return parse_json(self.read(name, _LONGEST), self.folder / name, dict[str, Any])

    def state(self, name: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Tensors and ``meta`` of a state's file."""
        return parse_state(self.read(name), self.folder / name)

    def check_ledger(self) -> None:
        """Compare the ledger with what ledgers are.

        Raises:
            CorruptError: It is none.
        """
        content = self.read("ledger.json")
        if len(content) <= _LONGEST:  # no limit: nothing reads it, and trainings may be many
            parse_json(content, self.folder / "ledger.json", list[LedgerRecord])


def _read(folder: Path, name: str, limit: int | None) -> bytes:
    """A regular file's bytes, through no link below ``folder``."""
    path = folder / name
    try:
        with os.fdopen(open_file(folder, name), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise CorruptError(f"{path}: is no regular file, as a pool's files are")
            if limit is not None and found.st_size > limit:
                raise CorruptError(f"{path}: is longer than {limit >> 10} KiB, the most it may be")
            return file.read()
    except MemoryError:
        raise CorruptError(f"{path}: is larger than the memory that is free") from None
    except OSError as error:
        # A link is one or the other, by whether a file or a folder was asked for.
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise CorruptError(
                f"{path}: leads through a link, but a pool's files lie in its folder"
            ) from None
        if error.errno == errno.ENOENT:
            raise CorruptError(f"{path}: named in the manifest, but not in the pool") from None
        raise
