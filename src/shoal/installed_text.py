"""Text of many kinds from what the environment has installed: code, data, prose."""

from __future__ import annotations

import codecs
import hashlib
import os
import re
import sysconfig
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from shoal.errors import SourceError
from shoal.formats.files import replacing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

FILES = {
    "code": {
        "c": "c cc cpp cu cuh h hpp",
        "cmake": "build cmake",
        "css": "css",
        "cython": "pxd pxi pyx",
        "fortran": "f f90 pyf",
        "html": "htm html jinja jinja2 mako",
        "javascript": "js",
        "python": "py",
        "r": "r",
        "stubs": "pyi",
        "xml": "svg xml xsl",
    },
    "other": {
        "decimals": "dectest",
        "fonts": "afm",
        "json": "json",
        "licences": "",
        "markdown": "md",
        "metadata": "metadata",
        "rst": "rst",
        "text": "txt",
        "toml": "toml",
        "translations": "po",
        "yaml": "yaml yml",
    },
    "tables": {"tables": "csv dat tab tp tsv"},
}
"""Kinds of text by the file that holds their rows, each with the suffixes that tell it."""

LATER = "tables"
"""The file that is written into the folder ``later``, for a data change."""

PIECE = 192
"""Bytes of a row's text; up to three fewer where a character would be cut."""

SHARED = 32
"""So many bytes in a row that an earlier document has too make a piece a repeat."""

_MOST_READ = 1 << 18
_MOST_OF_A_DOCUMENT = 48
_MOST_OF_A_KIND = 1500
_FEWEST_PIECES = 150
_FEWEST_DOCUMENTS = 12
_TRIES = 2  # about half of what is read repeats what other documents say
_SKIPPED = {"__pycache__", "dist-packages", "shoal", "site-packages"}
_OF_THIS_MACHINE = re.compile(r"_sysconfigdata|config-|direct_url|__editable__")
_LICENCES = re.compile(r"/(authors|copying|licen[cs]e|notice)[^/]*$", re.IGNORECASE)
_TRANSLATIONS = re.compile(r"/(i18n|languages?|locales?|translations)/")
_KIND = {
    word: kind
    for kinds in FILES.values()
    for kind, words in kinds.items()
    for word in words.split()
}


class Piece(NamedTuple):
    """A row: where its text is from, of which kind, and the text."""

    kind: str
    document: str
    number: int
    text: bytes


def make_text(folder: Path) -> Counter[str]:
    """Make the folder of source files, whole or not at all; how many rows each kind has.

    Args:
        folder: Where it goes; empty, if it is there.

    Raises:
        SourceError: What is installed holds text of one kind only.
    """
    pieces = collect(documents(_roots()))
    with replacing(folder) as aside:
        write_text(aside, pieces)
    return Counter(piece.kind for piece in pieces)


