"""Typed tables of rows, which split and transform write and encode reads.

A table has the user's columns, typed by their kind, then ``_key``, ``_fold`` and ``_source``, and
where rows belong together (:mod:`shoal.formats.units`) ``_unit``:

=================== =====================================================
kind                Arrow type
=================== =====================================================
numeric, time       float64 (time: seconds since 1970), null where missing
categorical, text,  string, null where missing
group
label               string (classification) or float64 (other tasks)
image, vector       fixed shape tensor of uint8, float32 or float64
=================== =====================================================

Columns of kind ``id`` are gone (they are in the key), and so are ignored ones. ``_source`` is a
hash of the values that a model is made from as they were in the source, and of what a transform
drew for them.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ConfigDict, PositiveInt

from shoal.errors import CorruptError, SourceError
from shoal.formats.files import replacing
from shoal.formats.hashing import KEY_BYTES
from shoal.formats.json_file import parse_json, read_json, write_json
from shoal.formats.kinds import ColumnKind, Task
from shoal.formats.provenance import KEY as MADE_FROM
from shoal.formats.provenance import made_from
from shoal.formats.stored import as_kind, naming

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray


KEY = "_key"
FOLD = "_fold"
SOURCE = "_source"
UNIT = "_unit"
_ROWS_OF = "rows_of"
RESERVED = (KEY, FOLD, SOURCE, UNIT)
"""Names of the columns that Shoal adds."""
ARRAY_KINDS = ("image", "vector")
"""Kinds of columns whose cells are arrays of numbers."""
_KINDS_AS_NUMBER = ("numeric", "time")
_KINDS_AS_TEXT = ("categorical", "text", "group")


def is_number(kind: str, task: str) -> bool:
    """Whether cells of a column of this kind are single numbers: labels are, unless classes."""
    return kind in _KINDS_AS_NUMBER or (kind == "label" and task != "classification")


@dataclass(frozen=True)
class Columns:
    """The columns of an experiment, frozen with its generation.

    Attributes:
        kinds: Column name to kind, in the order of the first source file.
        task: ``classification``, ``regression`` or ``own``.
        image_shapes: Shape of each image or vector column.
        image_types: numpy type of each of them: ``uint8``, ``float32`` or, of vectors, ``float64``.
        inferred: For each column that was not declared, why it has its kind.
        formats: For each time column, how its times are written: ``dates`` (times, dates and ISO
            8601 strings, also 20260131) or ``numbers``, which are seconds.
        resized: Image columns whose pictures are resized where they are of another size.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    kinds: dict[str, str]
    task: str
    image_shapes: dict[str, list[int]]
    image_types: dict[str, str]
    inferred: dict[str, str]
    formats: dict[str, str] = field(default_factory=dict)
    resized: list[str] = field(default_factory=list)

    def of_kind(self, *kinds: str) -> list[str]:
        """Names of the columns of these kinds, in order."""
        return [name for name, kind in self.kinds.items() if kind in kinds]

    @property
    def labels(self) -> list[str]:
        """Names of the label columns, in order: one, or of the task ``own`` any number."""
        return self.of_kind("label")

    @property
    def label(self) -> str | None:
        """Name of the one column that says what is right; None in the task ``own``."""
        return None if self.task == "own" else self.labels[0]

    def is_number(self, name: str) -> bool:
        """Whether a column's cells are single numbers."""
        return is_number(self.kinds[name], self.task)

    @property
    def inputs(self) -> list[str]:
        """Names of the columns that a model may see, in order."""
        return self.of_kind("numeric", "categorical", "text", *ARRAY_KINDS)

    def arrow_type(self, name: str) -> pa.DataType:
        """Arrow type of a column in a table of rows."""
        kind = self.kinds[name]
        if self.is_number(name):
            return pa.float64()
        if kind in _KINDS_AS_TEXT or kind == "label":
            return pa.string()
        if kind in ARRAY_KINDS:
            element = pa.from_numpy_dtype(np.dtype(self.image_types[name]))
            return pa.fixed_shape_tensor(element, self.image_shapes[name])
        raise ValueError(f"columns of kind {kind!r} are not kept in tables")

    def schema(self, *, units: bool = False) -> pa.Schema:
        """Arrow schema of a table of rows, what is no user's last.

        Args:
            units: Whether rows belong together, so that there is a ``_unit``.
        """
        kept = [name for name, kind in self.kinds.items() if kind not in ("id", "ignore")]
        fields = [pa.field(name, self.arrow_type(name)) for name in kept]
        hashed = pa.binary(KEY_BYTES)
        own = [(KEY, hashed), (FOLD, pa.uint8()), (SOURCE, hashed), (UNIT, pa.uint64())]
        return pa.schema([*fields, *(own if units else own[:3])])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write as JSON."""
        order = {"order": list(self.kinds)}  # JSON's keys are sorted
        write_json(path, asdict(self) | order | made_from())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Columns:
        """Read a file of :meth:`save`.

        Raises:
            SourceError: There is no such file.
            CorruptError: It is not such a record.
        """
        content = read_json(path, dict[str, object])
        with naming(path):
            return cls.from_record(content)

    @classmethod
    def from_record(cls, content: Mapping[str, object]) -> Columns:
        """The columns in the content of such a file.

        Raises:
            CorruptError: It is not such a record.
        """
        if "order" not in content:
            raise CorruptError("order: key is missing")
        plain = {name: value for name, value in content.items() if name != MADE_FROM}
        order = as_kind(list[str], plain.pop("order"), "order")
        columns = as_kind(cls, plain)
        shapes, types = columns.image_shapes, columns.image_types
        as_kind(dict[str, ColumnKind], columns.kinds, "kinds")
        as_kind(Task, columns.task, "task")  # type: ignore[arg-type]
        as_kind(dict[str, list[PositiveInt]], shapes, "image_shapes")
        as_kind(dict[str, Literal["uint8", "float32", "float64"]], types, "image_types")
        as_kind(dict[str, Literal["dates", "numbers"]], columns.formats, "formats")
        if sorted(order) != sorted(columns.kinds):
            raise CorruptError(f"order: {order} are not the columns, {list(columns.kinds)}")
        if len(columns.labels) != 1 and columns.task != "own":
            raise CorruptError(f"kinds: {columns.labels} are labels, where there is one")
        for name, described in (("image_shapes", shapes), ("image_types", types)):
            if sorted(described) != sorted(columns.of_kind(*ARRAY_KINDS)):
                raise CorruptError(f"{name}: {list(described)} are not the columns of arrays")
        return replace(columns, kinds={name: columns.kinds[name] for name in order})


def write_table(
    path: str | os.PathLike[str],
    schema: pa.Schema,
    batches: Iterable[pa.Table],
    record: Mapping[str, object],
) -> None:
    """Write a table of rows to Parquet, atomically.

    Args:
        path: The file.
        schema: Schema of every batch.
        batches: Consecutive rows.
        record: JSON values kept with the table; read after the last batch was taken from
            ``batches``, so a generator may fill it: ``rows_in``, ``dropped`` by step.
    """
    repeated = [each.name for each in schema if each.type in (pa.string(), pa.uint8())]
    with (
        replacing(path) as aside,
        pq.ParquetWriter(aside, schema, compression="zstd", use_dictionary=repeated) as writer,
    ):
        for batch in batches:
            if len(batch):
                writer.write_table(batch.cast(schema))
        content = json.dumps(dict(record) | made_from(), sort_keys=True)
        writer.add_key_value_metadata({"shoal": content})


def write_link(path: str | os.PathLike[str], rows_of: Table, record: Mapping[str, object]) -> None:
    """Write a table that has the rows of another one, and holds its own record alone.

    Args:
        path: The file.
        rows_of: The table with the rows, which is named by its path from this one's folder.
        record: As :func:`write_table` takes it.
    """
    place = os.path.relpath(rows_of.path, Path(path).parent)
    write_table(path, rows_of.schema, [], {**record, _ROWS_OF: place, "rows": rows_of.rows})


def _opened(path: str | os.PathLike[str]) -> pq.ParquetFile:
    """A file, which would by default hold all that was read of it until it is closed."""
    return pq.ParquetFile(path, pre_buffer=False)


class Table:
    """Reader of a table that :func:`write_table` or :func:`write_link` wrote."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open the file.

        Raises:
            SourceError: There is no such file.
            CorruptError: It is not a table of rows.
        """
        self.path = path
        try:
            self._file = _opened(path)
        except FileNotFoundError:
            raise SourceError(f"{path}: no such file") from None
        except pa.ArrowInvalid as error:
            raise CorruptError(f"{path}: not readable as Parquet ({error})") from None
        self.schema: pa.Schema = self._file.schema_arrow.remove_metadata()
        about = (self._file.metadata.metadata or {}).get(b"shoal")
        if about is None:
            raise CorruptError(f"{path}: a Parquet file without Shoal's record")
        self.record = parse_json(about, path, dict[str, Any])
        self.rows: int = self.record.get("rows", self._file.metadata.num_rows)

    @cached_property
    def _rows_file(self) -> pq.ParquetFile:
        """The file with the rows.

        Raises:
            CorruptError: It is another one, which is missing or does not read.
        """
        if _ROWS_OF not in self.record:
            return self._file
        path = Path(self.path).parent / self.record[_ROWS_OF]
        try:
            return _opened(path)
        except (FileNotFoundError, pa.ArrowInvalid):
            raise CorruptError(
                f"{self.path}: its rows are those of {path}, which is missing or does not read; "
                f"remove both and run the workflow again"
            ) from None

    @property
    def row_bytes(self) -> int:
        """Bytes of one row in memory, about: those of its numbers and of its texts."""
        stored = self._rows_file.metadata
        groups = (stored.row_group(number) for number in range(stored.num_row_groups))
        written = sum(group.total_byte_size for group in groups)
        return max(row_bytes(self.schema), int(written) // max(1, self.rows))

    def batches(self, rows: int, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """Consecutive rows, at most ``rows`` at a time, of all or some columns.

        Raises:
            CorruptError: A page does not read.
        """
        batches = self._rows_file.iter_batches(rows, columns=columns, use_threads=False)
        while True:
            try:
                batch = next(batches, None)
            except (pa.ArrowException, OSError) as error:
                raise CorruptError(f"{self.path}: a page does not read ({error})") from None
            if batch is None:
                return
            yield pa.Table.from_batches([batch]).replace_schema_metadata(None)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def row_bytes(schema: pa.Schema) -> int:
    """Bytes of one row in memory, where texts are short."""
    return sum(_cell_bytes(each.type) for each in schema)


def _cell_bytes(kind: pa.DataType) -> int:
    """Bytes of one value; of a text those of a short one."""
    if isinstance(kind, pa.FixedShapeTensorType):
        return int(np.prod(kind.shape)) * int(kind.value_type.bit_width) // 8
    return 32 if kind == pa.string() else int(kind.bit_width) // 8


def numbers(table: pa.Table, name: str) -> NDArray[np.float64]:
    """A float64 column, NaN where missing."""
    return np.asarray(table[name].to_numpy(zero_copy_only=False), dtype=np.float64)


def values(table: pa.Table, name: str, columns: Columns) -> NDArray[Any]:
    """A column of single numbers as :func:`numbers`, another as :func:`texts`."""
    return numbers(table, name) if columns.is_number(name) else texts(table, name)


def texts(table: pa.Table, name: str) -> NDArray[np.object_]:
    """A string column as an object array, None where missing; equal values share an object."""
    distinct, codes = distinct_texts(table, name)
    return np.asarray(distinct[codes])


def distinct_texts(table: pa.Table, name: str) -> tuple[NDArray[np.object_], NDArray[np.int32]]:
    """Texts of a string column, None the last of them, and which of them each row has."""
    column = table[name]
    whole = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if len(whole) == 1:
        return np.array([whole[0].as_py(), None], dtype=object), np.zeros(1, np.int32)
    encoded = whole.dictionary_encode()
    distinct = np.array([*encoded.dictionary.to_pylist(), None], dtype=object)
    codes = encoded.indices
    return distinct, np.asarray(codes.fill_null(len(distinct) - 1) if codes.null_count else codes)


def decoded(table: pa.Table) -> pa.Table:
    """The table with strings where texts are encoded by a dictionary."""
    fields = [
        each.with_type(each.type.value_type) if pa.types.is_dictionary(each.type) else each
        for each in table.schema
    ]
    return table.cast(pa.schema(fields))


def without_gaps(values: NDArray[Any]) -> list[str]:
    """Texts, the empty one where missing."""
    return ["" if value is None else value for value in values]


def images(table: pa.Table, name: str) -> NDArray[Any]:
    """A column of images or vectors as ``(rows, *shape)``."""
    shape = tuple(table.schema.field(name).type.shape)
    chunks = [chunk.to_numpy_ndarray() for chunk in table[name].chunks if len(chunk)]
    return np.concatenate(chunks) if chunks else np.empty((0, *shape))


def image_array(values: NDArray[Any]) -> pa.ExtensionArray:
    """A column of images or vectors from ``(rows, *shape)``."""
    return pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(values))


def keys(table: pa.Table, name: str = KEY) -> NDArray[np.uint8]:
    """Row keys, or another column of hashes of their size; uint8 ``(rows, KEY_BYTES)``."""
    chunks = [chunk for chunk in table[name].chunks if len(chunk)]
    parts = [
        np.frombuffer(
            chunk.buffers()[1], np.uint8, len(chunk) * KEY_BYTES, chunk.offset * KEY_BYTES
        )
        for chunk in chunks
    ]
    return np.concatenate([np.empty(0, np.uint8), *parts]).reshape(-1, KEY_BYTES)


def key_array(values: NDArray[np.uint8]) -> pa.Array:
    """Row keys, or other hashes of their size, as an Arrow column."""
    content = pa.py_buffer(np.ascontiguousarray(values, np.uint8).tobytes())
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(KEY_BYTES), len(values), [None, content])


def folds(table: pa.Table) -> NDArray[np.uint8]:
    """Fold code of each row."""
    return np.asarray(table[FOLD].to_numpy(zero_copy_only=False), dtype=np.uint8)


def units(table: pa.Table) -> NDArray[np.uint64] | None:
    """Unit of each row; None where each row is its own."""
    if UNIT not in table.schema.names:
        return None
    return np.asarray(table[UNIT].to_numpy(zero_copy_only=False), dtype=np.uint64)
