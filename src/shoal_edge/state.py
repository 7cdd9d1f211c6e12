"""A pool's files as they were when its manifest was read, and the state in them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from safetensors import SafetensorError
from safetensors.numpy import load

from shoal_edge.errors import EdgeError
from shoal_edge.folder import manifest_files, read_checked, read_file
from shoal_edge.patch import MANIFEST, files_of, sha256

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

_LENGTH = 8
FORMAT = 4
"""Format of pools that are read."""
DAMAGE = (ValueError, KeyError, TypeError, IndexError, AttributeError, SafetensorError)
"""What state raises that is of another kind than it should be."""


class State(NamedTuple):
    """Fitted state.

    Attributes:
        tensors: Arrays by name.
        meta: JSON values.
    """

    tensors: Mapping[str, NDArray[Any]]
    meta: dict[str, Any]


class Files:
    """Files of a pool, each checked by its hash when it is read.

    Attributes:
        folder: The pool's folder.
        manifest: Content of the manifest.
        digest: SHA-256 of its file.
        names: Names of the files.
    """

    def __init__(self, folder: Path) -> None:
        """Read the manifest.

        Raises:
            EdgeError: There is no pool in the folder, or it is of another format.
        """
        self.folder = folder
        manifest_files(folder)
        self._raw = read_file(folder, MANIFEST)
        self.digest = sha256(self._raw)
        self._digests = files_of(self._raw)
        self.names = frozenset(self._digests)
        self.manifest: dict[str, Any] = json.loads(self._raw)
        if self.manifest.get("format") != FORMAT:
            raise EdgeError(
                f"{folder / MANIFEST}: format {self.manifest.get('format')!r}, this version of "
                f"shoal-edge reads format {FORMAT}"
            )

    @property
    def is_changed(self) -> bool:
        """Whether another manifest is in the folder by now: a patch was applied."""
        return read_file(self.folder, MANIFEST) != self._raw

    def read(self, name: str) -> bytes:
        """Content of a file.

        Raises:
            EdgeError: The manifest does not list it, or says another content.
        """
        if name not in self._digests:
            raise EdgeError(f"{self.folder / MANIFEST}: files: {name!r} is not listed")
        return read_checked(self.folder, name, self._digests[name])

    def document(self, name: str) -> dict[str, Any]:
        """A JSON object.

        Raises:
            EdgeError: The file is none.
        """
        try:
            found = json.loads(self.read(name))
        except ValueError as error:
            raise EdgeError(f"{self.folder / name}: not JSON ({error})") from None
        if not isinstance(found, dict):
            raise EdgeError(f"{self.folder / name}: not a JSON object")
        return found

    def state(self, name: str) -> State:
        """Tensors and ``meta`` of a state's file.

        Raises:
            EdgeError: The file is none.
        """
        content = self.read(name)
        try:
            tensors = load(content)
            length = int.from_bytes(content[:_LENGTH], "little")
            header = json.loads(content[_LENGTH : _LENGTH + length])
            meta = json.loads(header["__metadata__"]["shoal"])["meta"]
            return State(tensors, dict(meta))
        except DAMAGE as error:
            raise EdgeError(f"{self.folder / name}: no state of Shoal's ({error})") from None
