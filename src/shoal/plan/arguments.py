"""Which arguments of a user's class take one value, found in its source: nothing is imported."""

from __future__ import annotations

import ast
from functools import cache
from typing import TYPE_CHECKING

from shoal.plan.syntax import parsed
from shoal.settings.targets import target_file

if TYPE_CHECKING:
    from collections.abc import Iterator

_SINGLE = frozenset({"int", "float", "str", "bool"})
"""Types of one value."""


@cache
def single_arguments(dotted: str) -> frozenset[str]:
    """Arguments of a class that take one number, text or truth value.

    The annotation says so, and where there is none the default. Of an argument without either, and
    of classes that another module defines, nothing is known.

    Args:
        dotted: The class, ``package.module.Class``.
    """
    file = target_file(dotted)
    tree = None if file is None else parsed(file.read_bytes())
    body = tree.body if tree else []
    classes = {each.name: each for each in body if isinstance(each, ast.ClassDef)}
    found: dict[str, bool] = {}
    waiting = [dotted.rpartition(".")[2]]
    while waiting:
        own = classes.pop(waiting.pop(0), None)
        for each in own.body if own else []:
            if isinstance(each, ast.FunctionDef) and each.name == "__init__":
                found = dict(_arguments(each.args)) | found
        waiting += [each.id for each in own.bases if isinstance(each, ast.Name)] if own else []
    return frozenset(name for name, is_single in found.items() if is_single)


def _arguments(arguments: ast.arguments) -> Iterator[tuple[str, bool]]:
    """Name of each argument, and whether it takes one value."""
    positional = [*arguments.posonlyargs, *arguments.args]
    without = [None] * (len(positional) - len(arguments.defaults))
    defaults = [*without, *arguments.defaults, *arguments.kw_defaults]
    for each, default in zip([*positional, *arguments.kwonlyargs], defaults, strict=True):
        if each.annotation is not None:
            yield each.arg, _is_single(each.annotation)
        else:
            yield each.arg, isinstance(default, ast.Constant) and default.value is not None


def _is_single(annotation: ast.expr) -> bool:
    """Whether an annotation names types of one value alone."""
    match annotation:
        case ast.Constant(value=None):
            return True
        case ast.Constant(value=str(text)):
            return _is_single(ast.parse(text, mode="eval").body)
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in _SINGLE
        case ast.BinOp(left=left, right=right):
            return _is_single(left) and _is_single(right)
        case ast.Subscript(value=ast.Name(id=name) | ast.Attribute(attr=name), slice=inner):
            return name == "Literal" or (name == "Optional" and _is_single(inner))
    return False
