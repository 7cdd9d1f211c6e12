"""Every import by name: its kind, whether it is trusted, and where it is found.

A name in a settings file is the user's own and counts as trusted; a name in a pool, a store, a
recipe or any other file goes through :func:`check_trust` first. ``docs/trust.md`` says it all.
"""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from shoal.errors import ModelError, SettingsError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from importlib.machinery import ModuleSpec

Kind = Literal["model", "scheduler", "loss", "score", "transform", "encoder", "state"]
"""Kinds of objects that have names; ``state`` is a type or function within a fitted encoder."""

OURS = frozenset({"shoal.models.MLP", "shoal.models.ConvNet"})
"""Names of Shoal's own that settings and pools may give, all of them models."""


def check_trust(part: str, target: str, trust: Sequence[str]) -> None:
    """Refuse a name that a file gives, unless it is one of :data:`OURS` or trusted.

    Args:
        part: Its role in the file, such as ``the pool's model``.
        target: The name, ``package.module.name``.
        trust: Names of modules, each exactly as in ``target``; or whole targets.

    Raises:
        ModelError: It is neither.
        SettingsError: ``trust`` is one text instead of several.
    """
    if isinstance(trust, str):
        text = json.dumps(trust)
        raise SettingsError(f"trust={text} is one text, not a list of names: trust=[{text}]")
    _check_dotted(target)
    if target in OURS:
        return
    if is_ours(target):
        raise ModelError(f"{part} is {target}: {_NOT_OURS}")
    module = target.rpartition(".")[0]
    if module not in trust and target not in trust:
        problem = f"{part} is {target}; importing runs its code, so say that you trust it"
        raise ModelError(f'{problem}: trust=["{module}"]', f"{problem}: --trust {module}")


def import_target(dotted: str, kind: Kind) -> Any:  # noqa: ANN401 - whatever the user's module holds
    """The object that ``package.module.name`` names.

    Installed packages come first, then the current folder.

    Args:
        dotted: The name; whoever calls knows that it is trusted.
        kind: Required kind, checked before anything is called.

    Raises:
        ModelError: It is no dotted path, its module is not found, is found in both places or
            fails to import, the module has no such name, or it is of another kind.
    """
    _check_dotted(dotted)
    if is_ours(dotted) and not (kind == "model" and dotted in OURS):
        raise ModelError(f"{dotted}: {_NOT_OURS}")
    module_name, _, name = dotted.rpartition(".")
    module = _imported(dotted, module_name)
    try:
        named = getattr(module, name)
    except AttributeError:
        known = [known for known in vars(module) if not known.startswith("_")]
        raise ModelError(
            f"{dotted}: module {module_name!r} has no {name!r}; {nearest(name, known)}"
        ) from None
    problem = _problem(named, kind, module_name)
    if problem:
        raise ModelError(f"{dotted} {problem}")
    return named


def target_file(dotted: str) -> Path | None:
    """The Python file that a dotted path's module lies in, found without importing it.

    Returns:
        The file, or None where there is none: not found, built in, or not Python source.

    Raises:
        ModelError: It is found both in the current folder and among what is installed.
    """
    if not _is_dotted(dotted):
        return None
    top, *inner = dotted.split(".")[:-1]
    place = _Place.of(top, inner)
    return place.source if place else None


def own_module(name: str) -> Path | None:
    """The Python file of a module that the user works on, found without importing it.

    Returns:
        The file in the current folder, or in a package that is installed in place; None for what
        comes with Python, Shoal or an installed package, and for what is nowhere.

    Raises:
        ModelError: It is found both in the current folder and among what is installed.
    """
    top, *inner = name.split(".")
    if top in sys.stdlib_module_names or is_ours(top):
        return None
    place = _Place.of(top, inner)
    source = place.source if place else None
    return None if source is None or is_installed(source) else source


def is_installed(path: Path) -> bool:
    """Whether a file came with an installed package or with Python, and is not the user's own."""
    if {"site-packages", "dist-packages"}.intersection(path.parts):
        return True
    return path.is_relative_to(sys.base_prefix) and not path.is_relative_to(Path.cwd())


def is_ours(dotted: str) -> bool:
    """Whether a dotted path names something of this package."""
    return dotted.split(".", maxsplit=1)[0] == "shoal"


_NOT_OURS = f"of Shoal's own only the models {' and '.join(sorted(OURS))} can be named"


def _is_dotted(text: str) -> bool:
    return "." in text and all(part.isidentifier() for part in text.split("."))


def _check_dotted(text: str) -> None:
    if not _is_dotted(text):
        raise ModelError(f"{text!r:.80}: not a dotted path such as 'module.Class'")


