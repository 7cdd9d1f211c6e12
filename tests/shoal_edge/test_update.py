"""A pool that is brought up to date from a web server, and all that may go wrong with it."""

from __future__ import annotations

import datetime
import fcntl
import json
import os
import shutil
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from tuf.api.metadata import Metadata, MetaFile, Snapshot, Timestamp
from tuf.ngclient._internal import trusted_metadata_set

from shoal.deploy.distribute import publish, rotate, start
from shoal.deploy.repository import PoolRepository
from shoal.pool.pool import Pool
from shoal_edge import fetch
from shoal_edge.archive import pack
from shoal_edge.command import main
from shoal_edge.errors import PatchError
from shoal_edge.folder import read_pool
from shoal_edge.patch import MANIFEST, sha256
from shoal_edge.update import update
from tests.shoal_edge.conftest import change
from tests.shoal_edge.web_server import serving


@pytest.fixture(scope="session")
def copies(two_pools, tmp_path_factory):
    """Three pools that follow each other."""
    newest = Path(shutil.copytree(two_pools[1], tmp_path_factory.mktemp("third") / "pool"))
    change(newest, "specialists/0.safetensors", 0.02)
    return [*two_pools, newest]


@pytest.fixture(scope="session")
def releases(copies, tmp_path_factory):
    """The publisher's folder after each release."""
    folder = tmp_path_factory.mktemp("releases")
    repository, found = folder / "now", []
    start(repository, None)
    for count in (1, 2, 3):
        publish(repository, copies[:count], None)
        found.append(Path(shutil.copytree(repository, folder / str(count))))
    return found


@pytest.fixture
def publisher(releases, tmp_path):
    """The publisher's folder after the second release, to change."""
    return Path(shutil.copytree(releases[1], tmp_path / "publisher"))


@pytest.fixture
def server(publisher):
    """The server of that folder."""
    with serving(publisher / "public") as server:
        yield server


@pytest.fixture
def device(publisher, server, copies, releases, tmp_path):
    """The pool of a device that has the first release, and has seen no other."""
    pool = tmp_path / "device" / "pool"
    server.folder = releases[0] / "public"
    update(pool, server.url, publisher / "public/metadata/1.root.json")
    server.folder = publisher / "public"
    server.forget()
    assert read_pool(pool) == read_pool(copies[0])
    return pool


