"""Instances, deployed pools that were adapted where they run: every state that came back."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from shoal.archive.pool_tensors import pool_files
from shoal.errors import CorruptError, ModelError, SourceError, nearest
from shoal.formats.files import replacing, write_files
from shoal.model_store import ModelStore
from shoal_edge.errors import PatchError
from shoal_edge.patch import MANIFEST, files_of, sha256

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

Way = Literal["patch", "snapshot", "tensors", "recipe"]

FOLDER = "instances"
"""Folder of the instances' model store, in an experiment's results."""
TABLE = "instances.parquet"
"""The registry, beside the store's own files: a row for each state."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")
_MADE_FROM = b"shoal_store"
_COLUMNS = {
    **dict.fromkeys(("id", "instance"), "string"),
    "number": "int64",
    **dict.fromkeys(("time", "way", "before", "manifest"), "string"),
    "received": "int64",
    "rows": "string",
}


@dataclass(frozen=True)
class State:
    """A state of an instance, as the registry lists it.

    Attributes:
        id: ``INSTANCE@NUMBER``, its name in the store.
        instance: The instance.
        number: Which of its states, from 1.
        time: When it was taken in, UTC, ISO 8601.
        way: How it came back.
        before: Id of the state that it was made from, of this instance or another.
        manifest: SHA-256 of the pool's manifest, which lists those of its files.
        received: Bytes of what came back.
        rows: Merkle root of the rows that it was trained on, where it came back as a recipe.
    """

    id: str
    instance: str
    number: int
    time: str
    way: Way
    before: str | None
    manifest: str | None
    received: int
    rows: str | None = None


@dataclass(frozen=True)
class Returned:
    """What came back from a device, read and checked, not yet kept.

    Attributes:
        tensors: All tensors of the state, by name.
        way: How it came back.
        received: Bytes of what came back.
        before: Id of the state that it was made from; None where there is none.
        manifest: SHA-256 of the pool's manifest.
        rows: Merkle root of the rows that it was trained on, of a recipe.
    """

    tensors: Mapping[str, NDArray[Any]]
    way: Way
    received: int
    before: str | None = None
    manifest: str | None = None
    rows: str | None = None


