"""All columns to one tensor per row, and the label with it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import NonNegativeInt

from shoal.encode.column import ColumnEncoder, ColumnSetting, Target
from shoal.encode.encoders import encoders_of, make_encoder
from shoal.encode.label import LabelSurvey, label_from_state
from shoal.encode.together import grouped
from shoal.errors import CorruptError, DataError, SourceError
from shoal.formats import tables
from shoal.formats.fitted_state import parse_state, save_state
from shoal.formats.kinds import Task
from shoal.formats.shapes import x_type
from shoal.formats.stored import Stored, as_kind, naming
from shoal.transform.step import smallest_draws, training_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from shoal.encode.label import Label
    from shoal.encode.together import Check, Group
    from shoal.settings.data import Encode

    Floats = NDArray[np.float32]

_CHECKED_ROWS, _FILLED_ROWS = 8192, 2048


class Encoder:
    """Fitted encoders of an experiment's columns and label, frozen with a generation.

    Attributes:
        task: ``classification``, ``regression`` or ``own``.
        encoders: One per column, in the columns' order.
        label: Coding of the labels.
        training_rows: Rows of the training fold when it was fitted.
        x_shape: Shape of one row's tensor: that of the image if there is one image column and
            nothing else, otherwise ``(features,)``.
        feature_names: Name of each feature, in the order of the flattened tensor.
        tokens: How many whole numbers there are, where one column's tokens are all of ``x``; else
            None.
    """

    def __init__(
        self, task: str, encoders: Sequence[ColumnEncoder], label: Label, training_rows: int
    ) -> None:
        self.task = task
        self.encoders = list(encoders)
        self.label = label
        self.training_rows = training_rows
        self.feature_names = [name for encoder in encoders for name in encoder.names]
        alone = len(self.encoders) == 1
        self.x_shape = self.encoders[0].shape if alone else (len(self.feature_names),)
        self.tokens = self.encoders[0].vocabulary if alone else None

    @property
    def classes(self) -> list[str] | None:
        """Names of the classes, by code; None where labels are numbers."""
        return self.label.classes

    @property
    def outputs(self) -> int:
        """Numbers that a model gives for a row, one per class or one; or the number of labels."""
        return len(self.classes or self.label.columns)

    @classmethod
    def fit(
        cls, settings: Encode, columns: tables.Columns, shards: Mapping[str, tables.Table]
    ) -> Encoder:
        """Fit on the training fold, streamed once.

        Args:
            settings: Encoders, how many rows they are fitted on, and a seed.
            columns: The columns.
            shards: Shard name to its transformed table; neither their order nor how rows are
                cut into them matters.

        Raises:
            SettingsError: An encoder does not fit its column.
            DataError: The label is constant, or a column or the training fold is empty.
            ModelError: A class that the settings name does not work.
        """
        encoders = encoders_of(settings, columns)
        survey = LabelSurvey(columns.labels, columns.task)

        def surveyed() -> Iterator[pa.Table]:
            for rows in training_rows(shards):
                survey.add(rows.table)
                yield rows.table

        salt = (settings.seed, "encode")
        sample = smallest_draws(surveyed(), settings.fit_rows, columns.labels, *salt)
        if sample is None:
            raise DataError("no training row reaches encode: split or a transform left none")
        label = survey.label()
        target = Target(label.encode(sample), label.classes)
        for encoder in encoders:
            values = _values(sample, encoder)
            encoder.fit(values, target)
            _check_varying(encoder, values[:_CHECKED_ROWS])
        return cls(columns.task, encoders, label, survey.rows)

    @property
    def x_dtype(self) -> str:
        """Numpy type of the tensors: int64 for tokens, else float32."""
        return x_type(self.tokens)

    def encode(self, table: pa.Table, shard: str = "input", offset: int = 0) -> NDArray[Any]:
        """Tensors of rows, ``(rows, *x_shape)``; a function of each row alone.

        Args:
            table: Transformed rows; a label is not needed.
            shard: Where they come from, for messages.
            offset: Place of the first row in it, from 0, for messages.

        Raises:
            DataError: A value is not finite once encoded.
        """
        rows = len(table)
        if not rows:
            return np.empty((0, *self.x_shape), dtype=self.x_dtype)

        def check(features: Floats, values: NDArray[Any], first: int, column: str) -> None:
            _check_finite(features, values, f"{shard}: row", offset + first, column)

        if len(self.encoders) == 1:
            part, codes = _encoded(table, self.encoders[0], check)
            part = part if codes is None else part.take(codes, axis=0)
            return np.ascontiguousarray(part)
        groups, others = self._groups
        fills = [group.filling(table, check) for group in groups]
        parts = [(of, *_encoded(table, self.encoders[number], check)) for number, of in others]
        x = np.zeros((rows, len(self.feature_names)), dtype=self.x_dtype)
        for start in range(0, rows, _FILLED_ROWS):  # few enough to stay in the processor's cache
            some = slice(start, start + _FILLED_ROWS)
            for fill in fills:
                fill(some, x[some])
            for features, part, codes in parts:
                flat = part[some] if codes is None else part.take(codes[some], axis=0)
                x[some, features] = flat.reshape(len(flat), -1)
        return x

    @cached_property
    def _groups(self) -> tuple[list[Group], list[tuple[int, slice]]]:
        return grouped(self.encoders)

    def labels(self, table: pa.Table, shard: str = "input", offset: int = 0) -> NDArray[Any]:
        """Coded labels: int64 class codes (-1 for an unseen class) or float32, ``(rows,)``.

        Of the task ``own`` float32 ``(rows, labels)``, as they are.

        Raises:
            DataError: A number is not finite once standardised.
        """
        y = self.label.encode(table)
        if self.classes is None:
            for column, coded in zip(self.label.columns, y.reshape(len(y), -1).T, strict=True):
                values = tables.numbers(table, column)
                _check_finite(coded, values, f"{shard}: row", offset, column)
        return y

    def decode(self, y: NDArray[Any]) -> NDArray[Any]:
        """Labels of codes: class names (objects), or numbers in the label's unit (float64)."""
        return self.label.decode(y)

    def save(self, path: Path) -> list[str]:
        """Write one safetensors file; the same fit gives the same bytes.

        Returns:
            Types in it that are passed to :meth:`load` as trusted; none for encoders by name.

        Raises:
            ModelError: An encoder that the user names cannot be kept without pickle.
        """
        tensors: dict[str, NDArray[Any]] = {}
        entries: list[dict[str, object]] = []
        trusted: set[str] = set()
        for place, encoder in enumerate(self.encoders):
            fitted, types = encoder.stored()
            arrays = {name: each for name, each in fitted.items() if isinstance(each, np.ndarray)}
            tensors |= {f"{place}.{name}": array for name, array in arrays.items()}
            trusted.update(types)
            named = {} if "_target_" in encoder.given else {"encoder": encoder.name}
            entry: dict[str, object] = {
                "column": encoder.column,
                "kind": encoder.place.kind,
                "spec": named | encoder.given,
                "fitted": {name: each for name, each in fitted.items() if name not in arrays},
            }
            entries.append(entry)
        meta = {
            "format": 2,
            "task": self.task,
            "label": self.label.model_dump(),
            "training_rows": self.training_rows,
            "encoders": entries,
        }
        save_state(path, tensors, meta, recorded=False)
        return sorted(trusted)

    @classmethod
    def load(cls, path: Path, trusted: Sequence[str] = (), features: int | None = None) -> Encoder:
        """Read the file of :meth:`save`, building no type that is not known or ``trusted``.

        Args:
            path: The file.
            trusted: Types or modules that may be imported beyond those that skops knows.
            features: Features that a row has, where that is known.

        Raises:
            SourceError: There is no such file.
            CorruptError: It is not such a file, or holds a state that no fit gives.
            ModelError: It holds a type that is not trusted.
        """
        try:
            return cls.parse(path.read_bytes(), path, trusted, features)
        except FileNotFoundError:
            raise SourceError(f"{path}: no such file") from None

    @classmethod
    def parse(
        cls, raw: bytes, path: Path, trusted: Sequence[str] = (), features: int | None = None
    ) -> Encoder:
        """The same from the file's bytes."""
        tensors, meta = parse_state(raw, path)
        with naming(path):
            stored = as_kind(_State, meta)
            encoders = []
            for number, entry in enumerate(stored.encoders):
                place = ColumnSetting(entry.column, entry.kind, "encode", 0)
                encoder = make_encoder(entry.spec, place)
                start = f"{number}."
                arrays = {
                    name.removeprefix(start): tensor
                    for name, tensor in tensors.items()
                    if name.startswith(start)
                }
                encoder.restore(entry.fitted | arrays, trusted)
                encoders.append(encoder)
            width = sum(encoder.width for encoder in encoders)
            if not encoders or (features is not None and width != features):
                raise CorruptError(f"encodes a row to {width} features, not {features}")
            for encoder in encoders:
                encoder.check()
            label = label_from_state(stored.label)
            return cls(stored.task, encoders, label, stored.training_rows)


