"""Provenance of an artifact: hashes of the files that its job read, kept inside it.

A command's inputs are hashed before it starts (:func:`recording`); everything that it writes then
carries them (:func:`made_from`). `shoal audit` compares them with the files that are there.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from shoal.formats.documents.ledger import MadeFrom
from shoal.formats.hashing import file_hash

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

KEY: Final = "made_from"
_current: ContextVar[MadeFrom | None] = ContextVar("made_from", default=None)


@contextmanager
def recording(inputs: Iterable[Path], code: str | None = None) -> Iterator[None]:
    """Record the inputs of everything that the block writes.

    Args:
        inputs: Files whose content decides what is written.
        code: Digest of the code, where no path names it: a fit's.
    """
    record = MadeFrom(files={str(path): file_hash(path) for path in inputs})
    if code is not None:
        record["code"] = code
    token = _current.set(record)
    try:
        yield
    finally:
        _current.reset(token)


def made_from() -> dict[str, MadeFrom]:
    """``made_from`` with paths and hashes of inputs; empty outside a recording."""
    record = _current.get()
    return {} if record is None else {KEY: record}
