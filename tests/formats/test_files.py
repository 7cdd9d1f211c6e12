"""Files that appear whole or not at all."""

import errno
import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

from shoal.errors import ShoalError
from shoal.formats.files import is_held, replacing
from shoal.formats.json_file import update_json


def half_write(path: Path, error: Exception) -> None:
    with replacing(path) as aside:
        aside.write_text("half")
        raise error


def test_a_failed_writer_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    """Half-written content never takes a file's place."""
    path = tmp_path / "a.txt"
    path.write_text("old")

    with pytest.raises(RuntimeError, match="broken"):
        half_write(path, RuntimeError("broken"))

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_line_that_names_the_file(tmp_path: Path):
    """No space left is the user's to mend; nothing is left behind."""
    with pytest.raises(ShoalError, match=r"a\.txt: not written, no space left"):
        half_write(tmp_path / "a.txt", OSError(errno.ENOSPC, "No space left on device"))

    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Nothing is changed where two processes could change it at once."""

    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)

    with pytest.raises(ShoalError, match="the file system has no locks"):
        update_json(tmp_path / "tags.json", lambda content: content | {"a": 1})
    assert not (tmp_path / "tags.json").exists()


HOLD = """
import sys
from pathlib import Path
from shoal.formats.files import hold
hold(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_file_is_held_as_long_as_its_process_lives(tmp_path: Path):
    """A killed process holds nothing, and leaves nothing to be removed by hand."""
    path = tmp_path / ".running"
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        during = is_held(path)
        process.kill()

    assert (during, is_held(path)) == (True, False)
