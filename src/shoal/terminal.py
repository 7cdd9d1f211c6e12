"""What the person at the terminal is told."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

from shoal.errors import ERROR

if TYPE_CHECKING:
    from collections.abc import Iterable


def say(sentence: str) -> None:
    """A line for the person at the terminal, or for a job's log."""
    print(f"shoal: {sentence}", file=sys.stderr)  # noqa: T201 - the terminal's line


def leave(reasons: Iterable[str], code: int = 2) -> NoReturn:
    """Print a line for each reason, once, and exit with ``code``."""
    for reason in dict.fromkeys(reasons):
        print(f"{ERROR}{reason}", file=sys.stderr)  # noqa: T201 - the terminal's line
    raise SystemExit(code)
