"""A pool that is brought up to date from a web server."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sys

import pytest

from shoal.deploy.distribute import start
from shoal.deploy.repository import PoolRepository
from shoal.pool.pool import Pool
from shoal_edge.archive import pack
from shoal_edge.command import main
from shoal_edge.errors import PatchError
from shoal_edge.folder import read_pool
from shoal_edge.patch import MANIFEST, sha256
from shoal_edge.update import update
from tests.shoal_edge.conftest import change
from tests.shoal_edge.update.helpers import honest, refused, shift_clock


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
    assert "new, by a patch of" in capsys.readouterr().out
    main()
    assert "nothing newer" in capsys.readouterr().out
    server.spoil = lambda path, content: None
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    line = capsys.readouterr().err
    assert line.startswith(f"shoal-edge: error: {server.url}: the server answers 404")
    assert line.count("\n") == 1


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
    assert any(path.endswith(".pool") for _, path in server.asked) == whole

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