class _Column(Stored):
    column: str
    kind: Literal["numeric", "categorical", "text", "image", "vector"]
    spec: dict[str, object]
    fitted: dict[str, object]


class _State(Stored):
    """The content that :meth:`Encoder.save` writes."""

    format: Literal[2]
    task: Task
    label: dict[str, object]
    training_rows: NonNegativeInt
    encoders: list[_Column]


def _values(table: pa.Table, encoder: ColumnEncoder) -> NDArray[Any]:
    """A column as its encoder takes it."""
    kind = encoder.place.kind
    if kind == "numeric":
        return tables.numbers(table, encoder.column)
    read = tables.images if kind in tables.ARRAY_KINDS else tables.texts
    return read(table, encoder.column)


def _encoded(
    table: pa.Table, encoder: ColumnEncoder, check: Check
) -> tuple[Floats, NDArray[np.int32] | None]:
    """Features of a column; of texts that recur those of distinct ones, and which is where."""
    codes: NDArray[np.int32] | None = None
    if len(table) > 1 and encoder.place.kind in ("categorical", "text"):
        values, codes = tables.distinct_texts(table, encoder.column)
        if len(values) > len(codes) // 2:
            values, codes = values[codes], None
    else:
        values = _values(table, encoder)
    features = encoder.encode(values)
    if codes is not None and not np.isfinite(features).all():
        values, features, codes = values[codes], features[codes], None
    check(features, values, 0, encoder.column)
    return features, codes


