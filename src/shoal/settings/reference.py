"""``config/README.md``, made from the settings' types, the files in ``config/`` and this module.

``python -m shoal.settings.reference`` writes it; a test fails while it is out of date.
"""

from __future__ import annotations

import json
import types
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from shoal.settings import Settings
from shoal.settings.introduction import INTRODUCTION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_HEAD = ["| setting | here | kind of value | what it is |", "| --- | --- | --- | --- |"]
_WORDS = {int: "whole number", float: "number", str: "text", bool: "true or false", Any: "anything"}
_BOUNDS = {"gt": "above", "ge": "from", "lt": "below", "le": "to"}


def reference(config: Path) -> str:
    """The page, Markdown.

    Args:
        config: The folder of config groups.
    """
    top = _yaml(config / "config.yaml")
    groups = [next(iter(entry)) for entry in top.pop("defaults")]
    lines = [INTRODUCTION.strip(), "", *_named_options(), "", "## The experiments", ""]
    lines += [f"- `{p.stem}`: {_comment(p)}" for p in sorted(config.glob("experiment/*.yaml"))]
    lines += ["", "## config.yaml: what belongs to no group", ""]
    lines += [*_HEAD, *_rows(Settings, top, "", leave=frozenset(groups))]
    for group in groups:
        if group != "experiment":
            lines += ["", *_group(config, group, next(e for e in top_choices(config) if e == group))]
    return "\n".join(lines) + "\n"