def write_text(folder: Path, pieces: Sequence[Piece]) -> list[Path]:
    """Write pieces as Parquet files, a file for kinds that belong together.

    Args:
        folder: Where ``code.parquet`` and others are written, and ``later/tables.parquet``.
        pieces: The rows, in any order.

    Returns:
        The files, with columns ``id`` (``site-packages/numpy/version.py#3``), ``document`` (its
        path), ``source`` (its kind) and ``text``. Files without rows are left out.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    paths = []
    for name, kinds in FILES.items():
        rows = sorted(
            (piece for piece in pieces if piece.kind in kinds),
            key=lambda piece: _hash(f"{piece.document}#{piece.number}"),
        )
        if not rows:
            continue
        columns = {
            "id": [f"{row.document}#{row.number}" for row in rows],
            "document": [row.document for row in rows],
            "source": [row.kind for row in rows],
            "text": [row.text.decode() for row in rows],
        }
        paths.append(folder / ("later" if name == LATER else "") / f"{name}.parquet")
        with replacing(paths[-1]) as aside:
            pq.write_table(pa.table(columns), aside)
    return paths


def documents(roots: Iterable[tuple[str, Path]]) -> dict[str, list[tuple[str, Path]]]:
    """Files by kind, each with its path from a root on, in the order of that path's hash.

    Args:
        roots: Folders, each with the name that stands for it in paths.
    """
    found = defaultdict(list)
    for name, root in roots:
        for folder, folders, files in os.walk(root):
            folders[:] = [each for each in folders if each not in _SKIPPED]
            for file in files:
                path = Path(folder, file)
                document = f"{name}/{path.relative_to(root).as_posix()}"
                kind = kind_of(document)
                if kind is not None and not _OF_THIS_MACHINE.search(document):
                    found[kind].append((document, path))
    return {kind: sorted(files, key=lambda each: _hash(each[0])) for kind, files in found.items()}


def collect(found: dict[str, list[tuple[str, Path]]]) -> list[Piece]:
    """Draw pieces of each kind, none of which repeats another document.

    The same files give the same pieces, wherever they lie and in whatever order they are listed.

    Args:
        found: Files by kind, in the order in which they are taken.

    Returns:
        Pieces of the kinds that have enough of them, at most 1,500 of a kind and 48 of a document.

    Raises:
        SourceError: Fewer than two kinds have enough.
    """
    drawn = [piece for kind in sorted(found) for piece in _draw(kind, found[kind])]
    drawn.sort(key=lambda piece: _hash(piece.document))
    fresh = [piece for piece, again in zip(drawn, repeats(drawn), strict=True) if not again]
    by_kind = defaultdict(list)
    for piece in fresh:
        by_kind[piece.kind].append(piece)
    kept = [own[:_MOST_OF_A_KIND] for own in by_kind.values() if _is_enough(own)]
    if len(kept) < 2:
        raise SourceError("the installed packages hold text of fewer than two kinds")
    return [piece for own in kept for piece in own]


def kind_of(document: str) -> str | None:
    """Kind of a file by its folder, name or suffix; None where it is of none."""
    if _TRANSLATIONS.search(document):
        return "translations"
    if _LICENCES.search(document):
        return "licences"
    return _KIND.get(re.split(r"[/.]", document.lower())[-1])


def repeats(pieces: Sequence[Piece]) -> NDArray[np.bool_]:
    """Whether a piece shares 32 bytes in a row with a document before it, ``(pieces,)``.

    Args:
        pieces: Those of one document beside each other.
    """
    symbols = np.zeros((len(pieces), PIECE), dtype=np.uint64)
    for row, piece in zip(symbols, pieces, strict=True):
        row[: len(piece.text)] = np.frombuffer(piece.text, dtype=np.uint8)
    places = PIECE - SHARED + 1
    hashes = np.zeros((len(pieces), places), dtype=np.uint64)
    for offset in range(SHARED):
        hashes *= np.uint64(1099511628211)
        hashes += symbols[:, offset : offset + places]
    names = [piece.document for piece in pieces]
    is_next = [name != before for name, before in zip(names, ["", *names], strict=False)]
    document = np.cumsum(is_next)
    _, first, place = np.unique(hashes, return_index=True, return_inverse=True)
    earliest = document[first // places][place.reshape(hashes.shape)]
    return np.asarray((earliest < document[:, None]).any(axis=1))


def cut(text: str) -> list[bytes]:
    """Consecutive pieces of a text in UTF-8, each 192 bytes or up to three fewer; no rest."""
    content, pieces, start = text.encode(), [], 0
    while (end := start + PIECE) <= len(content):
        while end < len(content) and content[end] & 0xC0 == 0x80:
            end -= 1
        pieces.append(content[start:end])
        start = end
    return pieces


def _draw(kind: str, files: Iterable[tuple[str, Path]]) -> Iterator[Piece]:
    count = 0
    for document, path in files:
        pieces = [(n, each) for n, each in enumerate(cut(_text(path))) if each.strip()]
        pieces.sort(key=lambda each: _hash(f"{document}#{each[0]}"))
        for number, text in pieces[:_MOST_OF_A_DOCUMENT]:
            yield Piece(kind, document, number, text)
        count += min(len(pieces), _MOST_OF_A_DOCUMENT)
        if count >= _TRIES * _MOST_OF_A_KIND:
            break


def _text(path: Path) -> str:
    """The beginning of a file; empty where it is no text in UTF-8 or cannot be read."""
    try:
        with path.open("rb") as file:
            text = codecs.getincrementaldecoder("utf-8")().decode(file.read(_MOST_READ))
    except (OSError, UnicodeDecodeError):
        return ""
    return "" if "\0" in text else text


def _is_enough(pieces: Sequence[Piece]) -> bool:
    count = len({piece.document for piece in pieces})
    return len(pieces) >= _FEWEST_PIECES and count >= _FEWEST_DOCUMENTS


def _roots() -> list[tuple[str, Path]]:
    places = sysconfig.get_paths()
    packages = dict.fromkeys([places["purelib"], places["platlib"]])
    roots = [("python", places["stdlib"]), *(("site-packages", each) for each in packages)]
    return [(name, Path(each)) for name, each in roots]


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=8).digest()
