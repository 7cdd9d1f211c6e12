"""Training rows kept in the pool store, for models that are trained again instead of stored."""

from __future__ import annotations

import io
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.errors import CorruptError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from shoal.model_store import PoolStore

_BLOCK_ROWS = 128
_PREFIX = "rows-"
_ARRAYS = ("x", "y", "key")


def rows_name(digest: str) -> str:
    """Under which name the store has the training rows with a digest."""
    return f"{_PREFIX}{digest}"


def is_rows(name: str) -> bool:
    """Whether the store has rows under this name, and no model."""
    return name.startswith(_PREFIX)


def read_blocks(index_path: Path, digest: str) -> dict[str, NDArray[np.uint8]]:
    """The rows that a specialist is trained on, in blocks of about 128.

    A block holds rows whose hashes begin alike, so a row that changes changes two blocks, and the
    store has the others already. One block after the other, rows are in canonical order.

    Args:
        index_path: A partition index in which a partition has this digest.
        digest: Of the partition's training rows.

    Returns:
        Blocks by their place, in order of the text: each the bytes, uint8, of compressed ``x``,
        ``y`` and short keys. Encoded rows repeat few values, so that is much less than the store's
        codecs, which are made for weights, leave of them.

    Raises:
        ShoalError: The index or a row store is missing, or was changed.
    """
    from shoal.formats.row_store import known_labels
    from shoal.partitions.reader import Index

    index = Index(index_path)
    rows = index.specialist_rows(index.partition_with(digest), ("x", "y", "key"))
    rows["key"] = short_keys(rows["key"])
    known = known_labels(rows["y"])
    first = rows["hash"][known][:, :2].astype(np.int64)
    blocks = 1 << max(0, (len(first) // _BLOCK_ROWS).bit_length() - 1)
    block = (first[:, 0] * 256 + first[:, 1]) * min(blocks, 1 << 16) >> 16
    starts = np.flatnonzero(np.diff(block, prepend=-1))
    parts = [np.split(rows[name][known], starts[1:].tolist()) for name in _ARRAYS]
    return {
        f"{place:05d}": _packed(*arrays)
        for place, *arrays in zip(block[starts].tolist(), *parts, strict=True)
    }


def short_keys(keys: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """What tells rows apart well enough: the first half of each key.

    Args:
        keys: uint8 ``(rows, KEY_BYTES)``.
    """
    return np.ascontiguousarray(keys[:, :8]).view("<u8")[:, 0]


def joined(blocks: Mapping[str, NDArray[np.uint8]]) -> dict[str, NDArray[Any]]:
    """``x``, ``y`` and short ``key`` of the rows that :func:`read_blocks` read.

    Raises:
        CorruptError: They are none.
    """
    try:
        parts = [_unpacked(blocks[place]) for place in sorted(blocks)]
        arrays = [np.concatenate(each) for each in zip(*parts, strict=True)]
    except (ValueError, EOFError, MemoryError, zlib.error) as error:
        raise CorruptError(f"training rows in the pool store do not read ({error})") from None
    return dict(zip(_ARRAYS, arrays, strict=True))


def _packed(*parts: NDArray[Any]) -> NDArray[np.uint8]:
    file = io.BytesIO()
    for part in parts:
        np.save(file, part, allow_pickle=False)
    return np.frombuffer(zlib.compress(file.getvalue()), np.uint8)


def _unpacked(block: NDArray[np.uint8]) -> list[NDArray[Any]]:
    file = io.BytesIO(zlib.decompress(block.tobytes()))
    return [np.load(file, allow_pickle=False) for _ in _ARRAYS]


def drop_unneeded(store: PoolStore) -> None:
    """Remove rows that no recipe names."""
    store.remove_chosen(_unneeded)


def _unneeded(records: Mapping[str, Mapping[str, Any]]) -> set[str]:
    needed = {each["recipe"]["rows"] for each in records.values() if "recipe" in each}
    return {name for name in records if is_rows(name)} - needed
