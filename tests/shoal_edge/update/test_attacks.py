"""The attacks that TUF names, each tried: refused, and the old pool goes on.

Source:
    https://theupdateframework.github.io/specification/latest, "Goals for specific attacks".
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata, MetaFile, Snapshot, Timestamp

from shoal.deploy.distribute import publish, rotate, start
from shoal.deploy.repository import PoolRepository
from shoal_edge import fetch
from shoal_edge.archive import pack
from shoal_edge.errors import PatchError
from shoal_edge.folder import read_pool
from shoal_edge.update import update
from tests.shoal_edge.update.helpers import honest, refused, shift_clock


def test_arbitrary_installation_another_file(device, server, copies):
    """Another file in place of a target is not installed, nor is any other then."""
    server.spoil = lambda path, content: (
        pack(read_pool(copies[0])) if path.startswith("/targets") else content
    )

    refused(device, server, "length|hash|longer")
    honest(device, server, copies[1])


def test_arbitrary_installation_altered_bits(device, server, copies):
    """One bit of any file that is read is enough for it to be refused."""
    for name in ("timestamp.json", "snapshot.json", "targets.json", "/targets/"):

        def spoil(path, content, name=name):
            if content and name in path:
                middle = len(content) // 2
                return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
            return content

        server.spoil = spoil
        refused(device, server, server.url)
    honest(device, server, copies[1])


def test_wrong_keys_another_repository(device, server, copies, tmp_path):
    """A whole repository of somebody else, with keys of his own, is refused."""
    start(tmp_path / "other", None)
    publish(tmp_path / "other", [copies[2]], None)
    server.folder = tmp_path / "other/public"

    refused(device, server, "signed by 0/1 keys")


def test_wrong_keys_a_root_of_somebody_else(device, server, publisher, tmp_path):
    """A next root that the one before has not signed is none."""
    start(tmp_path / "other", None)
    rotate(tmp_path / "other", "root", None)
    shutil.copy(tmp_path / "other/public/metadata/2.root.json", publisher / "public/metadata")

    refused(device, server, "root was signed by 0/1 keys")


def test_rollback(device, server, copies, releases):
    """Who has seen a release takes none before it."""
    update(device, server.url)
    server.folder = releases[0] / "public"

    refused(device, server, "must be >=")


def test_rollback_of_one_file(device, server, copies, releases, publisher):
    """A timestamp that is new with a snapshot that is old, signed as it was: refused."""
    update(device, server.url)
    publish(publisher, copies, None)
    old = (releases[0] / "public/metadata/2.snapshot.json").read_bytes()
    server.spoil = lambda path, content: old if path.endswith("snapshot.json") else content

    refused(device, server, "version")
    honest(device, server, copies[2])


def test_indefinite_freeze(device, server, monkeypatch):
    """A server that goes on to say what it said is found out when the signature expires."""
    update(device, server.url)
    shift_clock(monkeypatch, 8)

    refused(device, server, "timestamp.json is expired on .*, or this device's clock is wrong")


@pytest.mark.parametrize(
    "name", ["root.json", "timestamp.json", "snapshot.json", "pool", "patches"]
)
def test_endless_data(device, server, copies, name):
    """Of a file that does not end no more is read than the limit."""
    server.spoil = lambda path, content: (
        (content or b"") + bytes(1 << 24) if name in path else content
    )
    if name == "pool":
        shutil.rmtree(device)

    if name == "patches":
        assert update(device, server.url).by == "pool"
    elif name == "pool":
        with pytest.raises(PatchError, match="it is longer than it may be"):
            update(device, server.url)
    else:
        refused(device, server, "it is longer than it may be")
    honest(device, server, copies[1])


def test_mix_and_match(device, server, copies, releases, publisher):
    """Files of two releases that never went together are refused, each as it was signed."""
    publish(publisher, copies, None)
    old = (releases[1] / "public/metadata/3.targets.json").read_bytes()
    server.spoil = lambda path, content: old if path.endswith("targets.json") else content

    refused(device, server, "length|version")
    honest(device, server, copies[2])


def test_slow_retrieval(device, server, copies, monkeypatch):
    """A server that trickles is left."""
    monkeypatch.setattr(fetch, "PATIENCE", -100)
    monkeypatch.setattr(fetch, "SLOWEST", 1 << 20)

    refused(device, server, "bytes in 0 seconds")


@pytest.mark.parametrize("content", [None, b"", b"<html>Log in</html>", b"[" * 100_000, b"\xff"])
def test_malicious_mirrors(device, server, copies, content):
    """A mirror that serves nothing, or anything, does no more than keep back what is new."""
    server.spoil = lambda *_: content

    refused(device, server, server.url)
    honest(device, server, copies[1])


def forge(publisher, version):
    """What who has the keys of timestamp and snapshot can sign: versions far ahead."""
    repository = PoolRepository(publisher)
    for role, kind in (("snapshot", Snapshot), ("timestamp", Timestamp)):
        found: Metadata = repository.open(role)
        assert isinstance(found.signed, kind)
        found.signed.version = version
        if role == "timestamp":
            found.signed.snapshot_meta = MetaFile(version + 1)
        repository.close(role, found)


def test_fast_forward_ends_with_the_keys(device, server, copies, publisher, tmp_path):
    """Versions far ahead, signed with stolen keys, block a device until the keys are replaced."""
    thief = Path(shutil.copytree(publisher, tmp_path / "thief"))
    forge(thief, 1000)
    server.folder = thief / "public"
    assert update(device, server.url).by == "patch"
    server.folder = publisher / "public"
    publish(publisher, copies, None)
    refused(device, server, "must be >= 1001")

    rotate(publisher, "timestamp", None)
    rotate(publisher, "snapshot", None)

    honest(device, server, copies[2])


@pytest.mark.parametrize("role", ["targets", "snapshot", "timestamp"])
def test_key_compromise(device, server, copies, publisher, tmp_path, role):
    """What a key signs that was replaced counts no more, for devices that have heard of it."""
    thief = Path(shutil.copytree(publisher, tmp_path / "thief"))
    rotate(publisher, role, None)
    update(device, server.url)
    for count in (3, 2, 3):
        publish(thief, copies[:count], None)
    shutil.copy(publisher / "public/metadata/2.root.json", thief / "public/metadata")
    server.folder = thief / "public"

    refused(device, server, f"{role} was signed by 0/1 keys")


def test_a_device_that_was_off_follows_all_new_keys(device, server, copies, publisher):
    """Each root is signed by the one before, so a device may have missed any number of them."""
    for role in ("root", "timestamp", "root", "targets", "snapshot", "root"):
        rotate(publisher, role, None)
    publish(publisher, copies, None)

    assert update(device, server.url).by == "patch"
    assert read_pool(device) == read_pool(copies[2])
