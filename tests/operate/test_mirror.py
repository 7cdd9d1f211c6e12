"""Bringing files from a URL: what is fetched, what goes, and what is never touched."""

from __future__ import annotations

import glob
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import fsspec
import pytest

from shoal.errors import ShoalError, SourceError
from shoal.operate.mirror import OWN, RECORD, Mirror, UnreachableError, mirroring

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MEMORY = fsspec.filesystem("memory")
NUMBERS = itertools.count()
SETTLE = 3
KILLED = """
import os, signal, sys
from pathlib import Path
from shoal.operate import mirror

url, folder, place = sys.argv[1:]
real = Path.replace

def replace(self, target):
    if place == "before" and self.suffix == ".part":
        os.kill(os.getpid(), signal.SIGKILL)
    real(self, target)
    if place == "after" and self.suffix == ".part":
        os.kill(os.getpid(), signal.SIGKILL)

Path.replace = replace
if place == "fetch":
    mirror.sync = lambda path: os.kill(os.getpid(), signal.SIGKILL)
with mirror.mirroring(url, Path(folder), 0) as own:
    list(own.look(["*.csv"]))
"""
"""Is killed when a file has been fetched, before it is put into place, or after that."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Times in seconds, of which the last one is now."""
    times = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: times[-1])
    return times


class Url:
    """A folder in memory, and the one that it is mirrored into."""

    def __init__(self, folder: Path, clock: list[float]) -> None:
        self.place = f"/mirror-{next(NUMBERS)}"
        self.url = f"memory:/{self.place}"
        self.folder = folder
        self.clock = clock
        self.files: list[Any] = ["*.csv"]

    def write(self, name: str, content: str = "x\n1\n") -> None:
        """Put a file there."""
        MEMORY.pipe_file(f"{self.place}/{name}", content.encode())

    def remove(self, name: str) -> None:
        """Remove a file there."""
        MEMORY.rm_file(f"{self.place}/{name}")

    def looks(self, seconds: float = 2 * SETTLE, each: Any = None) -> list[str]:
        """What one process says that looks every second."""
        with mirroring(self.url, self.folder, SETTLE) as mirror:
            return self.go_on(mirror, seconds, each)

    def go_on(self, mirror: Mirror, seconds: float = 2 * SETTLE, each: Any = None) -> list[str]:
        """What a process says that goes on to look."""
        said: list[str] = []
        for number in range(int(seconds)):
            if each is not None:
                each(number)
            said += mirror.look(self.files)
            self.clock.append(self.clock[-1] + 1)
        return said

    def here(self) -> dict[str, str]:
        """Content of the files that are not hidden, by name."""
        paths = [path for path in self.folder.rglob("*") if path.is_file()]
        names = {path.relative_to(self.folder).as_posix(): path for path in paths}
        return {name: path.read_text() for name, path in sorted(names.items()) if name[0] != "."}