def shift_clock(monkeypatch, days):
    """Have the device's clock be wrong."""
    by = datetime.timedelta(days=days)

    class Shifted(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.datetime.now(tz) + by

    module = SimpleNamespace(datetime=Shifted, timezone=datetime.timezone)
    monkeypatch.setattr(trusted_metadata_set, "datetime", module)
    real = time.time
    monkeypatch.setattr(
        "shoal_edge.update.time", SimpleNamespace(time=lambda: real() + days * 86400)
    )


def left(pool):
    """Names of what lies beside a pool."""
    return {path.name for path in pool.parent.iterdir()} - {
        pool.name,
        ".pool.updates",
        ".pool.lock",
    }


def refused(pool, server, match):
    """Look for a newer pool, which ends in one line and changes nothing."""
    before = read_pool(pool)
    with pytest.raises(PatchError, match=match) as error:
        update(pool, server.url)
    assert "\n" not in str(error.value)
    assert read_pool(pool) == before
    assert ".pool.next" not in left(pool)


def honest(pool, server, content):
    """Look for a newer pool at the honest server, and find it."""
    server.honest()
    update(pool, server.url)
    assert read_pool(pool) == read_pool(content)


def test_a_new_device_gets_the_whole_pool(releases, server, copies, tmp_path):
    """Where there is no pool yet, the newest is put; it loads."""
    root = releases[0] / "public/metadata/1.root.json"

    done = update(tmp_path / "pool", server.url, root)

    assert done.by == "pool"
    assert read_pool(tmp_path / "pool") == read_pool(copies[1])
    assert Pool.load(tmp_path / "pool").digest == Pool.load(copies[1]).digest


def test_an_older_pool_is_patched(device, server, copies):
    """A device that is behind fetches a patch, and keeps the pool before."""
    done = update(device, server.url)

    assert done.by == "patch"
    assert read_pool(device) == read_pool(copies[1])
    assert read_pool(device.parent / ".pool.before") == read_pool(copies[0])
    assert not any(path.endswith(".pool") for _, path in server.asked)


def test_a_look_that_finds_nothing_costs_less_than_500_bytes(device, server):
    """One short file comes, and that there is no newer root is said without a body."""
    update(device, server.url)
    server.forget()

    done = update(device, server.url)

    assert done.by == "nothing"
    assert [method for method, _ in server.asked] == ["HEAD", "GET"]
    assert 0 < server.bodies <= 500
    assert server.wire <= 1500


def test_without_a_patch_the_whole_pool_comes(device, server, copies):
    """A device of which the publisher knows nothing is brought up to date all the same."""
    change(device, "specialists/1.safetensors", 0.5)

    assert update(device, server.url).by == "pool"
    assert read_pool(device) == read_pool(copies[1])


def test_a_patch_that_is_not_served_means_the_whole_pool(device, server, copies):
    """A file that the server has lost does not stop the device."""
    server.spoil = lambda path, content: None if "patches" in path else content

    assert update(device, server.url).by == "pool"
    assert read_pool(device) == read_pool(copies[1])


def test_a_damaged_pool_is_replaced(device, server, copies):
    """A patch does not fit a pool with a damaged file: the whole pool comes."""
    path = device / "specialists/1.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")

    assert update(device, server.url).by == "pool"
    assert read_pool(device) == read_pool(copies[1])


def test_the_command_says_what_it_did(device, server, monkeypatch, capsys):
    """The command ends with 0 and says what came, or with 2 and one line."""
    arguments = ["shoal-edge", "update", str(device), "--from", server.url]
    monkeypatch.setattr(sys, "argv", arguments)

    main()
    assert "new by a patch of" in capsys.readouterr().out
    main()
    assert "nothing newer" in capsys.readouterr().out
    server.spoil = lambda path, content: None
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    line = capsys.readouterr().err
    assert line.startswith(f"shoal-edge: error: {server.url}: the server answers 404")
    assert line.count("\n") == 1


# The attacks that TUF names: https://theupdateframework.github.io/specification/latest/#goals-for-specific-attacks-to-protect-against


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


# What happens without anybody's will


def test_a_clock_that_is_ahead(device, server, copies, monkeypatch):
    """By a clock that is ahead all has expired; set right, the device goes on."""
    with monkeypatch.context() as wrong:
        shift_clock(wrong, 4000)
        refused(device, server, "or this device's clock is wrong")

    honest(device, server, copies[1])


def test_a_clock_that_is_behind(device, server, copies, monkeypatch):
    """By a clock that is behind nothing would expire; a device whose clock went back says so."""
    with monkeypatch.context() as wrong:
        shift_clock(wrong, -20000)
        refused(device, server, "clock is wrong: it says 197.*, its last update was on")

    honest(device, server, copies[1])


@pytest.mark.parametrize("name", ["timestamp.json", "snapshot.json", "targets.json", "/targets/"])
def test_a_line_that_breaks(device, server, copies, name):
    """Half a file is none."""

    def spoil(path, content):
        server.cut = 100 if name in path else None
        return content

    server.spoil = spoil
    refused(device, server, "incomplete|broken|IncompleteRead|Connection")
    honest(device, server, copies[1])


