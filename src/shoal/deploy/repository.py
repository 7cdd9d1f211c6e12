"""A repository of a channel's pools for any web server, in the sense of The Update Framework (TUF).

A folder of the publisher's holds ``keys``, which stay there, and ``public``, which the world may
read: ``metadata`` and ``targets``, as :mod:`shoal_edge.update` takes them. What lies on the server
is a copy that nothing is ever read from, so who alters it alters nothing that is signed later.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from securesystemslib.signer import CryptoSigner, Signer
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import (
    Metadata,
    MetaFile,
    Root,
    Signed,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.repository import AbortEdit, Repository

from shoal.errors import SettingsError, SourceError
from shoal.formats.files import locked, replacing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from securesystemslib.signer import Key

LASTS = {
    Root.type: timedelta(days=365),
    Targets.type: timedelta(days=90),
    Snapshot.type: timedelta(days=90),
    Timestamp.type: timedelta(days=7),
}
"""How long a signature of each role counts: how long a server may keep back what is newer."""

_KINDS: Mapping[str, Callable[[], Signed]] = {
    each.type: each for each in (Root, Targets, Snapshot, Timestamp)
}
_KEPT = 2
"""Versions of metadata and targets that stay, for devices that are reading them."""


class PoolRepository(Repository):
    """The files of a repository, edited by python-tuf; use :func:`opened`.

    Args:
        folder: The publisher's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.keys = folder / "keys"
        self.metadata = folder / "public" / "metadata"
        self.targets_folder = folder / "public" / "targets"

    def open(self, role: str) -> Metadata[Any]:
        """The newest metadata of a role; of version 0 where there is none."""
        path = self._newest(role)
        if path is None:
            found: Metadata[Any] = Metadata(_KINDS[role]())
            found.signed.version = 0
            return found
        return Metadata.from_bytes(path.read_bytes())

    def close(self, role: str, md: Metadata[Any]) -> None:
        """Sign and write the next version.

        Raises:
            SettingsError: The folder lacks a key that it takes.
        """
        is_root, before = role == Root.type, self.open(Root.type).signed
        root = md.signed if is_root else before
        md.signed.version += 1
        md.signed.expires = (datetime.now(UTC) + LASTS[role]).replace(microsecond=0)
        signers = self._signers(role, root)  # ed25519: devices check it without `cryptography`
        if is_root and before.version:
            signers |= self._signers(role, before)
        md.signatures.clear()
        for signer in signers.values():
            md.sign(signer, append=True)
        if is_root:
            previous = before if before.version else None
            is_signed = root.get_root_verification_result(
                previous, md.signed_bytes, md.signatures
            ).verified
        else:
            is_signed = self._is_signed(role, md)
        if not is_signed:
            raise SettingsError(f"{self.keys}: the key of {role} is not there, {role}-….pem")
        name = "timestamp.json" if role == Timestamp.type else f"{md.signed.version}.{role}.json"
        with replacing(self.metadata / name) as aside:
            aside.write_bytes(md.to_bytes())

    @property
    def targets_infos(self) -> dict[str, MetaFile]:
        """Version, length and hash of the targets' metadata, for the snapshot."""
        path = self._newest(Targets.type)
        content = path.read_bytes() if path is not None else b""
        version = self.targets().version
        return {"targets.json": MetaFile.from_data(version, content, ["sha256"])}

    @property
    def snapshot_info(self) -> MetaFile:
        """The snapshot's version, for the timestamp, which has to be short."""
        return MetaFile(self.snapshot().version)

    def replace_keys(self, *roles: str) -> None:
        """Make a key for each of some roles, which counts instead of those before."""
        signers = {role: CryptoSigner.generate_ed25519() for role in roles}
        self.keys.mkdir(mode=0o700, parents=True, exist_ok=True)
        for role, signer in signers.items():
            path = self._key_file(role, signer.public_key.keyid)
            number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(number, "wb") as file:
                file.write(signer.private_bytes)
                file.flush()
                os.fsync(number)
        with self.edit_root() as root:
            for role, signer in signers.items():
                for keyid in list(root.roles[role].keyids):
                    root.revoke_key(keyid, role)
                root.add_key(signer.public_key, role)

    def put(self, files: Mapping[str, tuple[bytes, dict[str, str]]]) -> None:
        """Make these the targets, and no others.

        Args:
            files: Content and what is signed about it (``custom``), by target.
        """
        targets = {}
        for name, (content, custom) in files.items():
            target = TargetFile.from_data(name, content, ["sha256"])
            target.unrecognized_fields["custom"] = custom
            targets[name] = target
            path = self.targets_folder / target.get_prefixed_paths()[0]
            if not path.exists():
                with replacing(path) as aside:
                    aside.write_bytes(content)
        with self.edit_targets() as now:
            if now.targets == targets:
                raise AbortEdit
            now.targets = targets

    def renew(self) -> list[str]:
        """Sign anew what is due, and the timestamp.

        Returns:
            Roles that are due, but whose keys are not there.
        """
        missing = []
        for role in (Root.type, Targets.type):
            if self._is_due(role):
                try:
                    with self.edit(role):
                        pass
                except SettingsError:
                    missing.append(role)
        self.do_snapshot(force=self._is_due(Snapshot.type))
        self.do_timestamp(force=True)
        self._clear()
        return missing

    def _is_due(self, role: str) -> bool:
        """Whether less than half of its time is left, or its signature does not count any more."""
        now = self.open(role)
        if role != Root.type and not self._is_signed(role, now):
            return True
        expires: datetime = now.signed.expires
        return expires - datetime.now(UTC) < LASTS[role] / 2

    def _is_signed(self, role: str, md: Metadata[Any]) -> bool:
        try:
            self.root().verify_delegate(role, md.signed_bytes, md.signatures)
        except UnsignedMetadataError:
            return False
        return True

    def _signers(self, role: str, root: Root) -> dict[str, Signer]:
        """Those keys of a role that are in the folder."""
        found = {}
        for keyid in root.roles[role].keyids:
            key: Key = root.keys[keyid]
            path = self._key_file(role, keyid)
            if path.exists():
                found[keyid] = Signer.from_priv_key_uri(f"file2:{path}", key)
        return found

    def _key_file(self, role: str, keyid: str) -> Path:
        return self.keys / f"{role}-{keyid[:12]}.pem"

    def versions(self, role: str) -> dict[int, Path]:
        """Files of a role by version."""
        paths = self.metadata.glob(f"*.{role}.json")
        return {int(path.name.partition(".")[0]): path for path in paths}

    def _newest(self, role: str) -> Path | None:
        if role == Timestamp.type:
            path = self.metadata / "timestamp.json"
            return path if path.exists() else None
        versions = self.versions(role)
        return versions[max(versions)] if versions else None

    def _clear(self) -> None:
        """Remove what no device reads any more."""
        for role in (Targets.type, Snapshot.type):
            versions = self.versions(role)
            for version in sorted(versions)[:-_KEPT]:
                versions[version].unlink()
        used = set()
        for path in self.versions(Targets.type).values():
            signed: Targets = Metadata[Targets].from_bytes(path.read_bytes()).signed
            for target in signed.targets.values():
                used.add(self.targets_folder / target.get_prefixed_paths()[0])
        for path in self.targets_folder.rglob("*"):
            if path.is_file() and path not in used:
                path.unlink()


@contextmanager
def opened(folder: Path) -> Iterator[PoolRepository]:
    """A repository that nobody else changes meanwhile.

    Raises:
        SourceError: There is none in the folder.
        ShoalError: Somebody else is at it.
    """
    repository = PoolRepository(folder)
    if not repository.versions(Root.type):
        raise SourceError(f"{folder}: holds no repository; `shoal channel init` makes one")
    with locked(folder / "lock", f"{folder}: another command is changing it"):
        yield repository


def create(folder: Path) -> Path:
    """Make keys and a repository without targets.

    Returns:
        The first root, which devices need.

    Raises:
        SourceError: There is something in the folder.
    """
    if folder.exists() and any(folder.iterdir()):
        raise SourceError(f"{folder}: not empty; a repository goes into a folder of its own")
    repository = PoolRepository(folder)
    repository.replace_keys(*LASTS)
    repository.renew()
    return repository.versions(Root.type)[1]
