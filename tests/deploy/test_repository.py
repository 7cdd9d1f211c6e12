"""A repository of pools that is published for devices."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fsspec
import pytest
from tuf.api.metadata import Metadata
from tuf.ngclient import Updater

from shoal.deploy import repository as repositories
from shoal.deploy.distribute import publish, renew, rotate, start
from shoal.errors import CorruptError, SettingsError, ShoalError, SourceError
from shoal.formats.files import locked
from shoal.formats.json_file import write_json
from shoal_edge.folder import read_pool
from shoal_edge.patch import MANIFEST, make, sha256
from tests.pool.conftest import build_pool
from tests.shoal_edge.conftest import change


@pytest.fixture(scope="session")
def copies(tmp_path_factory):
    """Eleven pools that follow each other."""
    folder = tmp_path_factory.mktemp("copies")
    found = [build_pool(folder)]
    for count in range(1, 11):
        found.append(Path(shutil.copytree(found[-1], folder / str(count))))
        change(found[-1], "specialists/1.safetensors", 0.01)
    return found


@pytest.fixture
def folder(tmp_path):
    """A publisher's folder without pools."""
    start(tmp_path / "publisher", None)
    return tmp_path / "publisher"


def newest(folder, role):
    """The newest metadata of a role."""
    if role == "timestamp":
        return json.loads((folder / "public/metadata/timestamp.json").read_text())["signed"]
    paths = (folder / "public/metadata").glob(f"*.{role}.json")
    path = max(paths, key=lambda path: int(path.name.partition(".")[0]))
    return json.loads(path.read_text())["signed"]