def test_a_download_goes_on_where_the_line_broke(device, server, copies):
    """What has come stays; over a line that breaks each 1,000 bytes a pool comes nevertheless."""
    shutil.rmtree(device)
    server.ranges, server.cut = True, 1000
    size = len(pack(read_pool(copies[1])))

    for _ in range(size // 1000):
        with pytest.raises(PatchError, match=server.url):
            update(device, server.url)
    server.forget()
    update(device, server.url)

    assert read_pool(device) == read_pool(copies[1])
    bodies = server.bodies - len((server.folder / "metadata/timestamp.json").read_bytes())
    assert bodies == size % 1000


def test_a_part_that_is_altered_is_not_kept(device, server, copies):
    """A part from a bad server does not spoil what an honest one sends later."""
    shutil.rmtree(device)
    server.ranges = True

    def spoil(path, content):
        server.cut = 100 if path.endswith(".pool") else None
        return bytes(len(content)) if content and path.endswith(".pool") else content

    server.spoil = spoil
    with pytest.raises(PatchError, match=server.url):
        update(device, server.url)
    server.honest()
    server.ranges = True
    with pytest.raises(PatchError, match="hash"):
        update(device, server.url)

    update(device, server.url)

    assert read_pool(device) == read_pool(copies[1])


@pytest.mark.parametrize("whole", [False, True])
def test_a_full_disk(device, server, copies, monkeypatch, whole):
    """Where there is no room the line says so, and nothing is left behind."""
    if whole:
        change(device, "specialists/1.safetensors", 0.5)

    def full(*_):
        raise OSError(28, os.strerror(28), "there")

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        refused(device, server, "no space left on device; the pool is as it was")

    honest(device, server, copies[1])


def test_one_update_at_a_time(device, server):
    """Two at once would take each other's files."""
    with (device.parent / ".pool.updates/lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        refused(device, server, "another update is going on")


def test_whom_to_trust_is_not_learnt_from_the_server(server, tmp_path):
    """Without a root that came by another way nothing is believed."""
    with pytest.raises(PatchError, match=r"no signature counts; give .* with --root"):
        update(tmp_path / "pool", server.url)
    assert not (tmp_path / "pool").exists()


def test_a_folder_that_is_no_pool_is_left_alone(server, publisher, tmp_path):
    """A folder of something else is not replaced by a pool."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home/letter").write_text("dear")

    with pytest.raises(PatchError, match=r"home: not a pool, it has no manifest\.json"):
        update(tmp_path / "home", server.url, publisher / "public/metadata/1.root.json")
    assert (tmp_path / "home/letter").read_text() == "dear"


def test_a_repository_without_pools(server, tmp_path):
    """Before the first release there is nothing to fetch, and the line says so."""
    root = start(tmp_path / "new", None)
    server.folder = tmp_path / "new/public"

    with pytest.raises(PatchError, match="no pool is published there yet"):
        update(tmp_path / "pool", server.url, root)


def test_a_publishers_wrong_pool_is_not_installed(server, publisher, copies, tmp_path):
    """An archive that holds another pool than is announced is refused, though it is signed."""
    repository = PoolRepository(publisher)
    said = sha256(read_pool(copies[1])[MANIFEST])
    repository.put({"pool": (pack(read_pool(copies[0])), {"to": said})})
    repository.renew()

    with pytest.raises(PatchError, match=r"its manifest\.json is another than the one"):
        update(tmp_path / "pool", server.url, publisher / "public/metadata/1.root.json")
    assert not (tmp_path / "pool").exists()


def test_metadata_that_was_damaged_on_the_device_is_fetched_again(device, server, copies):
    """A device whose files were cut by a loss of power goes on from the root that it was given."""
    for path in (device.parent / ".pool.updates/metadata").rglob("*.json"):
        if not path.is_symlink():
            path.write_bytes(b"")

    honest(device, server, copies[1])


def test_the_timestamp_is_one_line_of_one_signature(releases):
    """The file that each look fetches is short: no spaces, one signature, no hashes."""
    content = (releases[2] / "public/metadata/timestamp.json").read_bytes()

    assert len(content) <= 400
    assert len(json.loads(content)["signatures"]) == 1
