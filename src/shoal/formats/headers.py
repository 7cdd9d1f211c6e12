"""Headers of files: their records, read without a row or a weight."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import NonNegativeInt
from typing_extensions import TypedDict

from shoal.errors import CorruptError
from shoal.formats.documents.ledger import Artifact
from shoal.formats.hashing import json_hash
from shoal.formats.json_file import LONGEST, parse_json, read_json
from shoal.formats.stored import as_kind, naming

if TYPE_CHECKING:
    from pathlib import Path

_LENGTH_BYTES = 8


@dataclass(frozen=True)
class Tensor:
    """A tensor in a file.

    Attributes:
        name: Its name.
        dtype: Its type, as safetensors spells it.
        shape: Its shape.
        hash: As :func:`shoal.formats.fitted_state.tensor_hash` makes it.
        bytes: Its size.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    hash: str
    bytes: int


@dataclass(frozen=True)
class Weights:
    """The header of a file that :func:`shoal.formats.fitted_state.save_state` wrote.

    Attributes:
        tensors: Its tensors, in order of name. Their hashes are taken as recorded, not checked.
        meta: The JSON values kept with them.
        made_from: Hashes of the files that they were made from, by path.
    """

    tensors: tuple[Tensor, ...]
    meta: dict[str, Any]
    made_from: dict[str, str]


class _Entry(TypedDict):
    dtype: str
    shape: list[NonNegativeInt]
    data_offsets: tuple[NonNegativeInt, NonNegativeInt]


class _Zarr(TypedDict):
    attributes: Artifact


class _Record(Artifact):
    hashes: dict[str, str]
    meta: dict[str, Any]


def read_weights(path: Path) -> Weights:
    """The header of a safetensors file.

    Raises:
        CorruptError: It is not one of Shoal's.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            if not 0 < length <= path.stat().st_size - _LENGTH_BYTES:
                raise ValueError("its length is not that of a header")
            if length > LONGEST:
                raise ValueError(f"it is longer than {LONGEST >> 20} MiB")
            header = parse_json(file.read(length), path, dict[str, Any])
        record = parse_json(header.pop("__metadata__")["shoal"], path, _Record)
        with naming(path):
            entries = as_kind(dict[str, _Entry], header)
        tensors = tuple(
            Tensor(
                name,
                entry["dtype"],
                tuple(entry["shape"]),
                record["hashes"][name],
                entry["data_offsets"][1] - entry["data_offsets"][0],
            )
            for name, entry in sorted(entries.items())
        )
        made = record["made_from"]["files"] if "made_from" in record else {}
        return Weights(tensors, record["meta"], made)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise CorruptError(f"{path}: its header does not read ({reason})") from None


def weights_id(path: Path) -> str:
    """SHA-256 over the names and hashes of a file's tensors: the same where these are.

    Args:
        path: A file that :func:`shoal.formats.fitted_state.save_state` wrote.

    Raises:
        CorruptError: It is not one of Shoal's.
    """
    return json_hash({tensor.name: tensor.hash for tensor in read_weights(path).tensors})


def read_made_from(path: Path) -> dict[str, str]:
    """Hashes of the files that an artifact was made from, by path; empty without a record.

    Args:
        path: JSON, Parquet, zarr zip or safetensors.

    Raises:
        CorruptError: It does not read.
    """
    if path.suffix == ".json":
        content = read_json(path, Any)
        record: Artifact = content if isinstance(content, dict) else {}  # type: ignore[assignment]
    elif path.suffix == ".safetensors":
        return read_weights(path).made_from
    else:
        record = _record(path)
    return record["made_from"]["files"] if "made_from" in record else {}


def _record(path: Path) -> Artifact:
    """The record of a file of rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if path.suffix == ".parquet":
            metadata = pq.read_metadata(path).metadata or {}
            return parse_json(metadata.get(b"shoal", b"{}"), path, Artifact)
        with zipfile.ZipFile(path) as archive:
            return parse_json(archive.read("zarr.json"), path, _Zarr)["attributes"]
    except (pa.ArrowInvalid, zipfile.BadZipFile, KeyError, ValueError) as error:
        raise CorruptError(f"{path}: does not read ({error})") from None
