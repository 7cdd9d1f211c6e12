"""Digests of code: what a stage imports from this package, and what it runs of the user's."""

from __future__ import annotations

import ast
import functools
import hashlib
from importlib.util import resolve_name
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from shoal.errors import SettingsError
from shoal.formats.hashing import file_hash
from shoal.plan.syntax import parsed, syntax_digest
from shoal.settings.targets import is_ours, own_module, target_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_PACKAGE = Path(__file__).parents[1]


def code_digest(module: str, targets: Iterable[str] = (), files: Iterable[str] = ()) -> str:
    """Digest of a module of this package and all it imports from it, then of the user's code.

    Modules count by their syntax trees (:mod:`shoal.plan.syntax`): a comment or a docstring is no
    part. Imports inside functions count, and so do templates beside a module; nothing is imported
    to find out. ``shoal`` itself, the face of the package, counts for none of its parts: it
    imports the pool where a user asks for one.

    Args:
        module: Name below ``shoal``, such as ``embed.command``.
        targets: Dotted paths that settings name, such as the user's model; those of this package
            count as its code.
        files: Data files that the user's code reads.

    Returns:
        Ten hexadecimal digits, and behind a dash ten more where there are files of the user's.

    Raises:
        SettingsError: A data file cannot be read.
    """
    targets = list(targets)
    ours = [target.rpartition(".")[0] for target in targets if is_ours(target)]
    users = users_modules(target for target in targets if not is_ours(target))
    named = {name: _read(path.read_bytes()).digest for name, path in users.items()}
    named |= {f"file {name}": data_digest(name) for name in files}
    digest = _package_digest((f"shoal.{module}", *ours))
    return f"{digest}-{_combined(named)}" if named else digest


def users_part(digest: str) -> str:
    """The part of a digest that is of the user's files; empty where there are none."""
    return digest.partition("-")[2]


def users_modules(targets: Iterable[str]) -> dict[str, Path]:
    """Modules that the user's classes and functions need, by name: source files.

    The module of each, wherever it lies; and of the modules that it imports, directly or not,
    those that are the user's own (:func:`shoal.settings.targets.own_module`) with the packages
    around them. An import whose name is put together at run time is not seen.

    Args:
        targets: Dotted paths of classes and functions.

    Raises:
        ModelError: One is found both in the current folder and among what is installed.
    """
    found: dict[str, Path] = {}
    for target in targets:
        file = target_file(target)
        if file is not None:
            module = target.rpartition(".")[0]
            found |= {module: file}
            if own_module(module) is not None:
                found |= _closure([module], own_module, with_packages=True)
    return found


def data_digest(name: str) -> str:
    """SHA-256 of a data file that settings declare, hexadecimal.

    Raises:
        SettingsError: It cannot be read.
    """
    path = Path(name)
    try:
        stat = path.stat()
        return _data_digest(path, stat.st_size, stat.st_mtime_ns, stat.st_ino, stat.st_ctime_ns)
    except OSError as error:
        raise SettingsError(
            f"{name}: a file that settings name: {error.strerror or error}"
        ) from None


@functools.cache
def _data_digest(path: Path, *stamp: int) -> str:
    """Read once while a process runs, unless it changes; plans ask for several stages."""
    del stamp
    return file_hash(path)


@functools.cache
def _package_digest(modules: tuple[str, ...]) -> str:
    """Digest of this package's part, which does not change while a process runs."""
    files = _closure(modules, _package_file)
    for module in modules:
        if module not in files:
            raise ValueError(f"there is no module {module}")
    digests = {name: _read(path.read_bytes()).digest for name, path in files.items()}
    folders = {path.parent for path in files.values()}
    templates = [path for folder in folders for path in folder.glob("*.jinja")]
    digests |= {str(path.relative_to(_PACKAGE)): file_hash(path) for path in templates}
    return _combined(digests)


def _combined(digests: dict[str, str]) -> str:
    """Ten hexadecimal digits over named digests."""
    lines = "".join(f"{name} {digests[name]}\n" for name in sorted(digests))
    return hashlib.sha256(lines.encode()).hexdigest()[:10]


def _package_file(module: str) -> Path | None:
    if not module.startswith(("shoal.", "shoal_edge.")):
        return None
    below = _PACKAGE.parent.joinpath(*module.split("."))
    files = (below.with_suffix(".py"), below / "__init__.py")
    return next((path for path in files if path.is_file()), None)


def _closure(
    modules: Iterable[str], find: Callable[[str], Path | None], *, with_packages: bool = False
) -> dict[str, Path]:
    """Files of modules and of everything that they import, by the modules' names.

    Args:
        modules: Names of modules.
        find: The file of a module that counts; None for another module, and for no module.
        with_packages: Whether a module's packages count with it.
    """
    found: dict[str, Path] = {}
    waiting, seen = list(modules), set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        parent = name.rpartition(".")[0]
        if with_packages and parent:
            waiting.append(parent)
        path = find(name)
        if path is not None:
            found[name] = path
            package = name if path.name == "__init__.py" else parent
            waiting += _names(_read(path.read_bytes()).imports, package)
    return found


def _names(imports: Iterable[tuple[str, int, str]], package: str) -> list[str]:
    """Full names of what may be modules among the imports of a module in a package."""
    names = []
    for module, level, name in imports:
        try:
            base = resolve_name("." * level + module, package)
        except ImportError:  # beyond the top: it fails when it is run
            continue
        names += [base, f"{base}.{name}"] if name else [base]
    return names


class _Source(NamedTuple):
    """Facts of a source file: the digest of its syntax tree, and its imports.

    An import is a module, how many dots are in front of it, and a name imported from it, if any.
    """

    digest: str
    imports: tuple[tuple[str, int, str], ...]


@functools.lru_cache(maxsize=1024)
def _read(source: bytes) -> _Source:
    """Parse a file; imports in type-checking blocks are left out."""
    tree = parsed(source)
    imports: list[tuple[str, int, str]] = []
    waiting: list[ast.AST] = [] if tree is None else [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            imports += [(alias.name, 0, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imports += [(node.module or "", node.level, alias.name) for alias in node.names]
        if not isinstance(node, ast.expr):
            waiting += ast.iter_child_nodes(node)
    return _Source(syntax_digest(source, tree), tuple(imports))
