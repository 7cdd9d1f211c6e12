"""Errors the user can fix: one line, exit code 2, no partial output."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


ERROR = "shoal: error: "
"""Begins the line on which a command says why it failed."""

BUG = "a bug in Shoal"
"""Begins such a reason where nobody but Shoal's authors can mend it."""


class ShoalError(Exception):
    """A mistake that is the user's to fix.

    The message is one line that names the file, row, column and value where there is one,
    and the likely cause. The command line prints it without a traceback and exits with ``code``.

    Args:
        message: The line.
        at_terminal: The same where the remedy is an option of a command, not an argument in Python.
    """

    code = 2

    def __init__(self, message: str, at_terminal: str | None = None) -> None:
        super().__init__(_one_line(message))
        self.at_terminal = _one_line(at_terminal or message)


def _one_line(message: str) -> str:
    """A message that may quote a library's, which may have several lines."""
    return " ".join(message.splitlines())


class SettingsError(ShoalError):
    """A setting is unknown, missing or out of range."""


class SourceError(ShoalError):
    """A source file, or a value in it, cannot be used."""


class DataError(ShoalError):
    """The rows, taken together, cannot be used: an empty fold, a constant label, and so on."""


class ModelError(ShoalError):
    """The user's model does not import, does not fit the data, or does not train."""


class DivergedError(ModelError):
    """A training's loss is not finite any more."""


class RecoveryError(ModelError):
    """A model that was trained again has other bits than the one that was kept."""

    code = 1


class CorruptError(ShoalError):
    """A stored file is not what its own record says it is."""


def nearest(name: str, known: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` for the known name closest to ``name``, or the known names."""
    import difflib

    names = sorted(known)
    matches = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {matches[0]!r}?" if matches else f"known: {', '.join(names)}"
