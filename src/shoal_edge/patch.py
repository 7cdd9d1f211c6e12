"""A patch: one file that turns one pool's files into another's, to the bit.

It is a safetensors file, compressed by zstandard. In its header, under ``shoal_patch``, is JSON:
``format``; ``base`` and ``target``, SHA-256 of the manifests before and after; and ``files``, those
that change, in order: name, SHA-256 of the content after, and length of its text in the patch. The
manifest comes last. Its tensors are streams of bytes:

- ``texts``: the changed files' texts in order, compressed by zstandard with the texts before as
  dictionary. The text of a JSON file is all of it, that of a safetensors file its header. Digests
  are taken out (:mod:`shoal_edge.texts`): ``digests.known``, ``digests.new``.
- ``codings``: a byte for each tensor of each changed safetensors file: as before, steps,
  differences, new, near the base's of the same name (:mod:`shoal_edge.weights`).
- ``exponents``, ``steps.…``: steps on a grid; ``bits.…``: differences of bit patterns
  (:mod:`shoal_edge.integers`).

A long stream is compressed by itself, for one code a stream, and has ``.zst`` behind its name.

Integers alone are in it, and no number is multiplied: what is rebuilt has the same bits everywhere.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import zstandard
from safetensors import SafetensorError
from safetensors.numpy import load, save

from shoal_edge.errors import PatchError
from shoal_edge.integers import Reader, Writer
from shoal_edge.tensor_file import LENGTH, split_file, tensors_of
from shoal_edge.texts import put_digests, with_digests, without_digests
from shoal_edge.weights import NEAR, put_tensors, take_tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from shoal_edge.integers import Bytes
    from shoal_edge.tensor_file import Tensor
    from shoal_edge.weights import Old

FORMAT = 1
MANIFEST = "manifest.json"
_BASE = "base.safetensors"
"""The model from which others are trained, so that a new one is near it."""
_RECORD = "shoal_patch"
_LEVEL = 19
_LONG = 1 << 13
_PACKED = ".zst"
_ROOM = 1 << 26
_TIMES = 4
"""Unpacked, a patch takes less than 64 MiB and four times its base, or is not worth it."""

_NAME = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]*/)?[A-Za-z0-9_][A-Za-z0-9_.-]*")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_DAMAGE = (
    *(ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, RecursionError),
    *(MemoryError, SafetensorError, zstandard.ZstdError),
)
"""Whatever libraries say of bytes that are none of theirs."""


def sha256(content: bytes) -> str:
    """SHA-256 of bytes, hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def files_of(manifest: bytes) -> dict[str, str]:
    """SHA-256 of each file that a manifest lists, by name.

    Raises:
        PatchError: It is no manifest, or a name leads out of the folder.
    """
    try:
        files = _content(manifest)["files"]
        for name, digest in files.items():
            if not _NAME.fullmatch(name) or not _DIGEST.fullmatch(digest) or name == MANIFEST:
                raise PatchError(f"{MANIFEST}: lists {name[:80]!r}, which no pool's file is called")
    except _DAMAGE as error:
        raise PatchError(f"{MANIFEST}: not a pool's manifest ({error})") from None
    return dict(files)


def _content(manifest: bytes) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(manifest)
    return content


def _check_format(before: bytes, after: bytes) -> None:
    """Refuse a pool that whoever reads the one before may not know how to read.

    Raises:
        PatchError: The manifests are of two formats.
    """
    formats = [_content(each).get("format") for each in (before, after)]
    if formats[0] != formats[1]:
        raise PatchError(f"from format {formats[0]} to {formats[1]}; it takes the whole pool")


@dataclass(frozen=True)
class Change:
    """A file that a patch changes.

    Attributes:
        name: Its name.
        sha256: SHA-256 of its content after.
        text: Length of its text in the patch.
    """

    name: str
    sha256: str
    text: int


@dataclass(frozen=True)
class Patch:
    """A patch, read and looked at, not yet applied.

    Attributes:
        base: SHA-256 of the manifest of the pool that it is for.
        target: The same of the pool that it makes.
        changes: Files that it changes, the manifest last.
        streams: Streams of bytes by name.
    """

    base: str
    target: str
    changes: tuple[Change, ...]
    streams: Mapping[str, Bytes]

    @classmethod
    def parse(cls, content: bytes, limit: int) -> Patch:
        """Read a patch.

        Args:
            content: The file's bytes.
            limit: Most bytes that it may take when it is unpacked.

        Raises:
            PatchError: It is none, or damaged, or of another format.
        """
        try:
            plain = _unpacked(content, None, limit)
            header, _ = split_file(plain)
            record = json.loads(json.loads(header)["__metadata__"][_RECORD])
            if record["format"] != FORMAT:
                raise PatchError(f"format {record['format']!r}, this version reads {FORMAT}")
            changes = tuple(Change(*each) for each in record["files"])
            streams = _streams(load(plain), limit)
            base, target = record["base"], record["target"]
            names = [each.name for each in changes]
            digests = (base, target, *(each.sha256 for each in changes))
            sound = (
                all(_NAME.fullmatch(name) for name in names)
                and all(_DIGEST.fullmatch(digest) for digest in digests)
                and all(type(each.text) is int and each.text >= 0 for each in changes)
                and len(set(names)) == len(names)
                and names[-1] == MANIFEST
                and changes[-1].sha256 == target
            )
        except _DAMAGE as error:
            raise PatchError(f"not a patch, or damaged ({error})") from None
        if not sound:
            raise PatchError("not a patch, or damaged (its list of files is none)")
        return cls(base, target, changes, streams)