class Instances:
    """The instances of an experiment's pool.

    Each state is a model of a model store: equal tensors are there once, others as what differs
    from the state before, and at most eight states are read to recover one.
    """

    def __init__(self, root: Path) -> None:
        """Look at them; there need be none.

        Args:
            root: The experiment's results folder.
        """
        self.folder = root / FOLDER
        self.store = ModelStore(self.folder)

    @cached_property
    def states(self) -> list[State]:
        """Every state, by instance and number.

        Raises:
            CorruptError: The store is damaged.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        version, _ = self.store.version
        try:
            table = pq.read_table(self.folder / TABLE)
            if _version(table.schema) == version:
                return [State(**row) for row in table.to_pylist()]
        except (OSError, pa.ArrowException, TypeError):
            pass  # the store has all of it
        records = self.store.records()
        return sorted((State(id=name, **record) for name, record in records.items()), key=_order)

    def table(self) -> Path | None:
        """The registry as a Parquet file; written anew where it is not that of the store.

        Returns:
            Its path; None where there are no instances.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        version, count = self.store.version
        path = self.folder / TABLE
        try:
            if _version(pq.read_schema(path)) == version:
                return path
        except (OSError, pa.ArrowException):
            pass
        if len(self.states) != count:
            del self.states  # somebody else has kept some, and none ever goes
        if len(self.states) == count > 0:
            schema = pa.schema(list(_COLUMNS.items()), metadata={_MADE_FROM: version})
            rows = [vars(state) for state in self.states]
            with replacing(path) as aside:
                pq.write_table(pa.Table.from_pylist(rows, schema), aside, compression="zstd")
        return path if path.exists() else None

    def find(self, name: str) -> State:
        """A state by name.

        Args:
            name: ``INSTANCE`` for the last one, ``INSTANCE@NUMBER``, or ``INSTANCE@TIME`` for the
                last one at that time, UTC.

        Raises:
            ModelError: There is none.
        """
        instance, _, which = name.partition("@")
        own = [state for state in self.states if state.instance == instance]
        if not own:
            known = sorted({state.instance for state in self.states})
            raise ModelError(
                f"{self.folder}: instance {instance!r} is unknown; "
                f"{nearest(instance, known) if known else 'there are none'}"
            )
        if which.isdecimal():
            found = [state for state in own if state.number == int(which)]
        else:
            found = [state for state in own if not which or state.time <= _time(name, which)]
        if not found:
            span = f"1 to {len(own)}, {own[0].time} to {own[-1].time}"
            raise ModelError(f"{self.folder}: {name!r} is no state of it; there are {span}")
        return found[-1]

    def made(self, manifest: str, instance: str) -> State:
        """A state with this manifest, the instance's own if it has one.

        Raises:
            ModelError: There is none.
        """
        found = [state for state in self.states if state.manifest == manifest]
        if not found:
            raise ModelError(
                f"it is made from a pool with manifest {manifest}, which no state here has; "
                f"import that pool's folder first"
            )
        return max(found, key=lambda state: (state.instance == instance, state.number))

    def save(self, returned: Mapping[str, Returned]) -> list[State]:
        """Keep what came back, all of it or nothing.

        Args:
            returned: By instance.

        Returns:
            The new states.

        Raises:
            ModelError: An instance's name is none, or somebody else saved a state of it meanwhile.
            CorruptError: The store is damaged.
        """
        now = _now()
        last = {state.instance: state for state in self.states}
        models, records, parents = {}, {}, {}
        states: list[State] = []
        for instance, each in returned.items():
            if not _NAME.fullmatch(instance):
                raise ModelError(
                    f"instance {instance[:99]!r}: a name has at most 80 letters, digits, dots, "
                    f"underscores and hyphens, and begins with a letter or digit"
                )
            number = last[instance].number + 1 if instance in last else 1
            state = State(
                f"{instance}@{number}",
                *(instance, number, now, each.way, each.before, each.manifest, each.received),
                each.rows,
            )
            models[state.id], states = each.tensors, [*states, state]
            records[state.id] = {k: v for k, v in vars(state).items() if k != "id"}
            if each.before is not None:
                parents[state.id] = each.before
        before = self.states
        self.store.save(models, parents=parents, records=records)
        self.states = sorted([*before, *states], key=_order)
        self.table()
        return states

    def files(self, state: State) -> dict[str, bytes]:
        """Content of each file of a state's pool, checked.

        Raises:
            ModelError: It is no pool.
            CorruptError: The store is damaged.
        """
        if state.manifest is None:
            raise ModelError(f"{self.folder}: {state.id} is tensors alone, without a pool's files")
        try:
            found = pool_files(self.store.load(state.id))
            listed = files_of(found[MANIFEST])
        except (PatchError, KeyError) as error:
            raise CorruptError(f"{self.folder}: {state.id} is no pool ({error})") from None
        digests = {name: sha256(content) for name, content in found.items()}
        if digests != {**listed, MANIFEST: state.manifest}:
            raise CorruptError(f"{self.folder}: {state.id} has other files than it had")
        return found

    def recover(self, name: str, out: Path) -> State:
        """Write the pool of a state to a folder.

        Args:
            name: See :meth:`find`.
            out: The folder, which must not be there.

        Raises:
            ModelError: There is no such state.
            SourceError: There is something at the path.
            CorruptError: The store is damaged.
        """
        state = self.find(name)
        if out.exists():
            raise SourceError(f"{out}: is there already; name a folder that is not")
        files = self.files(state)
        with replacing(out) as aside:
            write_files(files, aside)
        return state


def _version(schema: pa.Schema) -> str:
    """Version of the store that a registry is of."""
    return str((schema.metadata or {}).get(_MADE_FROM, b"").decode(errors="replace"))


def _order(state: State) -> tuple[str, int]:
    return state.instance, state.number


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _time(name: str, which: str) -> str:
    """A time as the registry has it."""
    try:
        time = datetime.datetime.fromisoformat(which)
    except ValueError:
        raise ModelError(
            f"{name}: after the @ stands a state's number, or a time such as 2026-11-29T06:00"
        ) from None
    zoned = time if time.tzinfo else time.replace(tzinfo=datetime.UTC)
    return zoned.astimezone(datetime.UTC).isoformat(timespec="seconds")
