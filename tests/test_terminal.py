"""How a command ends: one line that says why, and an exit code."""

import errno
import io
import os
import subprocess
import sys

import pytest

from shoal.errors import RecoveryError, SourceError
from shoal.terminal import command, leave

FULL = "no space left on device; free some space or raise the quota"


def end_by(error: BaseException) -> None:
    with command():
        raise error


@pytest.mark.parametrize("end", ["\n", "\r\n", "\u2028", "\x0b"])
def test_a_message_is_one_line_whatever_it_quotes(end: str):
    """Libraries put what they met into their messages."""
    error = SourceError(f"a.csv: unknown{end}variant", f"a.csv:{end}unknown")

    assert (str(error), error.at_terminal) == ("a.csv: unknown variant", "a.csv: unknown")


@pytest.mark.parametrize(
    ("error", "line", "code"),
    [
        (SourceError("a.csv: empty"), "a.csv: empty", 2),
        (SourceError("a\nb.csv: empty"), "a b.csv: empty", 2),
        (RecoveryError("other bits"), "other bits", 1),
        (FileNotFoundError(errno.ENOENT, "No such file", "a.csv"), "a.csv: no such file or", 2),
        (PermissionError(errno.EACCES, "no", b"a.csv"), "a.csv: permission denied", 2),
        (OSError(errno.EXDEV, "no", "a", None, "b"), "a -> b: invalid cross-device link", 2),
        (OSError(errno.ENOSPC, "No space left on device"), FULL, 2),
        (OSError("two\nlines"), "two lines", 2),
        (OSError(), "OSError", 2),
        (MemoryError(), "out of memory", 2),
        (MemoryError("Unable to allocate 9 TiB"), "out of memory: Unable to allocate 9 TiB", 2),
    ],
)
def test_what_a_user_or_the_system_refuses_is_one_line(
    error: Exception, line: str, code: int, capsys: pytest.CaptureFixture[str]
):
    """The file and the reason, without a traceback."""
    with pytest.raises(SystemExit, match=str(code)):
        end_by(error)

    (found,) = capsys.readouterr().err.splitlines()
    assert found.startswith(f"shoal: error: {line}")


def test_a_bug_is_a_traceback_and_a_last_line_that_says_so(capsys: pytest.CaptureFixture[str]):
    """An unforeseen exception can be reported, and is told from a user's mistake."""
    with pytest.raises(SystemExit, match="1"):
        end_by(TypeError("not\na number"))

    first, *_, last = capsys.readouterr().err.splitlines()
    assert first.startswith("Traceback")
    assert last == (
        "shoal: error: a bug in Shoal: TypeError: not a number; please report it with what is above"
    )


def test_an_interrupted_command_is_no_error(capsys: pytest.CaptureFixture[str]):
    """Exit code 130 is what shells have for it."""
    with pytest.raises(SystemExit, match="130"):
        end_by(KeyboardInterrupt())

    assert capsys.readouterr().err == "shoal: interrupted\n"


class Full(io.StringIO):
    """A stream on a full disk."""

    def write(self, _: str) -> int:
        """Take nothing."""
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_an_exit_code_without_room_for_the_reason(monkeypatch: pytest.MonkeyPatch):
    """A log on a full disk takes no line; the exit code stays."""
    monkeypatch.setattr(sys, "stderr", Full())

    with pytest.raises(SystemExit, match="2"):
        leave(["a.csv: empty"])


@pytest.mark.parametrize(
    ("output", "code", "line"),
    [("> /dev/full", 2, f"shoal: error: {FULL}\n"), ("| true; exit ${PIPESTATUS[0]}", 1, "")],
)
def test_output_that_nobody_takes_ends_a_command_quietly_or_in_a_line(
    output: str, code: int, line: str
):
    """A full disk is told; a reader that went away, such as ``head``, is not."""
    run = f"{sys.executable} -c 'from shoal.cli import main; main()' --help {output}"

    result = subprocess.run(["bash", "-c", run], capture_output=True, text=True, check=False)

    assert (result.returncode, result.stderr) == (code, line)