def in_days(monkeypatch, days):
    """Have the publisher's clock be ahead."""

    class Later(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(days=days)

    monkeypatch.setattr(repositories, "datetime", Later)


def test_keys_are_the_publishers_alone(folder):
    """Private keys are readable by their owner, and none is among what is published."""
    keys = list((folder / "keys").iterdir())

    assert len(keys) == 4
    assert {path.stat().st_mode & 0o777 for path in keys} == {0o600}
    assert not any(b"PRIVATE" in p.read_bytes() for p in folder.rglob("public/*/*") if p.is_file())


def test_a_release_is_a_pool_and_patches_from_the_last_eight(folder, copies):
    """Of ten copies before the newest one, the last eight have a patch to it."""
    done = publish(folder, copies, None)

    manifests = [sha256(read_pool(copy)[MANIFEST]) for copy in copies]
    targets = newest(folder, "targets")["targets"]
    assert list(done.patches) == manifests[2:10]
    assert targets.keys() == {"pool", *(f"patches/{each}" for each in manifests[2:10])}
    assert {target["custom"]["to"] for target in targets.values()} == {manifests[10]}


@pytest.fixture
def channel(copies, tmp_path):
    """What a run publishes for devices: the newest copy, and a patch from the one before."""
    where = tmp_path / "deploy"
    shutil.copytree(copies[1], where / "copy")
    before, pool = read_pool(copies[0]), read_pool(copies[1])
    patch = make(before, pool)
    (where / "patches").mkdir()
    (where / "patches/a.patch").write_bytes(patch)
    said = {"file": "patches/a.patch", "sha256": sha256(patch), "bytes": len(patch)}
    content = {
        "copy": "1",
        "manifest": sha256(pool[MANIFEST]),
        "bytes": sum(map(len, pool.values())),
        "patches": {sha256(before[MANIFEST]): said},
    }
    write_json(where / "channel.json", content)
    return where


def test_a_channel_is_published_with_the_patches_that_are_made(folder, channel, copies):
    """What a run has laid out for devices is signed as it is."""
    done = publish(folder, [channel], None)

    assert done.manifest == sha256(read_pool(copies[1])[MANIFEST])
    assert list(done.patches) == [sha256(read_pool(copies[0])[MANIFEST])]
    path = next((folder / "public/targets/patches").iterdir())
    assert path.read_bytes() == (channel / "patches/a.patch").read_bytes()


def test_a_channel_whose_patch_is_another_is_refused(folder, channel):
    """A patch that is not what the channel says is not signed."""
    (channel / "patches/a.patch").write_bytes(b"")

    with pytest.raises(CorruptError, match=r"a\.patch: another than channel\.json says"):
        publish(folder, [channel], None)


def test_what_is_the_same_is_not_signed_anew(folder, copies):
    """Publishing a pool again renews the timestamp alone."""
    publish(folder, copies[:2], None)
    before = {role: newest(folder, role) for role in ("targets", "snapshot", "timestamp")}

    publish(folder, copies[:2], None)

    assert newest(folder, "targets") == before["targets"]
    assert newest(folder, "snapshot") == before["snapshot"]
    assert newest(folder, "timestamp")["version"] == before["timestamp"]["version"] + 1


def test_what_no_device_reads_any_more_is_removed(folder, copies):
    """The files of the last two releases stay, for devices that are fetching them."""
    for count in (1, 2, 3):
        publish(folder, copies[:count], None)

    names = {path.name.partition(".")[2] for path in (folder / "public/targets").rglob("*.pool")}
    assert names == {"pool"}
    assert len(list((folder / "public/targets").glob("*.pool"))) == 2
    assert len(list((folder / "public/metadata").glob("*.targets.json"))) == 2


def test_every_day_the_timestamp_is_renewed_and_the_rest_when_due(folder, monkeypatch):
    """What has less than half of its time left is signed anew."""
    versions = {role: newest(folder, role)["version"] for role in repositories.LASTS}
    in_days(monkeypatch, 50)

    assert renew(folder, None) == []

    after = {role: newest(folder, role)["version"] for role in repositories.LASTS}
    changed = {role for role in after if after[role] > versions[role]}
    assert changed == {"targets", "snapshot", "timestamp"}
    ends = datetime.fromisoformat(newest(folder, "timestamp")["expires"])
    assert ends - datetime.now(UTC) > timedelta(days=56)


def test_a_due_root_whose_key_is_elsewhere_is_told(folder, monkeypatch):
    """The machine that renews needs no root key; it says when one is needed."""
    next((folder / "keys").glob("root-*.pem")).unlink()
    in_days(monkeypatch, 200)

    assert renew(folder, None) == ["root"]


def test_without_a_key_nothing_is_signed(folder, copies):
    """A key that is not there is named, and what is served stays as it was."""
    publish(folder, copies[:1], None)
    next((folder / "keys").glob("targets-*.pem")).unlink()
    before = newest(folder, "timestamp")

    with pytest.raises(SettingsError, match=r"the key of targets is not there, targets-….pem"):
        publish(folder, copies[:2], None)
    assert newest(folder, "timestamp") == before


def test_a_new_root_key_is_vouched_for_by_the_old_one(folder, tmp_path):
    """The next root bears the signatures of the key before and of its own."""
    rotate(folder, "root", None)

    content = (folder / "public/metadata/2.root.json").read_bytes()
    assert len(Metadata.from_bytes(content).signatures) == 2
    assert len(list((folder / "keys").glob("root-*.pem"))) == 2


def test_an_unknown_role_is_named(folder):
    """A role that is misspelt is told with its neighbour."""
    with pytest.raises(SettingsError, match="no role 'target': did you mean 'targets'"):
        rotate(folder, "target", None)


def test_a_server_gets_what_it_lacks(folder, copies):
    """A second upload sends what is new, removes what is old, and leaves what is another's."""
    files = fsspec.filesystem("memory")
    files.pipe_file("/site/targets/readme.txt", b"mine")
    for count in (1, 2, 3):
        publish(folder, copies[:count], "memory://site")

    public = folder / "public"
    here = {p.relative_to(public).as_posix() for p in public.rglob("*") if p.is_file()}
    there = {name.removeprefix("/site/") for name in files.find("/site")}
    assert there == here | {"targets/readme.txt"}
    for name in here:
        assert files.cat_file(f"/site/{name}") == (public / name).read_bytes()


def test_an_upload_that_breaks_is_gone_on_with(folder, copies, monkeypatch):
    """The file by which devices learn of the others comes last, and the next command goes on."""
    files = fsspec.filesystem("memory")
    publish(folder, copies[:1], "memory://broken")
    before = files.cat_file("/broken/metadata/timestamp.json")
    put, calls = files.put_file, []

    def breaks(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 3:
            raise OSError("the line broke")
        put(*arguments, **options)

    with monkeypatch.context() as line:
        line.setattr(files, "put_file", breaks)
        with pytest.raises(SourceError, match=r"memory://broken: not published, .*the line broke"):
            publish(folder, copies[:2], "memory://broken")
    assert files.cat_file("/broken/metadata/timestamp.json") == before

    renew(folder, "memory://broken")

    public = folder / "public"
    here = {p.relative_to(public).as_posix() for p in public.rglob("*") if p.is_file()}
    assert {name.removeprefix("/broken/") for name in files.find("/broken")} == here


def test_nothing_is_read_from_the_server(folder, copies):
    """Who alters files on the server has nothing signed by it."""
    files = fsspec.filesystem("memory")
    publish(folder, copies[:1], "memory://altered")
    for name in files.find("/altered"):
        files.pipe_file(name, b"{}")

    publish(folder, copies[:2], "memory://altered")

    assert newest(folder, "targets")["targets"].keys() == {
        "pool",
        f"patches/{sha256(read_pool(copies[0])[MANIFEST])}",
    }


def test_a_folder_without_a_repository_is_named(tmp_path, copies):
    """Publishing needs keys first."""
    with pytest.raises(SourceError, match=r"holds no repository; `shoal channel init` makes one"):
        publish(tmp_path, copies[:1], None)


def test_a_repository_is_not_made_over_another(folder):
    """Keys that count are not replaced by mistake."""
    with pytest.raises(SourceError, match="not empty; a repository goes into a folder of its own"):
        start(folder, None)


def test_a_damaged_pool_is_not_published(folder, copies, tmp_path):
    """A file that is another than its manifest says is named."""
    spoilt = Path(shutil.copytree(copies[0], tmp_path / "spoilt"))
    (spoilt / "specialists/1.safetensors").write_bytes(b"spoilt")

    with pytest.raises(CorruptError, match=r"1\.safetensors: does not match its hash"):
        publish(folder, [spoilt], None)
    assert newest(folder, "targets")["targets"] == {}


def test_one_command_at_a_time(folder):
    """Two commands would give out a version twice."""
    with (
        locked(folder / "lock"),
        pytest.raises(ShoalError, match="another command is changing it"),
    ):
        renew(folder, None)


def test_devices_check_with_python_alone(folder, tmp_path, monkeypatch):
    """Signatures are of a kind that devices check without the package ``cryptography``."""
    from securesystemslib.signer import _key

    monkeypatch.setattr(_key, "CRYPTO_IMPORT_ERROR", "not there")
    root = (folder / "public/metadata/1.root.json").read_bytes()

    Updater(str(tmp_path), "http://localhost", bootstrap=root)
