"""Files that appear whole or not at all."""

import errno
from pathlib import Path

import pytest

from shoal.errors import ShoalError
from shoal.files import replacing


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
