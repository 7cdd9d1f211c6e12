"""What an artifact was made from: hashes of the files that its job read, kept inside it.

A command's inputs are hashed before it starts (:func:`recording`); whatever it then writes
carries them (:func:`made_from`). `shoal audit` compares them with the files that are there.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from shoal.formats.hashing import file_hash

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

KEY: Final = "made_from"
_current: ContextVar[dict[str, Any] | None] = ContextVar("made_from", default=None)


@contextmanager
def recording(inputs: Iterable[Path], code: str | None = None) -> Iterator[None]:
    """Let everything that the block writes say what it was made from.

    Args:
        inputs: Files whose content decides what is written.
        code: Digest of the code, where no path names it: a fit's.
    """
    record: dict[str, Any] = {"files": {str(path): file_hash(path) for path in inputs}}
    token = _current.set(record if code is None else record | {"code": code})
    try:
        yield
    finally:
        _current.reset(token)


def made_from() -> dict[str, Any]:
    """``made_from`` with paths and hashes of inputs; nothing outside a recording."""
    record = _current.get()
    return {} if record is None else {KEY: record}
