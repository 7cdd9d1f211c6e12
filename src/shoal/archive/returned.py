"""What devices send back, patches, recipes, whole pools: checked, kept as states of instances."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from shoal.archive.instances import Instances, Returned
from shoal.archive.pool_tensors import pool_tensors
from shoal.errors import CorruptError, ModelError, SettingsError, SourceError
from shoal.formats.json_file import read_json
from shoal.pool.sealed import Sealed
from shoal_edge.errors import PatchError
from shoal_edge.folder import read_pool
from shoal_edge.patch import MANIFEST, Patch, files_of, rebuilt, room, sha256

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from shoal.archive.instances import State

COPY = "copy"
"""Instance whose states are the published pools that others were made from."""
SUFFIX = ".patch"
_PUBLISHED = ("deploy/copy", "pool")
_LARGEST = 1 << 30  # bytes of a patch


def import_instance(
    root: Path,
    file: Path,
    instance: str,
    rows: Path | None = None,
    trust: Sequence[str] = (),
) -> State:
    """Keep what came back from an instance.

    Args:
        root: The experiment's results folder.
        file: A patch against a pool that is published here, or of which a state is kept; a recipe
            that begins with such a pool; or the folder of a pool.
        instance: Name of the instance.
        rows: The rows of a recipe, a CSV, Parquet or NPZ file.
        trust: Modules outside Shoal that the pool of a recipe may import its model from.

    Returns:
        The new state.

    Raises:
        SourceError: There is no such file, or no pool in the folder.
        CorruptError: It is damaged, or the store is; nothing is kept.
        ModelError: It is made from a pool that is nowhere here, or the name is none.
        SettingsError: A recipe comes without rows, or something else with them.
    """
    inbox = _Inbox(root)
    is_recipe = file.is_file() and _begin(file) == b"{"
    if is_recipe and rows is None:
        raise SettingsError(f"{file}: a recipe is trained again; give its rows by --rows")
    if rows is not None and not is_recipe:
        raise SettingsError(f"{file}: --rows belongs to a recipe, and this is none")
    found = (
        inbox.read(instance, file) if rows is None else inbox.recipe(instance, file, rows, trust)
    )
    return inbox.instances.save({instance: found})[-1]


def import_folder(root: Path, folder: Path) -> list[State]:
    """Keep what came back from many instances, all of it or nothing.

    Args:
        root: The experiment's results folder.
        folder: A file ``INSTANCE.patch`` of each.

    Returns:
        The new states, those of :data:`COPY` that they are made from among them.

    Raises:
        SourceError: There is no patch in the folder.
        CorruptError: See :func:`import_instance`.
        ModelError: The same.
    """
    files = {path.stem: path for path in sorted(folder.glob(f"[!.]*{SUFFIX}"))}
    if not files:
        raise SourceError(f"{folder}: no pool, and no file INSTANCE{SUFFIX}")
    inbox = _Inbox(root)
    return inbox.instances.save({name: inbox.read(name, file) for name, file in files.items()})


def _begin(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(1)


class _Inbox:
    """Reads what came back; keeps the files of one published pool at hand, on which most rests."""

    def __init__(self, root: Path) -> None:
        self.instances = Instances(root)
        self._root = root
        self._at_hand: tuple[State, dict[str, bytes]] | None = None

    def read(self, instance: str, file: Path) -> Returned:
        """What came back from an instance."""
        if file.is_dir():
            return self._snapshot(file, self._last(instance))
        try:
            size = file.stat().st_size
            content = file.read_bytes() if size <= _LARGEST else b""
        except OSError as error:
            raise SourceError(f"{file}: {(error.strerror or str(error)).lower()}") from None
        with _about(file):
            patch = Patch.parse(content, room(self._size(instance)))
            before, was = self._before(instance, patch.base)
            files = {**was, **dict(rebuilt(patch, was.__getitem__))}
            kept = {MANIFEST, *files_of(files[MANIFEST])}
            tensors = pool_tensors({name: files[name] for name in files if name in kept})
        return Returned(tensors, "patch", size, before.id, patch.target)

    def recipe(self, instance: str, file: Path, rows: Path, trust: Sequence[str]) -> Returned:
        """What a recipe leads to, trained again from rows that are here."""
        from shoal.deploy.adapt import LONGEST, Recipe, adapted_again

        said = read_json(file, Recipe, limit=LONGEST)
        with _about(file):
            before, was = self._before(instance, said.base)
            tensors = pool_tensors(adapted_again(was, said, rows, trust))
        size = file.stat().st_size
        return Returned(tensors, "recipe", size, before.id, said.target, said.rows.root)

    def _last(self, instance: str) -> str | None:
        own = [state.id for state in self.instances.states if state.instance == instance]
        return own[-1] if own else None

    def _snapshot(self, folder: Path, before: str | None) -> Returned:
        Sealed(folder)  # refuses what is no pool of Shoal's, with a line that says why
        with _about(folder):
            files = read_pool(folder)
            tensors = pool_tensors(files)
        size = sum(map(len, files.values()))
        return Returned(tensors, "snapshot", size, before, sha256(files[MANIFEST]))

    def _size(self, instance: str) -> int:
        """Bytes of the largest pool that it may run, which bounds what a patch unpacks to."""
        store = self.instances.store
        kept = [last for name in (instance, COPY) if (last := self._last(name)) is not None]
        sizes = [sum(kind.bytes for kind in store.layout(each).values()) for each in kept]
        for folder in self._published():
            sizes.append(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()))
        return max(sizes, default=0)

    def _published(self) -> Iterator[Path]:
        """Folders of the experiment in which a pool is."""
        for name in _PUBLISHED:
            if (self._root / name / MANIFEST).is_file():
                yield self._root / name

    def _before(self, instance: str, manifest: str) -> tuple[State, dict[str, bytes]]:
        """The state that a patch is for, and its files; a published pool becomes one."""
        if self._at_hand is not None and self._at_hand[0].manifest == manifest:
            return self._at_hand
        known = {state.manifest for state in self.instances.states}
        for folder in self._published() if manifest not in known else ():
            if sha256((folder / MANIFEST).read_bytes()) == manifest:
                self.instances.save({COPY: self._snapshot(folder, self._last(COPY))})
        state = self.instances.made(manifest, instance)
        found = state, self.instances.files(state)
        if state.instance == COPY:
            self._at_hand = found
        return found


@contextmanager
def _about(file: Path) -> Iterator[None]:
    """Errors as the commands say them, with the file that they are about."""
    try:
        yield
    except PatchError as error:
        text = str(error)
        raise CorruptError(text if text.startswith(str(file)) else f"{file}: {text}") from None
    except ModelError as error:
        raise ModelError(f"{file}: {error}", f"{file}: {error.at_terminal}") from None