@pytest.fixture
def there(tmp_path: Path, clock: list[float]) -> Url:
    """A URL with two files; nothing is here."""
    own = Url(tmp_path / "data", clock)
    own.write("a.csv", "x\n1\n")
    own.write("b.csv", "x\n2\n")
    return own


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what is fetched."""
    names: list[str] = []
    real = MEMORY.get_file

    def get_file(path: str, aside: str, **how: Any) -> None:
        names.append(path.rsplit("/", 1)[-1])
        real(path, aside, **how)

    monkeypatch.setattr(MEMORY, "get_file", get_file)
    return names


def test_files_come_change_and_go(there: Url, fetched: list[str]):
    """As they do at the URL, once they have settled; nothing is fetched twice."""
    with mirroring(there.url, there.folder, SETTLE) as mirror:
        assert there.go_on(mirror, SETTLE) == []
        assert there.here() == {}
        assert there.go_on(mirror) == [f"brings a.csv, b.csv from {there.url}"]
        assert there.here() == {"a.csv": "x\n1\n", "b.csv": "x\n2\n"}
        there.write("b.csv", "x\n3\n")
        there.write("c.csv")
        assert there.go_on(mirror) == [f"brings b.csv, c.csv from {there.url}"]
        there.remove("a.csv")
        assert there.go_on(mirror) == [f"removes a.csv, gone from {there.url}"]

    assert there.here() == {"b.csv": "x\n3\n", "c.csv": "x\n1\n"}
    assert fetched == ["a.csv", "b.csv", "b.csv", "c.csv"]


def test_another_process_goes_on(there: Url, fetched: list[str], monkeypatch: pytest.MonkeyPatch):
    """By its record: nothing that is here is fetched or read again, and what went goes."""
    there.write("c.csv")
    there.looks()
    there.remove("b.csv")
    monkeypatch.setattr("shoal.operate.mirror.file_hash", None)

    said = there.looks()

    assert said == [f"removes b.csv, gone from {there.url}"]
    assert list(there.here()) == ["a.csv", "c.csv"]
    assert fetched == ["a.csv", "b.csv", "c.csv"]


def test_an_upload_that_grows_is_not_fetched(there: Url, fetched: list[str]):
    """Before it has stayed as it is; the file of before stays here meanwhile."""
    there.looks()

    def grows(number: int) -> None:
        there.write("b.csv", "x\n" + "3\n" * number)
        assert there.here()["b.csv"] == "x\n2\n"

    with mirroring(there.url, there.folder, SETTLE) as mirror:
        there.go_on(mirror, 3 * SETTLE, grows)
        assert fetched == ["a.csv", "b.csv"]
        there.go_on(mirror)

    assert there.here()["b.csv"] == "x\n" + "3\n" * (3 * SETTLE - 1)


@pytest.mark.parametrize("late", ["x\n9\n9\n", "x\n9\n", None])
def test_a_file_that_changes_or_goes_while_it_is_fetched_is_not_used(
    there: Url, monkeypatch: pytest.MonkeyPatch, late: str | None
):
    """Neither a longer one, nor one of the same length, nor one that went; it settles again."""
    real = MEMORY.get_file
    changes = [lambda: there.write("b.csv", late) if late else there.remove("b.csv")]

    def get_file(path: str, aside: str, **how: Any) -> None:
        if path.endswith("b.csv") and changes:
            changes.pop()()
        real(path, aside, **how)

    monkeypatch.setattr(MEMORY, "get_file", get_file)
    with mirroring(there.url, there.folder, SETTLE) as mirror:
        there.go_on(mirror, SETTLE + 1)
        assert list(there.here()) == ["a.csv"]
        there.go_on(mirror)

    assert there.here().get("b.csv") == late


@pytest.mark.parametrize(
    "error", [OSError(5, "Input/output error"), RuntimeError("no credentials")]
)
def test_a_listing_that_fails_or_is_empty_removes_nothing(
    there: Url, monkeypatch: pytest.MonkeyPatch, error: Exception
):
    """Be it for as long as it likes; afterwards what is gone has to settle as before."""
    there.looks()
    before = there.here()

    def fails(*_: Any, **__: Any) -> None:
        raise error

    with mirroring(there.url, there.folder, SETTLE) as mirror:
        with monkeypatch.context() as patched:
            patched.setattr(MEMORY, "ls", fails)
            for _ in range(9):
                with pytest.raises(UnreachableError, match=r"nput/output|no credent"):
                    there.go_on(mirror, 1)
                there.clock.append(there.clock[-1] + SETTLE)
        for name in before:
            there.remove(name)
        for _ in range(9):
            with pytest.raises(UnreachableError, match="no file is there that"):
                there.go_on(mirror, 1)
            there.clock.append(there.clock[-1] + SETTLE)
        assert there.here() == before
        there.write("c.csv")
        assert there.go_on(mirror, SETTLE) == []

    assert there.here() == before


def test_a_fetch_that_fails_removes_nothing(there: Url, monkeypatch: pytest.MonkeyPatch):
    """A file that was renamed there has its rows here under either name."""
    there.looks()
    there.remove("a.csv")
    there.write("aa.csv")

    def fails(*_: Any) -> None:
        raise TimeoutError

    monkeypatch.setattr(MEMORY, "get_file", fails)
    with pytest.raises(UnreachableError, match=r"/aa\.csv: TimeoutError"):
        there.looks()

    assert list(there.here()) == ["a.csv", "b.csv"]


def at_start(there: Url) -> str:
    (there.folder / "b.csv").write_text("mine")
    return "b.csv: is here and did not come from memory://"


def since(there: Url) -> str:
    there.looks()
    (there.folder / "b.csv").write_text("mine")
    return "b.csv: was changed here after it came from memory://"


def gone_there(there: Url) -> str:
    told = since(there)
    there.remove("b.csv")
    return told


def as_a_link(there: Url) -> str:
    (there.folder / "mine").write_text("mine")
    (there.folder / "b.csv").symlink_to("mine")
    return "b.csv: is here and did not come from memory://"


@pytest.mark.parametrize("put", [at_start, since, gone_there, as_a_link])
def test_a_file_of_the_users_own_is_never_touched(there: Url, put: Callable[[Url], str]):
    """Neither overwritten nor removed; one line names it, and the exit code is 2."""
    there.folder.mkdir()

    told = put(there)
    with pytest.raises(SourceError, match=told) as refused:
        there.looks()

    assert refused.value.code == 2
    assert there.here()["b.csv"] == "mine"


def test_files_of_other_names_are_the_users(there: Url):
    """They stay, whatever happens at the URL."""
    there.folder.mkdir()
    (there.folder / "mine.csv").write_text("mine")
    there.looks()
    there.remove("a.csv")

    there.looks()

    assert list(there.here()) == ["b.csv", "mine.csv"]


def test_a_file_that_came_so_is_known_after_a_touch_or_a_copy(there: Url, fetched: list[str]):
    """By its content, which is read once; one that was removed here comes again."""
    there.looks()
    os.utime(there.folder / "a.csv", (0, 0))
    (there.folder / "b.csv").unlink()
    there.looks()
    there.remove("a.csv")

    there.looks()

    assert fetched == ["a.csv", "b.csv", "b.csv"]
    assert list(there.here()) == ["b.csv"]


@pytest.mark.parametrize("place", ["fetch", "before", "after"])
def test_a_kill_leaves_nothing_that_a_plan_would_take(tmp_path: Path, place: str):
    """Old or new, whole, and the next process goes on with it, be it removed there meanwhile."""
    source, folder = tmp_path / "there", tmp_path / "data"
    source.mkdir()
    for name in "ab":
        (source / f"{name}.csv").write_text("old")
    with mirroring(str(source), folder, 0) as mirror:
        list(mirror.look(["*.csv"]))
    for name in "ab":
        (source / f"{name}.csv").write_text("newer")

    command = [sys.executable, "-c", KILLED, str(source), str(folder), place]
    killed = subprocess.run(command, check=False)

    assert killed.returncode == -signal.SIGKILL
    found = [(folder / f"{name}.csv").read_text() for name in "ab"]
    assert found == (["newer", "old"] if place == "after" else ["old", "old"])
    assert sorted(path.name for path in folder.iterdir()) == [OWN, "a.csv", "b.csv"]
    (source / "a.csv").unlink()
    with mirroring(str(source), folder, 0) as mirror:
        list(mirror.look(["*.csv"]))
    assert {path.name: path.read_text() for path in folder.glob("*.csv")} == {"b.csv": "newer"}


@pytest.mark.parametrize(
    "name", ["../out.csv", "..", ".hidden.csv", "sub/../../out.csv", "/etc/out.csv", "o\nut.csv"]
)
@pytest.mark.parametrize("pattern", ["**/*.csv", "*"])
def test_a_hostile_name_is_not_taken(there: Url, tmp_path: Path, name: str, pattern: str):
    """Whatever a server says, nothing comes to lie outside the folder, or hidden in it."""
    there.files = [pattern]
    entries = [
        {"name": f"{there.place}/{each}", "size": 4, "type": "file", "created": 1}
        for each in (name, "a.csv")
    ]
    MEMORY.store[f"{there.place}/{name}"] = MEMORY.store[f"{there.place}/a.csv"]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(MEMORY, "ls", lambda path, detail: entries)
        there.looks()

    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert list(there.here()) == ["a.csv"]


def test_a_record_of_somebody_else_removes_nothing_outside(there: Url, tmp_path: Path):
    """A name in it that leads out of the folder is no file of the mirror's."""
    there.looks()
    (tmp_path / "out.csv").write_text("x\n1\n")
    path = there.folder / OWN / RECORD
    record = json.loads(path.read_text())
    record["files"]["../out.csv"] = record["files"]["a.csv"]
    path.write_text(json.dumps(record))

    there.files = ["**/*.csv"]
    there.looks()

    assert (tmp_path / "out.csv").exists()