def _problem(named: Any, kind: Kind, module: str) -> str | None:  # noqa: ANN401
    """The reason why an object is not of a kind; None where it is."""
    is_class, is_function = isinstance(named, type), inspect.isroutine(named)
    what = "another class" if is_class else "a function" if is_function else "a value"
    if kind in ("model", "loss"):
        from torch import nn

        if not (is_class and issubclass(named, nn.Module)):
            return f"is {what}, and a {kind} is a class derived from torch.nn.Module"
    elif kind == "scheduler":
        from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

        is_one = is_class and issubclass(named, LRScheduler)
        if not is_one or issubclass(named, ReduceLROnPlateau):
            return (
                f"is {what}, and a scheduler is a class derived from "
                f"torch.optim.lr_scheduler.LRScheduler whose step takes no loss"
            )
    elif kind == "encoder":
        if not (is_class and hasattr(named, "fit") and hasattr(named, "transform")):
            return f"is {what}, and an encoder is a class with fit and transform"
    elif is_class or is_function:
        # To trust a module is not to trust what it imports, such as `run` of subprocess.
        home = str(getattr(named, "__module__", None) or module)
        if not _is_of(home, module):
            return f"comes from module {home!r}; name it there"
    elif not callable(named):
        return "is no function"
    return None


def _is_of(home: str, module: str) -> bool:
    """Whether objects of module ``home`` may be named in ``module``."""
    if sys.modules.get(home) is sys.modules[module]:  # os.path is posixpath
        return True
    tops = (name.split(".", maxsplit=1)[0].removeprefix("_") for name in (home, module))
    return len(set(tops)) == 1  # operator.neg is of _operator


def _imported(dotted: str, name: str) -> Any:  # noqa: ANN401 - a module
    """The module, imported from where :class:`_Place` finds it.

    A module in the current folder finds its own imports there too, at once and later.
    """
    importlib.invalidate_caches()
    top, *inner = name.split(".")
    place, here = _Place.of(top, inner), str(Path.cwd())
    if place is not None and place.is_here and here not in sys.path:
        sys.path.append(here)
    before = set(sys.modules)
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            raise ModelError(
                f"{dotted}: there is no module {error.name!r} in {here} "
                f"or among the installed packages"
            ) from None
        raise ModelError(f"{dotted}: its module does not import: {_one_line(error)}") from error
    except (Exception, SystemExit) as error:  # the user's module may raise anything
        raise ModelError(f"{dotted}: its module does not import: {_one_line(error)}") from error
    # A neighbour that an installed package hides would be another than the author meant.
    for loaded in sorted(sys.modules.keys() - before - sys.stdlib_module_names):
        if "." not in loaded and _own(loaded):
            _Place.of(loaded, [])
    return module


class _Place(NamedTuple):
    """Location of a module.

    Attributes:
        origin: File of the module, or of the package that it must be in; or ``built-in``.
        source: The module's Python source.
        is_here: Whether that is in the current folder.
    """

    origin: str
    source: Path | None
    is_here: bool

    @classmethod
    def of(cls, top: str, inner: Sequence[str]) -> _Place | None:
        """Find a module without importing anything, what is installed first; None if it is not.

        Args:
            top: Name of its outermost package, or its own.
            inner: Names below it.

        Raises:
            ModelError: There is one in the current folder, too.
        """
        own = cls._from([_own(top)], inner, is_here=True)
        installed = cls._from(_installed(top), inner, is_here=False)
        if own and installed and Path(own.origin).resolve() != Path(installed.origin).resolve():
            raise ModelError(
                f"module {top!r} is both {own.origin} and {installed.origin}; "
                f"rename the one in the current folder"
            )
        return own or installed

    @classmethod
    def _from(
        cls, specs: Iterable[ModuleSpec | None], inner: Sequence[str], *, is_here: bool
    ) -> _Place | None:
        """The first that has the module: a folder without ``__init__.py`` only if it does."""
        for spec in specs:
            if spec is None:
                continue
            source = _source(spec, inner)
            origin = spec.origin or (str(source) if source else None)
            if origin is not None:
                return cls(origin, source, is_here)
        return None


def _own(top: str) -> ModuleSpec | None:
    """The module of a name in the current folder; no name of Shoal's is looked for there."""
    return None if is_ours(top) else PathFinder.find_spec(top, [str(Path.cwd())])


def _installed(top: str) -> Iterator[ModuleSpec | None]:
    """The module that import would find for a name, were the current folder not on its path."""
    here = Path.cwd()
    elsewhere = [folder for folder in sys.path if Path(folder).resolve() != here]
    for finder in sys.meta_path:
        yield finder.find_spec(top, elsewhere if finder is PathFinder else None)


def _source(spec: ModuleSpec, inner: Sequence[str]) -> Path | None:
    """Python source of the module ``inner`` below the one that was found."""
    if not inner:
        file = Path(spec.origin) if spec.origin and spec.has_location else None
        return file if file is not None and file.suffix == ".py" else None
    bases = [Path(folder, *inner) for folder in spec.submodule_search_locations or ()]
    files = (
        file for base in bases for file in (base / "__init__.py", base.with_name(f"{base.name}.py"))
    )
    return next((file for file in files if file.is_file()), None)


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