def _streams(arrays: Mapping[str, Bytes], limit: int) -> dict[str, Bytes]:
    """The streams that a patch's tensors are, which together may take so many bytes."""
    found: dict[str, Bytes] = {}
    for name, array in arrays.items():
        if array.dtype != np.uint8 or array.ndim != 1:
            raise PatchError(f"stream {name[:80]!r} is none")
        plain = array
        if name.endswith(_PACKED):
            plain = np.frombuffer(_unpacked(array.tobytes(), None, limit), np.uint8)
        limit -= len(plain)
        found[name.removesuffix(_PACKED)] = plain
    return found


def _tensors(streams: Mapping[str, Bytes]) -> dict[str, Bytes]:
    """A patch's tensors, from its streams."""
    found: dict[str, Bytes] = {}
    for name, stream in streams.items():
        packed = _packed(stream.tobytes(), None) if len(stream) > _LONG else b""
        is_shorter = 0 < len(packed) < len(stream)
        key = f"{name}{_PACKED}" if is_shorter else name
        found[key] = np.frombuffer(packed, np.uint8) if is_shorter else stream
    return found


def room(size: int) -> int:
    """Most bytes that a patch of a pool may take when it is unpacked.

    Args:
        size: Bytes of the pool's files.
    """
    return _ROOM + _TIMES * size


def make(base: Mapping[str, bytes], target: Mapping[str, bytes]) -> bytes:
    """A patch that turns one pool's files into another's; the same files give the same bytes.

    Args:
        base: Content of each file before, by name, the manifest among them.
        target: The same after.

    Raises:
        PatchError: One is too different from the other for a patch.
    """
    for pool in (base, target):
        if pool.keys() - {MANIFEST} != files_of(pool[MANIFEST]).keys():
            raise PatchError(f"{MANIFEST}: lists other files than there are")
    _check_format(base[MANIFEST], target[MANIFEST])
    names = sorted(name for name in target if base.get(name) != target[name] and name != MANIFEST)
    out, texts, dictionary, changes = Writer(), [], [], list[Change]()
    similar = {} if _BASE in names else _Was.of(_BASE, base.get(_BASE)).tensors
    for name in [*names, MANIFEST]:
        content = target[name]
        was = _Was.of(name, base.get(name))
        header, data = _text_of(name, content)
        text, digests = without_digests(header)
        known = [*was.digests, *(each.sha256 for each in changes)]
        if data is not None:
            tensors = tensors_of(header)
            put_tensors(out, tensors, data, was.tensors, similar)
            known = [*_hashes(tensors, [data[t.start : t.stop] for t in tensors]), *was.digests]
        put_digests(out, digests, known)
        texts.append(text)
        dictionary.append(was.text)
        changes.append(Change(name, sha256(content), len(text)))
    packed = _packed(b"".join(texts), b"".join(dictionary))
    out.put("texts", np.frombuffer(packed, np.uint8))
    record = {
        "format": FORMAT,
        "base": sha256(base[MANIFEST]),
        "target": sha256(target[MANIFEST]),
        "files": [[each.name, each.sha256, each.text] for each in changes],
    }
    said = json.dumps(record, separators=(",", ":"))
    streams, limit = out.streams(), room(sum(map(len, base.values())))
    plain = save(_tensors(streams), metadata={_RECORD: said})
    if (size := len(plain) + sum(map(len, streams.values()))) > limit:
        raise PatchError(f"it takes {size} bytes, {limit} are the most; ship the whole pool")
    patch = _packed(plain, None)
    made = dict(rebuilt(Patch.parse(patch, limit), base.__getitem__))
    if {**base, **made} != {**base, **target}:
        raise PatchError("a file's header is such that no patch tells it; ship the whole pool")
    return patch


