"""Calls of the user's classes and functions, whose errors become one line with file and line."""

from __future__ import annotations

import inspect
import traceback
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoal.errors import ModelError, ShoalError, nearest
from shoal.settings.targets import is_installed

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_PACKAGE = Path(__file__).resolve().parents[1]
_WRAPPER = _PACKAGE / "training" / "module.py"  # passes calls on to the user's module
_LONGEST = 300


@dataclass(frozen=True)
class Calling(AbstractContextManager[None]):
    """A block that calls code of the user's, whose exceptions become a ModelError of one line.

    Errors of Shoal's own, also where the user's code or Lightning calls it back, pass as they are.

    Attributes:
        called: The user's class or function.
        place: Begins the line, such as ``model my_net.Net``.
        what: Name of the call, where the traceback does not tell.
        hint: Ends the line.
    """

    called: Any
    place: str
    what: str
    hint: str = ""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Raise the line in place of the exception.

        Raises:
            ModelError: The user's code raised something.
        """
        if not isinstance(error, Exception) or isinstance(error, ShoalError):
            return
        frames = self._frames(trace)
        owners = [owner for owner, _, _ in frames if owner]
        if not frames or owners[-1:] == ["shoal"]:
            return
        text = " ".join(str(error).split()).rstrip(".")
        text = text if len(text) <= _LONGEST else f"{text[:_LONGEST].rstrip()} …"
        reason = f"{type(error).__name__}: {text}" if text else type(error).__name__
        users = [(code, line) for owner, code, line in frames if owner == "user"]
        what, place = self.what, ""
        if users:
            what = users[0][0].co_name
            place = f" at {_seen_from_here(Path(users[-1][0].co_filename))}:{users[-1][1]}"
        raise ModelError(f"{self.place}: {what} raises {reason}{place}{self.hint}") from error

    def _frames(self, trace: TracebackType | None) -> list[tuple[str, Any, int]]:
        """Owner, code and line of each frame after the block, from the first not of Shoal's."""
        file = _file_of(self.called)
        frames: list[tuple[str, Any, int]] = []
        for frame, line in list(traceback.walk_tb(trace))[1:]:
            owner = _owner(Path(frame.f_code.co_filename), file)
            if frames or owner != "shoal":
                frames.append((owner, frame.f_code, line))
        return frames


def check_arguments(called: Callable[..., Any], place: str, *values: Any, **named: Any) -> None:  # noqa: ANN401 - any
    """Refuse arguments that a class or function does not take, without calling it.

    Args:
        called: The class or function.
        place: Begins the line, such as ``model my_net.Net``.
        values: Positional arguments.
        named: Keyword arguments.

    Raises:
        ModelError: One is missing, unknown or given twice.
    """
    try:
        signature = inspect.signature(called)
    except (TypeError, ValueError):  # some built-in ones do not tell
        return
    try:
        signature.bind(*values, **named)
    except TypeError as error:
        known = signature.parameters
        unknown = [name for name in named if name not in known]
        open_ended = any(known[name].kind is inspect.Parameter.VAR_KEYWORD for name in known)
        if unknown and not open_ended:
            raise ModelError(
                f"{place}: has no argument {unknown[0]!r}; {nearest(unknown[0], known)}"
            ) from None
        raise ModelError(f"{place}: its arguments do not fit: {error}") from None


def _owner(path: Path, file: Path | None) -> str:
    """``user``, ``shoal``, or nothing for libraries and for what passes calls on."""
    if path == file:
        return "user"
    if path.is_relative_to(_PACKAGE):
        return "" if path == _WRAPPER else "shoal"
    return "user" if path.is_relative_to(Path.cwd()) and not is_installed(path) else ""


def _file_of(called: Any) -> Path | None:  # noqa: ANN401 - a class or function
    try:
        return Path(inspect.getfile(called))
    except (OSError, TypeError):
        return None


def _seen_from_here(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
