"""Every model of a store encoded anew, against other references than it was."""

from __future__ import annotations

import io
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from shoal.errors import CorruptError
from shoal.model_store.index_format import ROOT
from shoal.model_store.order import in_order
from shoal.model_store.store import PoolStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from shoal.model_store.backends import Backend


def rewrite(store: PoolStore, bases: Mapping[str, str], *, even_if_larger: bool = False) -> int:
    """Encode every model of a store anew, if that saves bytes.

    Another state of the store is written beside the present one and read back; then the root is
    replaced, in one step. Before, the store is as it was.

    Args:
        store: The models.
        bases: For some of them another, that they are kept as a difference from.
        even_if_larger: Whether to do so where it costs bytes.

    Returns:
        Bytes saved.

    Raises:
        ModelError: Models refer to each other.
        CorruptError: Something does not read, before or afterwards.
    """
    before = store.bytes
    store.collect_garbage()
    with store.backend.lock():
        present, aside = store.bytes, _Aside(store.backend)
        new = PoolStore(aside)
        sizes = {m: sum(kind.bytes for kind in store.layout(m).values()) for m in store.ids()}
        known = {model: base for model, base in bases.items() if model in sizes and base in sizes}
        for part in in_order(sizes, {model: [base] for model, base in known.items()}):
            records = {model: store.record(model) for model in part}
            own = {model: known[model] for model in part if model in known}
            new.save(store.load_many(part, "torch"), None, own, records)
        new.collect_garbage()
        if damages := new.fsck():
            raise CorruptError(f"{damages[0]}; the store was left as it is")
        if even_if_larger or new.bytes < present:
            with store.backend.write(ROOT) as file:
                file.write(aside.root)
    store.collect_garbage()
    return before - store.bytes


class _Aside:
    """A backend of which the root counts for nobody else yet; no file of the store goes."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._before = set(backend.sizes())
        self._written: dict[str, None] = {}
        self.place = backend.place
        self.root = b""

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """See :class:`Backend`."""
        if name != ROOT:
            return self._backend.read(name, start, stop)
        if not self.root:
            raise FileNotFoundError(name)
        return self.root[start:stop]

    @contextmanager
    def write(self, name: str) -> Iterator[BinaryIO]:
        """See :class:`Backend`."""
        if name == ROOT:
            file = io.BytesIO()
            yield file
            self.root = file.getvalue()
            return
        with self._backend.write(name) as real:
            yield real
        self._written[name] = None

    def sizes(self) -> dict[str, int]:
        """See :class:`Backend`."""
        real = self._backend.sizes()
        return {n: real[n] for n in self._written} | ({ROOT: len(self.root)} if self.root else {})

    def delete(self, name: str) -> None:
        """See :class:`Backend`. A file that both states have, with one content, stays."""
        self._written.pop(name, None)
        if name not in self._before:
            self._backend.delete(name)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """See :class:`Backend`; its own lock is held."""
        yield
