"""Digest of Python source by its syntax tree; the standard library alone, so it runs by itself.

Docstrings, comments, positions and formatting have no part in it, and every Python from 3.11 on
gives the same digest. Those of ``ast.dump`` differ: fields come and go between versions.
``python syntax.py FILE ...`` prints a digest per file.
"""

from __future__ import annotations

import ast
import hashlib
import itertools
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_WITHOUT_MEANING = frozenset({"ctx", "kind", "type_comment", "type_ignores"})
"""Fields that repeat what the place says, or say how a thing is written."""


def parsed(source: bytes) -> ast.Module | None:
    """The syntax tree of a file; None where this Python cannot parse it."""
    try:
        with warnings.catch_warnings(action="ignore"):
            return ast.parse(source)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None


def syntax_digest(source: bytes, tree: ast.Module | None = None) -> str:
    """Hexadecimal digest of a file: of its syntax tree, or of its bytes where it has none.

    Args:
        source: Content of the file.
        tree: Result of :func:`parsed`, where it is at hand.
    """
    tree = tree or parsed(source)
    if tree is None:
        return hashlib.sha256(b"no syntax tree\0" + source).hexdigest()
    return hashlib.sha256("\n".join(_tokens(tree)).encode("ascii")).hexdigest()


def _tokens(tree: ast.AST) -> Iterator[str]:
    """A tree as tokens, depth first. Empty and missing fields are left out."""
    waiting: list[Any] = [tree]  # what is to come, the next one last
    while waiting:
        item = waiting.pop()
        if isinstance(item, _Token):
            yield item
        elif isinstance(item, ast.Constant):
            yield f"constant {_constant(item.value)}"
        elif isinstance(item, ast.AST):
            yield type(item).__name__
            waiting.append(_END)
            for name, value in reversed(_fields(item)):
                waiting += (value, _Token(f".{name}"))
        elif isinstance(item, list):
            waiting.append(_END)
            waiting += reversed(item)
            yield "["
        else:
            yield _constant(item)


class _Token(str):
    """A token that is ready, apart from the names within a tree."""

    __slots__ = ()


_END = _Token(")")


def _fields(node: ast.AST) -> list[tuple[str, Any]]:
    """Fields that say something, by name."""
    found = []
    for name in sorted(node._fields):
        value = getattr(node, name, None)
        if name in _WITHOUT_MEANING:
            continue
        if isinstance(node, ast.JoinedStr):
            value = _joined(node.values)
        elif isinstance(value, list):
            value = _statements(value)
        elif name == "format_spec" and value is not None and not _joined(value.values):
            continue
        if value is not None and value != []:
            found.append((name, value))
    return found


def _statements(body: list[Any]) -> list[Any]:
    """A list without the statements that do nothing: docstrings, other lone strings, ``pass``."""
    return [each for each in body if not (isinstance(each, ast.Pass) or _is_text(each))]


def _is_text(node: object) -> bool:
    is_constant = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return is_constant and isinstance(node.value.value, str)  # type: ignore[attr-defined]


def _joined(values: Iterable[ast.expr]) -> list[ast.expr]:
    """Parts of an f-string, neighbouring constants as one: where they are cut is no matter."""
    found: list[ast.expr] = []
    for is_text, group in itertools.groupby(values, lambda each: isinstance(each, ast.Constant)):
        parts = list(group)
        if is_text:
            text = "".join(str(each.value) for each in parts)  # type: ignore[attr-defined]
            parts = [ast.Constant(text)] if text else []
        found += parts
    return found


def _constant(value: object) -> str:
    """A constant in ASCII, the same on every Python: type and exact value."""
    if isinstance(value, str):
        return ascii(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return hex(value)  # decimal digits are limited
    if isinstance(value, float):
        return f"float {value.hex()}"
    if isinstance(value, complex):
        return f"complex {value.real.hex()} {value.imag.hex()}"
    return repr(value)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        sys.stdout.write(f"{syntax_digest(Path(argument).read_bytes())}  {argument}\n")
