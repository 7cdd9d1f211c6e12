"""Identities: of settings, of rows, and of multisets of rows."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.formats.kinds import TRAIN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]

KEY_BYTES = 16
ROW_HASH_BYTES = 32
_LIMBS = ROW_HASH_BYTES // 4


def canonical_json(content: Any) -> str:  # noqa: ANN401 - any JSON value
    """JSON text that is the same for equal content: sorted keys, no spaces."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def json_hash(content: Any) -> str:  # noqa: ANN401 - any JSON value
    """SHA-256 of content as canonical JSON, hexadecimal."""
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


def settings_id(*content: Any) -> str:  # noqa: ANN401 - any JSON value
    """Identity of settings: ten hexadecimal digits of a hash over their canonical JSON."""
    return json_hash(content)[:10]


def rows_id(*content: Any) -> str:  # noqa: ANN401 - any JSON value
    """Identity of rows: 24 hexadecimal digits of a hash over their digests, as canonical JSON."""
    return json_hash(content)[:24]


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_rows(columns: Mapping[str, NDArray[Any] | pa.ChunkedArray], digest_bytes: int) -> Bytes:
    """Hash each row: one BLAKE2b over the canonical bytes of its values.

    Args:
        columns: Name to array; first dimension rows. Arrow columns and object arrays hold strings,
            null or ``None`` where missing. Single numbers are hashed as float64, whatever their
            type, so that 1 and 1.0 agree; arrays of numbers are hashed as they are, so that rows
            agree where their type does. All NaN agree, and so do 0.0 and -0.0. A text counts by a
            digest of its own, so that all rows are equally long.
        digest_bytes: Length of each hash.

    Returns:
        uint8 ``(rows, digest_bytes)``. Independent of the order of the columns.
    """
    names = sorted(columns)
    parts = [_column_bytes(columns[name]) for name in names]
    return _hashed(np.concatenate(parts, axis=1), names, digest_bytes)


def _hashed(rows: Bytes, salt: Any, size: int) -> Bytes:  # noqa: ANN401 - any JSON value
    """Hash each row, behind a salt; uint8 ``(rows, size)``."""
    seed = hashlib.blake2b(canonical_json(salt).encode(), digest_size=size)
    content, width = rows.tobytes(), rows.shape[1]
    out = bytearray()
    for start in range(0, len(content), width):  # faster than rows of an array
        digest = seed.copy()
        digest.update(content[start : start + width])
        out += digest.digest()
    return np.frombuffer(bytes(out), dtype=np.uint8).reshape(len(rows), size)


def _column_bytes(values: NDArray[Any] | pa.ChunkedArray) -> Bytes:
    """One column as uint8 ``(rows, width)``."""
    if not isinstance(values, np.ndarray):
        return _text_bytes(values)
    if values.dtype == object:
        import pyarrow as pa

        return _text_bytes(pa.chunked_array([pa.array(values, pa.string())]))
    single = values.ndim == 1
    numbers = np.ascontiguousarray(
        values, dtype="<f8" if single else values.dtype.newbyteorder("<")
    )
    if numbers.dtype.kind == "f":
        numbers = numbers + numbers.dtype.type(0)
        numbers[np.isnan(numbers)] = np.nan
    return numbers.reshape(len(values), math.prod(values.shape[1:])).view(np.uint8)


def _text_bytes(values: pa.ChunkedArray) -> Bytes:
    """A column of strings by digests of 16 bytes, worked out once for those that are equal."""
    encoded = values.combine_chunks().dictionary_encode()
    distinct = [*encoded.dictionary.to_pylist(), None]
    digests = np.frombuffer(b"".join(map(_text_digest, distinct)), np.uint8).reshape(-1, 16)
    hashed: Bytes = digests[np.asarray(encoded.indices.fill_null(len(distinct) - 1))]
    return hashed


def _text_digest(value: str | None) -> bytes:
    content = b"\0" if value is None else b"\1" + str(value).encode()
    return hashlib.blake2b(content, digest_size=16).digest()


def uniform(keys: Bytes, *salt: Any) -> NDArray[np.float64]:  # noqa: ANN401 - any JSON value
    """A number in [0, 1) a row, a function of its key and the salt alone.

    Args:
        keys: Row keys, uint8 ``(rows, KEY_BYTES)``.
        salt: What distinguishes this draw from others: a seed, a purpose.
    """
    return _unit(derived(keys, 8, *salt).tobytes())


def uniform_streams(
    keys: Bytes,
    counts: Iterable[int],
    *salt: Any,  # noqa: ANN401 - any JSON value
) -> Iterator[NDArray[np.float64]]:
    """As many numbers in [0, 1) as asked for a row, a function of its key and the salt alone.

    Args:
        keys: Row keys, uint8 ``(rows, KEY_BYTES)``.
        counts: Numbers for each row.
        salt: What distinguishes these draws from others.
    """
    seed = hashlib.shake_128(canonical_json(salt).encode())
    for key, count in zip(np.ascontiguousarray(keys), counts, strict=True):
        stream = seed.copy()
        stream.update(key.data)
        yield _unit(stream.digest(8 * count))


def derived(keys: Bytes, size: int, *salt: Any) -> Bytes:  # noqa: ANN401 - any JSON value
    """Other bytes for each row, a function of its key and the salt alone.

    Args:
        keys: Row keys, uint8 ``(rows, any)``.
        size: Bytes a row.
        salt: What distinguishes these bytes from others.

    Returns:
        uint8 ``(rows, size)``.
    """
    return _hashed(keys, salt, size)