def test_a_subfolder_that_is_a_link_is_not_followed(there: Url, tmp_path: Path):
    """Nothing is written where it leads to."""
    (tmp_path / "elsewhere").mkdir()
    there.folder.mkdir()
    (there.folder / "sub").symlink_to(tmp_path / "elsewhere")
    there.files = ["**/*.csv"]
    there.write("sub/c.csv")

    with pytest.raises(SourceError, match="sub: leads out of "):
        there.looks()

    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize(
    ("files", "taken"),
    [
        (["*.csv"], ["a.csv", "b.csv"]),
        (["b.csv", {"path": "c.npz", "arrays": []}], ["b.csv", "c.npz"]),
        (["20*/*.csv"], ["2020/d.csv"]),
        (["**/*.csv"], ["2020/d.csv", "2020/deep/e.csv", "a.csv", "b.csv"]),
        (["2020/**"], ["2020/d.csv", "2020/deep/e.csv"]),
        ("auto", ["F.CSV", "a.csv", "b.csv", "c.npz"]),
    ],
)
def test_what_sources_name_is_brought(there: Url, files: Any, taken: list[str]):
    """By the same names and globs; folders in which none can be are not listed."""
    for name in ("c.npz", "readme.md", "2020/d.csv", "2020/deep/e.csv", "other/x.npz", "F.CSV"):
        there.write(name)
    there.files = files

    there.looks()

    assert list(there.here()) == taken


