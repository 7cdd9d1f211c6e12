"""Fitted estimators in one skops file: no pickle, equal content is equal bytes."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

from shoal.errors import CorruptError, ModelError, SourceError
from shoal.files import replacing
from shoal.targets import check_trust, import_target

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_SCHEMA = "schema.json"
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


def save(path: Path, content: dict[str, Any]) -> list[str]:
    """Write plain values and estimators, atomically.

    Returns:
        Types in it that :func:`load` loads only if they are named as trusted.

    Raises:
        ModelError: An estimator holds something that cannot be written without pickle.
    """
    import skops.io

    try:
        raw = skops.io.dumps(content)
    except Exception as error:  # a user's class may hold anything
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise ModelError(f"{path}: an encoder cannot be kept without pickle: {text}") from error
    with replacing(path) as aside:
        aside.write_bytes(_canonical(raw))
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


def _anonymous(node: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """A schema node without its address, its member's name replaced."""
    # scikit-learn's text vectorizers keep an address too, to skip a check the second time.
    node.pop("_stop_words_id", None)
    if "__loader__" in node:
        node.pop("__id__", None)
        if isinstance(node.get("file"), str):
            node["file"] = names.get(node["file"], node["file"])
    return node


def load(path: Path, trusted: Sequence[str] = ()) -> Any:  # noqa: ANN401 - what was saved
    """What :func:`save` wrote.

    Args:
        path: The file.
        trusted: Types, or modules exactly as types name them, that may be imported and built
            beyond those of numpy, scipy and scikit-learn that skops knows.

    Raises:
        SourceError: There is no such file.
        CorruptError: It is not a skops file.
        ModelError: It needs a type that is not trusted, or one that does not import.
    """
    import skops.io

    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise SourceError(f"{path}: no such file") from None
    try:
        needed = skops.io.get_untrusted_types(data=raw)
    except Exception as error:  # skops raises whatever its parsers raise
        raise CorruptError(f"{path}: not readable as skops ({_brief(error)})") from None
    for kind in needed:
        check_trust(f"{path}: a part of it", kind, trusted)
    for kind in needed:
        import_target(kind, "state")
    try:
        return skops.io.loads(raw, trusted=needed)
    except ImportError as error:
        raise ModelError(f"{path}: a type in it does not import: {_brief(error)}") from error
    except Exception as error:  # as above
        raise CorruptError(f"{path}: not readable as skops ({_brief(error)})") from error


def _brief(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
