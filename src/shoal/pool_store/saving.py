"""Models into a pack: equal tensors once, each parameter of all models together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.errors import ModelError
from shoal.pool_store.columns import NONE, Column, Reference, encode_column
from shoal.pool_store.index_format import ROW, ColumnPlace, Entry, PackPlace
from shoal.pool_store.pack import PackColumn, pack_name, stored_cut, write_pack
from shoal.pool_store.residuals import median
from shoal.pool_store.tensors import DTYPES, hashes, stacked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from shoal.pool_store.backends import Backend
    from shoal.pool_store.columns import Speed
    from shoal.pool_store.index_format import Contents, Layout, Rows
    from shoal.pool_store.reading import Reader
    from shoal.pool_store.tensors import Kind

    Bytes = NDArray[np.uint8]

_MEDIAN = NONE - 1  # stands for the number of a median until it has one
_MEDIAN_OF = 64  # models from which one more tensor is worth its bytes
_MEDIAN_SAMPLE = 256
_MEDIAN_WORDS = 1 << 26


@dataclass(frozen=True)
class Given:
    """A model to be stored.

    Attributes:
        layout: Names and kinds of its tensors.
        raw: Bytes of each.
        addresses: Content address of each.
    """

    layout: Layout
    raw: list[Bytes]
    addresses: list[bytes]


@dataclass
class _Parameter:
    """Tensors of one name and kind that are not in the store yet."""

    name: str
    kind: Kind
    raw: list[Bytes] = field(default_factory=list)
    addresses: list[bytes] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    models: list[str] = field(default_factory=list)


def given_models(models: Mapping[str, Mapping[str, Any]]) -> dict[str, Given]:
    """Bytes and content addresses of models.

    Args:
        models: Id of each to its tensors by name.

    Raises:
        ModelError: A name is no text, or a tensor cannot be stored.
    """
    alike: dict[tuple[Any, ...], list[str]] = {}
    for model, tensors in models.items():
        if not (isinstance(model, str) and model and all(isinstance(n, str) for n in tensors)):
            raise ModelError(f"model {model!r}: ids and names of tensors are text")
        alike.setdefault(_signature(tensors), []).append(model)
    found: dict[str, Given] = {}
    for group in alike.values():
        layout, raw, addresses = [], [], []
        for name in models[group[0]]:
            values = [models[model][name] for model in group]
            kind, rows = stacked(values, f"model {group[0]!r}, tensor {name!r}")
            layout.append((name, kind))
            raw.append(list(rows))
            addresses.append(hashes(kind, rows))
        for place, model in enumerate(group):
            found[model] = Given(
                tuple(layout), [rows[place] for rows in raw], [own[place] for own in addresses]
            )
    return {model: found[model] for model in models}


def _signature(tensors: Mapping[str, Any]) -> tuple[Any, ...]:
    """Equal for models whose tensors can be stacked."""
    return tuple(
        (name, type(value), getattr(value, "dtype", None), getattr(value, "shape", None))
        for name, value in tensors.items()
    )


class Writer:
    """Adds models to the contents of a store; the packs it writes count once the index does."""

    def __init__(
        self, backend: Backend, contents: Contents, reader: Reader | None, speed: Speed
    ) -> None:
        self._backend = backend
        self._contents = contents
        self._reader = reader
        self._stored = len(contents.rows)
        self._speed = speed
        self._fresh: dict[int, Bytes] = {}
        addresses = np.ascontiguousarray(contents.rows["address"])
        self._numbers = {address.tobytes(): number for number, address in enumerate(addresses)}

    def add(
        self,
        models: Mapping[str, Given],
        references: Mapping[str, Sequence[str]],
        records: Mapping[str, dict[str, Any]],
    ) -> None:
        """Write a pack with what is new of some models.

        Args:
            models: The models by id; none of them is in the contents.
            references: For each, models in the contents to compare it with; the best first.
            records: What is kept of each beside its tensors.
        """
        parameters = self._new_parameters(models)
        columns = [self._encode(parameter, references) for parameter in parameters]
        if parameters:
            self._write(parameters, columns)
        for model, given in models.items():
            numbers = tuple(self._numbers[address] for address in given.addresses)
            layout = self._layout(given.layout)
            self._contents.entries[model] = Entry(model, layout, numbers, records.get(model, {}))

    def _layout(self, layout: Layout) -> int:
        if layout not in self._contents.layouts:
            self._contents.layouts.append(layout)
        return self._contents.layouts.index(layout)

    def _new_parameters(self, models: Mapping[str, Given]) -> list[_Parameter]:
        """What is not stored yet, by parameter; numbers run on from model to model."""
        found: dict[tuple[str, Kind], _Parameter] = {}
        of_layout: dict[int, list[_Parameter]] = {}
        for model, given in models.items():
            if id(given.layout) not in of_layout:
                of_layout[id(given.layout)] = [
                    found.setdefault((name, kind), _Parameter(name, kind))
                    for name, kind in given.layout
                ]
            parameters = of_layout[id(given.layout)]
            for parameter, raw, address in zip(parameters, given.raw, given.addresses, strict=True):
                if address not in self._numbers:
                    self._number(parameter, address, raw)
                    parameter.models.append(model)
        return [parameter for parameter in found.values() if parameter.numbers]

    def _number(self, parameter: _Parameter, address: bytes, raw: Bytes) -> None:
        number = self._stored + len(self._fresh)
        self._numbers[address] = number
        self._fresh[number] = raw
        parameter.raw.append(raw)
        parameter.addresses.append(address)
        parameter.numbers.append(number)

    def _encode(self, parameter: _Parameter, references: Mapping[str, Sequence[str]]) -> Column:
        kind = parameter.kind
        words = np.concatenate(parameter.raw).view(kind.word_type)
        words = words.reshape(len(parameter.raw), kind.words)
        compared = self._references(parameter, references)
        middle = self._median(kind, words)
        if middle is None:
            return encode_column(kind, words, compared, self._speed)
        first = [Reference(r.words[:1], r.numbers[:1], r.depths[:1]) for r in compared]
        lone = encode_column(kind, middle[None], first, self._speed)
        depth = np.full(len(words), lone.depth[0])
        compared.append(Reference(middle[None], np.full(len(words), _MEDIAN), depth))
        column = encode_column(kind, words, compared, self._speed)
        if (used := column.reference == _MEDIAN).any():
            raw = middle.view(np.uint8)
            (address,) = hashes(kind, raw[None])
            if address in self._numbers:  # the median is one of the tensors
                return encode_column(kind, words, compared[:-1], self._speed)
            self._number(parameter, address, raw)
            column.reference[used] = parameter.numbers[-1]
            _append(column, lone)
        return column

    def _median(self, kind: Kind, words: NDArray[Any]) -> NDArray[Any] | None:
        """A tensor between many: what they have in common beyond their base."""
        floats = DTYPES[kind.dtype].fraction is not None and kind.words > 1
        if self._speed == "fast" or not floats or len(words) < _MEDIAN_OF:
            return None
        most = max(_MEDIAN_OF, min(_MEDIAN_SAMPLE, _MEDIAN_WORDS // kind.words))
        return median(words[:: -(-len(words) // most)])

    def _references(
        self, parameter: _Parameter, references: Mapping[str, Sequence[str]]
    ) -> list[Reference]:
        """The same parameter of the models that each is compared with; first all firsts."""
        found = []
        most = max((len(references.get(model, ())) for model in parameter.models), default=0)
        for place in range(most):
            named = [references.get(model, ())[place:] for model in parameter.models]
            others = [models[0] if models else None for models in named]
            known = {other: self._number_of(other, parameter) for other in set(others)}
            numbers = np.array([known[other] for other in others])
            if (numbers >= 0).any():
                found.append(self._reference(parameter.kind, numbers))
        return found

    def _number_of(self, model: str | None, parameter: _Parameter) -> int:
        """Where a model's own tensor of that name and kind lies; -1 if nowhere."""
        if model is None:
            return -1
        entry = self._contents.entries[model]
        layout = self._contents.layouts[entry.layout]
        pair = parameter.name, parameter.kind
        return entry.rows[layout.index(pair)] if pair in layout else -1

    def _reference(self, kind: Kind, numbers: NDArray[np.int64]) -> Reference:
        distinct = np.unique(numbers[numbers >= 0])
        stored = distinct[distinct < self._stored].tolist()
        known = self._reader.read(stored) if self._reader is not None and stored else {}
        raw = {n: self._fresh[n] if n in self._fresh else known[n] for n in distinct.tolist()}
        depths = np.zeros(len(numbers), np.int64)
        there = numbers >= 0
        depths[there] = self._contents.rows["depth"][numbers[there]]
        if len(distinct) == 1:
            return Reference(raw[int(distinct[0])].view(kind.word_type)[None], numbers, depths)
        words = np.zeros((len(numbers), kind.words), kind.word_type)
        for row in np.flatnonzero(there).tolist():
            words[row] = raw[int(numbers[row])].view(kind.word_type)
        return Reference(words, numbers, depths)

    def _write(self, parameters: list[_Parameter], columns: list[Column]) -> None:
        """Write the pack, and a row for each of its tensors."""
        parts = [
            PackColumn(p.name, p.kind, column.frames, [stored_cut(cut) for cut in column.cuts])
            for p, column in zip(parameters, columns, strict=True)
        ]
        name = pack_name(parts, [address for p in parameters for address in p.addresses])
        with self._backend.write(name) as file:
            written = write_pack(file, parts)
            size = file.seek(0, 2)
        first = len(self._contents.rows)
        rows: Rows = np.zeros(sum(len(p.numbers) for p in parameters), ROW)
        for place, (parameter, column) in enumerate(zip(parameters, columns, strict=True)):
            at = np.array(parameter.numbers) - first
            rows["address"][at] = np.frombuffer(b"".join(parameter.addresses), np.uint8).reshape(
                len(at), -1
            )
            rows["offset"][at] = written[place].offsets
            rows["size"][at] = [len(frame) for frame in column.frames]
            rows["pack"][at], rows["column"][at] = len(self._contents.packs), place
            for field_name in ("reference", "cut", "codec", "depth"):
                rows[field_name][at] = getattr(column, field_name)
        self._contents.rows = np.concatenate([self._contents.rows, rows])
        places = tuple(
            ColumnPlace(part.name, part.kind, tuple(where.cuts))
            for part, where in zip(parts, written, strict=True)
        )
        self._contents.packs.append(PackPlace(name, size, places))


def _append(column: Column, other: Column) -> None:
    """Add the tensors of another column of the same kind."""
    column.frames += other.frames
    column.cut = np.concatenate([column.cut, other.cut + len(column.cuts)])
    column.cuts += other.cuts
    for name in ("codec", "reference", "depth"):
        joined = np.concatenate([getattr(column, name), getattr(other, name)])
        setattr(column, name, joined)