def rebuilt(patch: Patch, read: Callable[[str], bytes]) -> Iterator[tuple[str, bytes]]:
    """The files that a patch changes, each checked, the manifest last.

    Args:
        patch: The patch.
        read: Gives the content of a file of the pool before, by name.

    Raises:
        PatchError: It is for another pool, or damaged.
    """
    manifest = read(MANIFEST)
    if sha256(manifest) != patch.base:
        raise PatchError(f"for a pool with manifest {patch.base}, this one has {sha256(manifest)}")
    before = files_of(manifest)
    try:
        yield from _rebuilt(patch, read, before)
    except _DAMAGE as error:
        raise PatchError(f"damaged ({type(error).__name__}: {error})") from None


def _rebuilt(
    patch: Patch, read: Callable[[str], bytes], before: Mapping[str, str]
) -> Iterator[tuple[str, bytes]]:
    def content_before(name: str) -> bytes | None:
        return read(name) if name in before or name == MANIFEST else None

    lengths = [change.text for change in patch.changes]
    dictionary = b"".join(
        _Was.of(change.name, content_before(change.name)).text for change in patch.changes
    )
    streams = Reader(patch.streams)
    packed = streams.take("texts", len(patch.streams["texts"])).tobytes()
    texts = _unpacked(packed, dictionary, sum(lengths))
    if len(texts) != sum(lengths):
        raise PatchError("damaged (its texts are of another length)")
    start, done = 0, list[str]()
    asks = (patch.streams.get("codings", np.empty(0)) == NEAR).any()
    similar = _Was.of(_BASE, content_before(_BASE) if asks else None).tensors
    for change in patch.changes:
        text = texts[start : start + change.text]
        start += change.text
        was = _Was.of(change.name, content_before(change.name))
        if _has_tensors(change.name):
            content = _tensor_file(streams, text, was, similar)
        else:
            content = with_digests(streams, text, [*was.digests, *done])
        if sha256(content) != change.sha256:
            raise PatchError(f"{change.name}: does not come out as the patch says; it is damaged")
        if change.name == MANIFEST:
            streams.end()
            after = files_of(content)
            changed = {each.name: each.sha256 for each in patch.changes[:-1]}
            expected = {**{n: before[n] for n in before if n in after}, **changed}
            if after != expected:
                raise PatchError(f"{MANIFEST}: lists other files than the patch makes")
            _check_format(read(MANIFEST), content)
        done.append(change.sha256)
        yield change.name, content


def _tensor_file(streams: Reader, text: bytes, was: _Was, similar: Old) -> bytes:
    # The tensors are known by the text with marks: digests are in strings beside them alone.
    tensors = tensors_of(text.replace(b"\0", b""))
    parts = take_tensors(streams, tensors, was.tensors, similar)
    known = [*_hashes(tensors, parts), *was.digests]
    header = with_digests(streams, text, known)
    return b"".join([len(header).to_bytes(LENGTH, "little"), header, *parts])


@dataclass(frozen=True)
class _Was:
    """A file before: its text without digests, these, and its tensors; empty where it is new."""

    text: bytes
    digests: list[str]
    tensors: Old

    @classmethod
    def of(cls, name: str, content: bytes | None) -> _Was:
        if content is None:
            return cls(b"", [], {})
        header, data = _text_of(name, content)
        tensors = {} if data is None else {t.name: (t, data) for t in tensors_of(header)}
        return cls(*without_digests(header), tensors)


def _has_tensors(name: str) -> bool:
    return name.endswith(".safetensors")


def _text_of(name: str, content: bytes) -> tuple[bytes, memoryview | None]:
    """The text of a file, and its data where it has tensors."""
    return split_file(content) if _has_tensors(name) else (content, None)


def _hashes(tensors: list[Tensor], parts: list[Any]) -> list[str]:
    """Hashes of tensors that Shoal's files hold."""
    found = (tensor.hash(bytes(part)) for tensor, part in zip(tensors, parts, strict=True))
    return [digest for digest in found if digest is not None]


def _packed(content: bytes, dictionary: bytes | None) -> bytes:
    size = len(dictionary or b"")
    parameters = zstandard.ZstdCompressionParameters.from_level(
        _LEVEL, source_size=len(content), dict_size=size, write_checksum=dictionary is None
    )
    known = _dictionary(dictionary)
    return zstandard.ZstdCompressor(dict_data=known, compression_params=parameters).compress(
        content
    )


def _unpacked(content: bytes, dictionary: bytes | None, limit: int) -> bytes:
    """Unpack one whole frame, of a known and bounded size.

    Raises:
        PatchError: It is longer.
        ZstdError: It is no frame.
    """
    size = zstandard.frame_content_size(content)
    if size < 0 or size > limit:
        raise PatchError(f"not a patch, or damaged ({size} bytes unpacked, {limit} are the most)")
    reader = zstandard.ZstdDecompressor(dict_data=_dictionary(dictionary))
    return reader.decompress(content, allow_extra_data=False)


def _dictionary(content: bytes | None) -> zstandard.ZstdCompressionDict | None:
    if not content:
        return None
    return zstandard.ZstdCompressionDict(content, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
