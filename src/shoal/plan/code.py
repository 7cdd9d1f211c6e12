"""Digests of code: what a stage imports from this package, and the user's model file."""

from __future__ import annotations

import ast
import functools
import hashlib
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def code_digest(module: str, *files: Path) -> str:
    """Digest of a module of this package and all it imports from it, then of the user's files.

    Imports inside functions count; nothing is imported to find out. ``shoal`` itself, the face of
    the package, counts for none of its parts: it imports the pool where a user asks for one.

    Args:
        module: Name below ``shoal``, such as ``embed.command``.
        files: Further files, such as the user's model; those of this package count as its code.

    Returns:
        Ten hexadecimal digits, and behind a dash ten more where there are files of the user's.
    """
    own, users = _of_package(f"shoal.{module}").copy(), hashlib.sha256()
    for path in files:
        (own if path.is_relative_to(_PACKAGE) else users).update(_named_content(path))
    parts = [own] if all(path.is_relative_to(_PACKAGE) for path in files) else [own, users]
    return "-".join(part.hexdigest()[:10] for part in parts)


def users_part(digest: str) -> str:
    """The part of a digest that is of the user's files; empty where there are none."""
    return digest.partition("-")[2]


@functools.cache
def _of_package(module: str) -> hashlib._Hash:
    """Digest of this package's part, which does not change while a process runs."""
    digest = hashlib.sha256()
    for path in sorted(_closure(module)):
        digest.update(_named_content(path))
    return digest


def _named_content(path: Path) -> bytes:
    return path.name.encode() + b"\0" + path.read_bytes()


def _closure(module: str) -> frozenset[Path]:
    """Files of a module and of everything of this package that it imports."""
    found: set[Path] = set()
    waiting = [module]
    seen = set()
    while waiting:
        name = waiting.pop()
        path = _file(name)
        if name in seen or path is None:
            continue
        seen.add(name)
        found.add(path)
        waiting += _imports(path)
    return frozenset(found)


def _file(module: str) -> Path | None:
    below = _PACKAGE.joinpath(*module.split(".")[1:])
    for path in (below.with_suffix(".py"), below / "__init__.py"):
        if path.is_file():
            return path
    return None


@functools.cache
def _imports(path: Path) -> tuple[str, ...]:
    """Names of this package's modules that a file imports, type-checking blocks left out."""
    names: list[str] = []
    waiting: list[ast.AST] = [ast.parse(path.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        waiting += list(ast.iter_child_nodes(node))
    return tuple(name for name in names if name.startswith("shoal."))