@pytest.mark.parametrize(
    "pattern",
    [
        "*.csv",
        "**/*.csv",
        "d/**",
        "**",
        "*/a.csv",
        "**/e/*.csv",
        "d/**/a.csv",
        "d/[ab].csv",
        "?/?/*",
    ],
)
def test_names_are_what_a_plan_would_find(there: Url, pattern: str):
    """The same files of the same tree, as readers find them here."""
    tree = there.folder.with_name("tree")
    for name in ("a.csv", "b.csv", "d/a.csv", "d/b.csv", "d/e/a.csv", "d/e/f/c.csv", ".h/a.csv"):
        there.write(name)
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).touch()
    there.files = [pattern]

    there.looks()

    found = glob.glob(pattern, root_dir=tree, recursive=True)  # noqa: PTH207 - as readers do
    assert list(there.here()) == sorted(name for name in found if (tree / name).is_file())


def test_a_url_that_is_none_is_one_line(there: Url):
    """An unknown protocol, a package that is not there, a folder that is not: exit code 2."""
    for url, reason in (
        ("nosuch://bucket/data", "not a usable URL .Protocol not known: nosuch"),
        ("s3://bucket/data", "not a usable URL .Install s3fs"),
        ("memory://nothing/here", "no file is there that sources.files names"),
    ):
        there.url = url
        with pytest.raises(SourceError, match=f"^{url}: {reason}"):
            there.looks()


def test_files_of_one_url_are_not_taken_for_those_of_another(there: Url):
    """They would all seem to be gone; a slash at the end makes no other URL."""
    there.looks()
    there.url += "/"
    assert there.looks() == []

    there.url = "memory://other"
    with pytest.raises(SourceError, match="files in it came from memory://mirror-"):
        there.looks()

    assert list(there.here()) == ["a.csv", "b.csv"]


def test_two_do_not_bring_files_into_one_folder(there: Url):
    """Not even for two experiments."""
    with (
        mirroring(there.url, there.folder, SETTLE),
        pytest.raises(ShoalError, match="data: another `shoal follow --from` brings files into it"),
    ):
        there.looks()


def test_a_password_is_neither_kept_nor_said(there: Url):
    """It is part of some URLs."""
    there.url = "nosuch://me:secret@host/data"
    with pytest.raises(SourceError, match=r"^nosuch://host/data: ") as refused:
        there.looks()

    assert "secret" not in str(refused.value)
    there.url = f"memory://me:secret@host{there.place}"
    MEMORY.pipe_file(f"/me:secret@host{there.place}/a.csv", b"x")
    assert there.looks() == [f"brings a.csv from memory://host{there.place}"]
    assert "secret" not in json.loads((there.folder / OWN / RECORD).read_text())["url"]
