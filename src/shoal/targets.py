"""What a setting names by a dotted path: the user's classes, imported or only found."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from shoal.errors import ModelError, nearest


def import_target(dotted: str) -> Any:  # noqa: ANN401 - whatever the user's module holds
    """The object that ``package.module.name`` names; the current directory is searched first.

    Raises:
        ModelError: The path has no dot, its module is not found or fails to import, or the
            module has no such name.
    """
    module_name, _, name = dotted.rpartition(".")
    if not module_name or not all(part.isidentifier() for part in dotted.split(".")):
        raise ModelError(f"{dotted}: not a dotted path such as 'module.Class'")
    search_here()
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            raise ModelError(
                f"{dotted}: there is no module {error.name!r} in {Path.cwd()} "
                f"or among the installed packages"
            ) from None
        raise ModelError(f"{dotted}: its module does not import: {_one_line(error)}") from error
    except Exception as error:  # the user's module may raise anything
        raise ModelError(f"{dotted}: its module does not import: {_one_line(error)}") from error
    try:
        return getattr(module, name)
    except AttributeError:
        known = [known for known in vars(module) if not known.startswith("_")]
        raise ModelError(
            f"{dotted}: module {module_name!r} has no {name!r}; {nearest(name, known)}"
        ) from None


def search_here() -> None:
    """Let imports find modules of the current directory, before installed ones."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)


def target_file(dotted: str) -> Path | None:
    """The Python file that a dotted path's module lies in, found without importing it.

    The current directory comes first, then installed packages, as in :func:`import_target`.

    Returns:
        The file, or None where there is none: not found, built in, or not Python source.
    """
    parts = dotted.split(".")[:-1]
    if not parts or not all(parts):
        return None
    found = _module_file(Path.cwd(), parts)
    if found is not None:
        return found
    try:
        spec = importlib.util.find_spec(parts[0])
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if len(parts) == 1:
        origin = Path(spec.origin) if spec.has_location and spec.origin else None
        return origin if origin is not None and origin.suffix == ".py" else None
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    files = (_module_file(folder, parts[1:]) for folder in folders)
    return next((file for file in files if file is not None), None)


def _module_file(folder: Path, parts: list[str]) -> Path | None:
    """The file of module ``a.b`` below a folder: ``a/b/__init__.py`` or ``a/b.py``."""
    base = folder.joinpath(*parts)
    files = (base / "__init__.py", base.with_name(f"{base.name}.py"))
    return next((file for file in files if file.is_file()), None)


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