def _check_varying(encoder: ColumnEncoder, values: NDArray[Any]) -> None:
    """Refuse an encoder that makes a varying number constant.

    One scale for all entries of an array does so, where an entry is far larger than the others.
    """
    if encoder.place.kind not in ("numeric", *tables.ARRAY_KINDS):
        return
    before = values.reshape(len(values), -1)
    varies, is_single = _varies(before), before.shape[1] == 1
    if not varies.any() or not (is_single or encoder.width == before.shape[1]):
        return
    still = ~_varies(encoder.encode(values).reshape(len(values), -1))
    lost = varies & (still.all() if is_single else still)
    if lost.any():
        entry = int(np.argmax(lost))
        name = f"column {encoder.column!r}" + (f", entry {entry}" if len(lost) > 1 else "")
        raise DataError(
            f"{encoder.place.setting}: {name} varies, but is constant once encoded by "
            f"{encoder.given.get('_target_', encoder.name)!r}: its spread is lost beside larger "
            f"numbers; choose another encoder, keep it in a column of its own, or declare the "
            f"column vector, which scales each entry by itself"
        )


def _varies(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Which columns of ``(rows, columns)`` hold more than one number; gaps do not count."""
    with np.errstate(invalid="ignore"):
        low, high = np.fmin.reduce(values, axis=0), np.fmax.reduce(values, axis=0)
    varies: NDArray[np.bool_] = low < high
    return varies


def _check_finite(
    encoded: NDArray[Any], values: NDArray[Any], where: str, offset: int, column: str
) -> None:
    if np.isfinite(encoded).all():
        return
    finite = np.isfinite(encoded.reshape(len(values), -1)).all(axis=1)
    row = int(np.flatnonzero(~finite)[0])
    value = values[row] if values.ndim == 1 else "a pixel"
    raise DataError(
        f"{where} {offset + row + 1}, column {column!r}: {value} is not finite once encoded "
        f"as float32; clip or clean it"
    )