def row_hashes(sources: Bytes, folds: Bytes, ids: Iterable[NDArray[Any]], salt: str) -> Bytes:
    """Hash of each row: of its source, of the salt and, outside of the training fold, of its ids.

    It begins with the source, so that the order of rows, in which training visits them, is that
    of the data, whatever the code. The rest is made anew whenever rows are read, and so it is
    mixed by arithmetic: what it is made from are hashes already.

    Args:
        sources: Hash of what each row is made from, uint8 ``(rows, KEY_BYTES)``.
        folds: Fold codes, uint8 ``(rows,)``.
        ids: What tells rows of equal content apart, all of whole words of eight bytes a row: keys,
            and units where there are some. Training reads none, and so its rows' hashes have none.
        salt: Identity of what makes rows from their sources, 32 hexadecimal digits.

    Returns:
        uint8 ``(rows, ROW_HASH_BYTES)``.

    Source:
        The mixing is the end of MurmurHash3, Appleby 2011: one to one, each bit changes half of
        the bits.
    """
    mixed = np.tile(np.frombuffer(bytes.fromhex(salt), "<u8"), (len(sources), 1))
    others = folds != TRAIN
    mixed = _mix(mixed, _words(sources))
    mixed[others] = _mix(mixed[others], *(_words(values[others]) for values in ids))
    return np.concatenate([sources, mixed.view(np.uint8)], axis=1)


def _words(values: NDArray[Any]) -> NDArray[np.uint64]:
    """The bytes of each row as numbers, ``(rows, words)``."""
    wide = values.reshape(len(values), math.prod(values.shape[1:]))
    return np.ascontiguousarray(wide).view("<u8")


def _mix(mixed: NDArray[np.uint64], *words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Take in words, one after the other; changes and returns ``mixed``, ``(rows, 2)``."""
    for word in itertools.chain.from_iterable(each.T for each in words):
        mixed ^= word[:, None]
        for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
            mixed ^= mixed >> np.uint64(33)
            mixed *= np.uint64(factor)
        mixed ^= mixed >> np.uint64(33)
    return mixed


def _unit(content: bytes) -> NDArray[np.float64]:
    """Eight bytes each to a number in [0, 1)."""
    integers = np.frombuffer(content, dtype="<u8")
    return (integers >> np.uint64(11)).astype(np.float64) * 2.0**-53


def multiset_sum(hashes: Bytes) -> int:
    """Sum of row hashes modulo 2**256: equal for equal multisets of rows, in any order.

    Args:
        hashes: uint8 ``(rows, ROW_HASH_BYTES)``.

    Source:
        AdHash, Bellare and Micciancio 1997.
    """
    limbs = np.ascontiguousarray(hashes).view("<u4").reshape(-1, _LIMBS)
    sums = limbs.sum(axis=0, dtype=np.uint64) if len(limbs) else np.zeros(_LIMBS, np.uint64)
    total = sum(int(limb) << (32 * place) for place, limb in enumerate(sums))
    return total % (1 << 256)


def multiset_digest(total: int, rows: int, lineage: str) -> str:
    """Digest of a multiset of rows: 24 hexadecimal digits over its sum, count and lineage."""
    content = f"{total:064x}:{rows}:{lineage}"
    return hashlib.sha256(content.encode()).hexdigest()[:24]


def multiset_change(before: Bytes, after: Bytes) -> tuple[int, int]:
    """Rows that are more often in ``after``, and rows that are more often in ``before``.

    Args:
        before: Row hashes, uint8 ``(rows, ROW_HASH_BYTES)``.
        after: The same.

    Returns:
        Rows added and rows removed, each counted as often as it came or went.
    """
    both = np.ascontiguousarray(np.concatenate([before, after]))
    flat = both.view(f"V{both.shape[1]}").ravel()
    weight = np.concatenate([-np.ones(len(before), np.int64), np.ones(len(after), np.int64)])
    _, place = np.unique(flat, return_inverse=True)
    change = np.bincount(place, weights=weight, minlength=1)
    return int(change[change > 0].sum()), int(-change[change < 0].sum())


def row_order(hashes: Bytes) -> NDArray[np.int64]:
    """Canonical order of rows: ascending by hash. int64 ``(rows,)``."""
    flat = np.ascontiguousarray(hashes)
    return np.argsort(flat.view(f"V{flat.shape[1]}").ravel(), kind="stable").astype(np.int64)


def copies(identity: Bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number of each row's content, and how many rows of the same content stand before it.

    Args:
        identity: What is equal for rows of equal content, uint8 ``(rows, any)``.
    """
    order = row_order(identity)
    ordered = identity[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    content, copy = np.empty_like(order), np.empty_like(order)
    number = np.cumsum(new) - 1
    content[order] = number
    copy[order] = np.arange(len(order)) - np.flatnonzero(new)[number]
    return content, copy


def more_often(ours: Bytes, theirs: Bytes) -> NDArray[np.bool_]:
    """Which of our rows are there more often than in theirs: of five copies against three, two.

    Args:
        ours: What is equal for rows of equal content, uint8 ``(rows, any)``.
        theirs: The same.

    Returns:
        bool ``(rows,)``; of copies the last ones.
    """
    content, copy = copies(np.concatenate([theirs, ours]))
    count = np.bincount(content[: len(theirs)], minlength=len(content))[content[len(theirs) :]]
    # A content's copies are counted through theirs first: there are ``count`` before ours.
    return np.asarray(copy[len(theirs) :] - count >= count)
