"""The model store: many models, exact and small, in few files."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

from shoal.errors import CorruptError, ModelError, nearest
from shoal.model_store.backends import backend_of
from shoal.model_store.index import MissingFileError, StoreIndex, read_root
from shoal.model_store.index_format import Contents, write_index
from shoal.model_store.reading import Reader, assembled
from shoal.model_store.saving import Writer, given_models, in_order, references_of
from shoal.model_store.tensors import merkle

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping

    from shoal.model_store.backends import Backend
    from shoal.model_store.index_format import ModelEntry
    from shoal.model_store.saving import Given
    from shoal.model_store.tensors import JsonObject, Kind, Tensors, Tree

Framework = Literal["numpy", "torch"]
Result = TypeVar("Result")

_MOST_PACKS = 32


class ModelStore:
    """Models by id, each a mapping from names to tensors, in a folder or at a URL.

    Equal tensors are stored once; others as what differs from another model's.
    Every tensor is checked against its content address when it is read. Any number of processes
    may read while one writes; writers wait for each other.
    """

    def __init__(self, where: str | os.PathLike[str] | Backend) -> None:
        """Open a store; it comes to exist with the first save.

        Args:
            where: A folder, a URL that fsspec knows, or a backend.
        """
        self._backend = backend_of(where)
        self._index: StoreIndex | None = None

    @property
    def backend(self) -> Backend:
        """The store's files."""
        return self._backend

    @property
    def place(self) -> str:
        """Where the store is."""
        return self._backend.place

    def save(
        self,
        models: Mapping[str, Mapping[str, object]],
        base: str | None = None,
        parents: Mapping[str, str] | None = None,
        records: Mapping[str, JsonObject] | None = None,
        *,
        replace: bool = False,
    ) -> None:
        """Store models, all or none; those that are there already stay as they are.

        Args:
            models: Id of each to its tensors, of torch or numpy, by name.
            base: A model, here or in the store, that all are likely to resemble.
            parents: For some of them, another that it was made from.
            records: For some of them, a JSON object to keep with it.
            replace: Whether those that are there already give way, in the same step.

        Raises:
            ModelError: An id is in the store with other tensors and stays, a base or parent is
                nowhere, or a tensor cannot be stored.
            CorruptError: The store is damaged.
        """
        with self._backend.lock():
            index = self._current()
            contents = Contents() if index is None else index.contents()
            if index is None:
                # From now on a missing root is a damage, and no sign of an empty store.
                write_index(self._backend, contents)
                index = self._current()
            if replace:
                contents.entries = {m: e for m, e in contents.entries.items() if m not in models}
            new = {m: g for m, g in given_models(models).items() if not self._same(contents, m, g)}
            if not new:
                return
            reader = Reader(self._backend, index) if index is not None else None
            writer = Writer(self._backend, contents, reader)
            references = references_of(new, base, parents or {}, contents.entries)
            sizes = {m: sum(kind.bytes for _, kind in g.layout) for m, g in new.items()}
            for part in in_order(sizes, references):
                writer.add({model: new[model] for model in part}, references, records or {})
            write_index(self._backend, contents)
            self._forget(index)
        if len(contents.packs) > _MOST_PACKS:
            self.collect_garbage()

    def _same(self, contents: Contents, model: str, given: Given) -> bool:
        """Whether a model is there already."""
        entry = contents.entries.get(model)
        if entry is None:
            return False
        addresses = [contents.tensors["address"][number].tobytes() for number in entry.rows]
        if contents.layouts[entry.layout] != given.layout or addresses != given.addresses:
            raise ModelError(
                f"{self.place}: model {model!r} is in the store with other tensors; "
                "remove it first, or choose another id"
            )
        return True

    def load(self, model: str, framework: Framework = "numpy") -> Tensors:
        """A model's tensors by name, as numpy arrays or torch tensors on the CPU.

        Raises:
            ModelError: There is no such model, or numpy lacks the type of a tensor.
            CorruptError: What is stored is damaged; the message names file and tensor.
        """
        return self.load_many([model], framework)[model]

    def load_many(
        self, models: Iterable[str], framework: Framework = "numpy"
    ) -> dict[str, Tensors]:
        """Several models as :meth:`load` gives them; much faster than one by one."""
        wanted = list(dict.fromkeys(models))

        def read(index: StoreIndex) -> dict[str, Tensors]:
            entries = [self._entry(index, model) for model in wanted]
            reader = Reader(self._backend, index)
            reader.read(number for entry in entries for number in entry.rows)
            return assembled(index, entries, reader, framework)

        return self._reading(read)

    def ids(self) -> list[str]:
        """Every model's id, sorted."""
        return self._reading(lambda index: sorted(index.all_entries()))

    def __len__(self) -> int:
        return self._reading(lambda index: index.count)

    @property
    def version(self) -> tuple[str, int]:
        """Hash of the present content, and how many models are in it."""
        return self._reading(lambda index: (hashlib.sha256(index.root).hexdigest(), index.count))

    def __contains__(self, model: str) -> bool:
        return self._reading(lambda index: index.find(model) is not None)

    def tree(self, model: str) -> Tree:
        """The Merkle tree of a model, read from the index alone."""

        def read(index: StoreIndex) -> Tree:
            entry = self._entry(index, model)
            rows = index.tensor_rows(np.array(entry.rows, np.int64))
            names = [name for name, _ in index.layouts[entry.layout]]
            pairs = zip(names, rows["address"], strict=True)
            return merkle({name: address.tobytes() for name, address in pairs})

        return self._reading(read)

    def layout(self, model: str) -> dict[str, Kind]:
        """Type and shape of each of a model's tensors, by name."""
        return self._reading(lambda index: dict(index.layouts[self._entry(index, model).layout]))

    def record(self, model: str) -> JsonObject:
        """The JSON object that was kept with a model."""
        return self._reading(lambda index: dict(self._entry(index, model).record))

    def records(self) -> dict[str, JsonObject]:
        """The JSON object that was kept with each model, by id."""
        return self._reading(
            lambda index: {m: dict(entry.record) for m, entry in index.all_entries().items()}
        )

    def remove(self, models: Iterable[str]) -> None:
        """Take models out; their space is freed by :meth:`collect_garbage`.

        Raises:
            ModelError: One is not in the store, and then none is taken out.
        """
        gone = set(models)
        self.remove_chosen(lambda _: gone)

    def remove_chosen(self, choose: Callable[[dict[str, JsonObject]], set[str]]) -> None:
        """Take out the models that are chosen by the records of all, while nobody else writes.

        Raises:
            ModelError: One is not in the store, and then none is taken out.
        """
        with self._backend.lock():
            index = self._current()
            contents = Contents() if index is None else index.contents()
            gone = choose({model: entry.record for model, entry in contents.entries.items()})
            for model in gone:
                if model not in contents.entries:
                    raise self._unknown(model, contents.entries)
                del contents.entries[model]
            if gone:
                write_index(self._backend, contents)
                self._forget(index)

    def collect_garbage(self) -> int:
        """Drop tensors that no model needs, join small packs, remove files of killed writers.

        Returns:
            Bytes freed. Frames are copied as they are, and read back before the old go.

        Raises:
            CorruptError: Something that is needed is damaged; nothing is dropped then.
        """
        from shoal.model_store.care import collect

        with self._backend.lock():
            index = self._current()
            return 0 if index is None else collect(self._backend, index)

    @property
    def bytes(self) -> int:
        """Bytes of all files."""
        return sum(self._backend.sizes().values())

    def fsck(self) -> list[str]:
        """Read and check everything; a line per damage, none for a sound store."""
        from shoal.model_store.care import problems

        return problems(self._backend)

    def _current(self) -> StoreIndex | None:
        """The store's present state; ``None`` before the first save."""
        root = read_root(self._backend)
        if root is None:
            self._index = None
        elif self._index is None or self._index.root != root:
            self._index = StoreIndex(self._backend, root)
        return self._index

    def _forget(self, index: StoreIndex | None) -> None:
        """Remove the index file of the state before, which nothing names any more."""
        current = self._current()
        if index is not None and current is not None and index.file != current.file:
            self._backend.delete(index.file)

    def _reading(self, read: Callable[[StoreIndex], Result]) -> Result:
        """Read the present state; once more if a writer replaced it meanwhile."""
        for last in (False, True):
            try:
                index = self._current()
                return read(StoreIndex.empty(self._backend) if index is None else index)
            except MissingFileError as error:
                if last or (
                    self._index is not None and read_root(self._backend) == self._index.root
                ):
                    raise CorruptError(f"{self.place}/{error}: missing") from None
        raise AssertionError("unreachable")

    def _entry(self, index: StoreIndex, model: str) -> ModelEntry:
        entry = index.find(model)
        if entry is None:
            raise self._unknown(model, index.all_entries())
        return entry

    def _unknown(self, model: str, known: Iterable[str]) -> ModelError:
        ids = list(known)
        hint = f" ({nearest(model, ids)})" if 0 < len(ids) <= 1000 else f" among its {len(ids)}"
        return ModelError(f"{self.place}: no model {model!r} in the store{hint}")
