"""Messages on standard error."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, NoReturn

from shoal.errors import BUG, ERROR, ShoalError
from shoal.formats.files import explained

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def say(sentence: str) -> None:
    """A line for the person at the terminal, or for a job's log."""
    print(f"shoal: {sentence}", file=sys.stderr)  # noqa: T201 - the terminal's line


def leave(reasons: Iterable[str], code: int = 2) -> NoReturn:
    """Print a line for each reason, once, and exit with ``code``."""
    with contextlib.suppress(OSError):  # there may be no room for the log
        for reason in dict.fromkeys(reasons):
            line = " ".join(reason.split("\n"))
            print(f"{ERROR}{line}", file=sys.stderr)  # noqa: T201 - the terminal's line
        sys.stderr.flush()
    raise SystemExit(code)


@contextlib.contextmanager
def command() -> Iterator[None]:
    """A command's whole work: however it ends, the last line on standard error says why.

    A mistake of the user's, and what the system refuses, is one line and exit code 2. Anything
    else is a bug: its traceback, a line that says so, and exit code 1.
    """
    try:
        yield
    except KeyboardInterrupt:
        say("interrupted")
        raise SystemExit(130) from None
    except BrokenPipeError:
        _without_output()
        raise SystemExit(1) from None
    except Exception as error:
        reason, code = reason_of(error)
        leave([reason], code)


@contextlib.contextmanager
def leaving() -> Iterator[None]:
    """Within it a user's mistake ends the process; all else is for Snakemake, which asked."""
    try:
        yield
    except ShoalError as error:
        leave([error.at_terminal], error.code)


def reason_of(error: Exception) -> tuple[str, int]:
    """An error as a line, and the exit code; the traceback of a bug is printed."""
    if isinstance(error, ShoalError):
        return error.at_terminal, error.code
    if isinstance(error, OSError):
        return explained(error), 2
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return "out of memory" + (f": {text}" if text else ""), 2
    import traceback

    with contextlib.suppress(OSError):
        traceback.print_exception(error)
    return f"{BUG}: {type(error).__name__}: {text}; please report it with what is above", 1


def _without_output() -> None:
    """Have what is still to be written to standard output go nowhere: nobody reads it."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
