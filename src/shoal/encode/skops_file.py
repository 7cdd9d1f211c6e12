"""A fitted estimator of a class that the user names, by skops: no pickle, equal bytes if equal.

The import of skops takes twice as long as torch's, so Shoal's own encoders keep their state
otherwise, see :mod:`shoal.encode.column`.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

from shoal.errors import CorruptError, ModelError
from shoal.formats.json_file import parse_json
from shoal.settings.targets import check_trust, import_target

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_SCHEMA = "schema.json"
_GROWTH = 4
_ALWAYS = 1 << 26
"""Bytes that any file may take in memory."""
_LONGEST = 1 << 25
"""Most bytes of a schema."""
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


def dumps(estimator: object, place: str) -> bytes:
    """A fitted estimator as the bytes of a skops file.

    Args:
        estimator: The estimator.
        place: Begins an error.

    Raises:
        ModelError: It holds something that cannot be written without pickle.
    """
    import skops.io

    try:
        raw = skops.io.dumps(estimator)
    except Exception as error:  # a user's class may hold anything
        problem = f"an encoder cannot be kept without pickle: {_brief(error)}"
        raise ModelError(f"{place}: {problem}") from error
    return _canonical(raw)


def types_to_trust(raw: bytes) -> list[str]:
    """Types in an estimator of :func:`dumps` that :func:`parse` loads only if they are trusted."""
    import skops.io

    return sorted(skops.io.get_untrusted_types(data=raw))


def _canonical(raw: bytes) -> bytes:
    """The same skops file with nothing in it that differs from process to process.

    Members named by memory address are named by content; addresses in the schema, which say no
    more than that two parts were one object, go; times are fixed.
    """
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(raw)) as old, zipfile.ZipFile(out, "w") as new:
        members, names = {}, {}
        for name in old.namelist():
            content = old.read(name)
            if name == _SCHEMA:
                continue
            suffix = name.rpartition(".")[2]
            names[name] = f"{hashlib.sha256(content).hexdigest()[:32]}.{suffix}"
            members[names[name]] = content
        schema = json.loads(old.read(_SCHEMA), object_hook=lambda node: _anonymous(node, names))
        members[_SCHEMA] = json.dumps(schema).encode()
        for name in sorted(members):
            new.writestr(zipfile.ZipInfo(name, _ZIP_TIME), members[name])
    return out.getvalue()


def _anonymous(node: dict[str, object], names: dict[str, str]) -> dict[str, object]:
    """A schema node without its address, its member's name replaced."""
    # scikit-learn's text vectorizers keep an address too, to skip a check the second time.
    node.pop("_stop_words_id", None)
    if "__loader__" in node:
        node.pop("__id__", None)
        file = node.get("file")
        if isinstance(file, str):
            node["file"] = names.get(file, file)
    return node


def parse(raw: bytes, place: str, trusted: Sequence[str] = ()) -> Any:  # noqa: ANN401 - any class
    """The estimator that :func:`dumps` wrote.

    Args:
        raw: Its bytes.
        place: Begins each error.
        trusted: Types, or modules exactly as types name them, that may be imported and built
            beyond those of numpy, scipy and scikit-learn that skops knows.

    Raises:
        CorruptError: It is not a skops file, or takes much more memory than the file.
        ModelError: It needs a type that is not trusted, or one that does not import.
    """
    import skops.io

    try:
        _check_size(raw, place)
        needed = skops.io.get_untrusted_types(data=raw)
    except CorruptError:
        raise
    except Exception as error:  # skops raises whatever its parsers raise
        raise CorruptError(f"{place}: not readable as skops ({_brief(error)})") from None
    for kind in needed:
        check_trust(f"{place}: a part of it", kind, trusted)
    for kind in needed:
        import_target(kind, "state")
    try:
        return skops.io.loads(raw, trusted=needed)
    except ImportError as error:
        raise ModelError(f"{place}: a type in it does not import: {_brief(error)}") from error
    except Exception as error:  # as above
        raise CorruptError(f"{place}: not readable as skops ({_brief(error)})") from error


def _check_size(raw: bytes, place: str) -> None:
    """Refuse a file that unpacks to much more than it is, or names its arrays again and again.

    :func:`dumps` compresses nothing, except that scipy compresses its sparse matrices, which are
    zip files within the file.
    """
    with zipfile.ZipFile(io.BytesIO(raw)) as file:
        members = file.infolist()
        for member in members:
            if member.compress_type != zipfile.ZIP_STORED:
                raise CorruptError(f"{place}: {member.filename!r} is compressed, as none here is")
        if sum(member.file_size for member in members) > len(raw):
            raise CorruptError(f"{place}: its parts are longer than the file")
        sizes = {member.filename: _unpacked(file, member.filename) for member in members}
        schema = parse_json(
            file.read(_SCHEMA), f"{place}: {_SCHEMA}", dict[str, object], limit=_LONGEST
        )
    total = sum(sizes.get(name, 0) for name in _named(schema))
    if total > _GROWTH * len(raw) + _ALWAYS:
        raise CorruptError(
            f"{place}: its {len(raw)} bytes would take {total} in memory, more than "
            f"{_GROWTH} times as many"
        )


def _unpacked(file: zipfile.ZipFile, name: str) -> int:
    """Bytes of a part in memory."""
    content = file.read(name)
    if not content.startswith((b"PK\3\4", b"PK\5\6")):
        return len(content)
    with zipfile.ZipFile(io.BytesIO(content)) as inner:
        return sum(member.file_size for member in inner.infolist())


def _named(schema: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON value
    """Names of the parts that a schema's nodes read, with repetitions."""
    nodes = [schema]
    while nodes:
        node = nodes.pop()
        if isinstance(node, dict):
            if "__loader__" in node and isinstance(node.get("file"), str):
                yield node["file"]
            nodes += node.values()
        elif isinstance(node, list):
            nodes += node


def _brief(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
