"""Writes ``config/README.md`` from the settings' types and the files in ``config/``.

``python -m shoal.plan.reference`` in the repository's root; a test says when it is due. It also
writes the table of stages in ``docs/architecture.md``, from their descriptions.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel

from shoal.plan.introduction import introduction
from shoal.plan.stages import STAGES
from shoal.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

    from shoal.plan.stages import Stage

_HEAD = ["| setting | here | kind of value | what it is |", "| --- | --- | --- | --- |"]
_WORDS = {
    int: "whole number",
    float: "number",
    str: "text",
    bool: "`true`, `false`",
    Any: "any value",
    type(None): "none",
}
_CONTAINERS = {list: "list: {}", dict: "mapping: {} to {}"}
_BOUNDS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}

_STAGES = "<!-- stages -->"
"""Stands before and after the table of stages."""

_STAGE_HEAD = (
    "| stage, rule | a job is about | takes | makes | command |\n| --- | --- | --- | --- | --- |\n"
)
_JOBS = {
    "": "everything",
    "growth": "a growth of the assigner",
    "previous": "rows that arrived",
    "copy": "a copy for devices",
    "patch": "an earlier copy",
    "step": "a step of a search",
    "slot": "a slot of a step",
    "variants": "several variants",
}


def reference(config: Path) -> str:
    """The page as Markdown.

    Args:
        config: The folder of config groups.
    """
    top = _yaml(config / "config.yaml")
    entries = [entry for entry in top.pop("defaults") if isinstance(entry, dict)]
    chosen = {name: choice for entry in entries for name, choice in entry.items()}
    del chosen["experiment"]
    lines = [introduction(), "## Experiments", ""]
    lines += [f"- `{p.stem}`: {_comment(p)}" for p in sorted(config.glob("experiment/*.yaml"))]
    lines += ["", "## Settings outside the groups", "", *_HEAD]
    for name, field in Settings.model_fields.items():
        if name not in chosen:
            lines += _rows(name, field, top.get(name, "set by the experiment"))
    for group, default in chosen.items():
        lines += ["", f"## {group}"]
        for path in sorted((config / group).glob("*.yaml"), key=lambda p: (p.stem != default, p)):
            lines += ["", *_choice(group, path, is_default=path.stem == default)]
    return "\n".join(lines) + "\n"


def with_stages(page: str) -> str:
    """A page with the table of stages as it is now.

    Args:
        page: Its text, with a line ``<!-- stages -->`` before the table and one after it.
    """
    before, _, after = page.split(f"{_STAGES}\n")
    table = "".join([_STAGE_HEAD, *map(_stage, STAGES.values())])
    return f"{before}{_STAGES}\n{table}{_STAGES}\n{after}"


def _stage(stage: Stage) -> str:
    """The row of a stage; files that are there because others are count as taken too."""
    files = ["source files"] if "sources" in stage.settings else []
    inputs = STAGES[stage.in_turn or stage.name].inputs
    origins = [origin for each in inputs.values() for origin in each.origins]
    grown = ["cluster_grow"] if any(origin.or_grown for origin in origins) else []
    names = dict.fromkeys([*(origin.stage for origin in origins), *grown])
    takes = [*files, *(f"`{name}`" for name in names)]
    makes = ", ".join(f"`{name}`" for name in stage.outputs)
    about = _JOBS.get(stage.per, f"a {stage.per}")
    if stage.frozen and not stage.per:
        about = "a generation"
    command = f"`{stage.module.replace('.', '/')}.py`"
    return f"| `{stage.name}` | {about} | {', '.join(takes)} | {makes} | {command} |\n"


def sections(group: str) -> list[type[BaseModel]]:
    """The types that a group's files may have."""
    return _models(Settings.model_fields[group].annotation)


def _choice(group: str, path: Path, *, is_default: bool) -> Iterator[str]:
    """Title, purpose and table of one file."""
    values = _yaml(path)
    section = next(s for s in sections(group) if values.get("method", "") in _methods(s))
    yield f"### {group}={path.stem}" + (" (default)" if is_default else "")
    yield ""
    yield " ".join(filter(None, [inspect.getdoc(section), _comment(path)]))
    yield ""
    yield from _HEAD
    for name, field in section.model_fields.items():
        key = field.alias or name
        yield from _rows(key, field, values.pop(key))
    for name, value in values.items():
        yield _row(name, value, "argument", f"passed to the {section.__name__.lower()}'s class")


def _methods(section: type[BaseModel]) -> tuple[str, ...]:
    method = section.model_fields.get("method")
    names = get_args(method.annotation) if method else ()
    return (*names, "") if not method or len(names) > 1 else names


def _rows(name: str, field: FieldInfo, value: Any) -> Iterator[str]:  # noqa: ANN401 - any YAML value
    """Lines of one setting, those of the sections within it included."""
    annotation = field.annotation
    inner = _models(annotation)
    if inner == [annotation]:
        for part, deeper in inner[0].model_fields.items():
            yield from _rows(f"{name}.{part}", deeper, value[part])
        return
    kind = _kind(Annotated[annotation, *field.metadata] if field.metadata else annotation)
    single = get_origin(annotation) is Literal and len(get_args(annotation)) == 1
    yield _row(name, value, kind, field.description or ("tells the choice" if single else ""))
    for section in inner:
        for part, deeper in section.model_fields.items():
            yield from _rows(f"{name}[].{deeper.alias or part}", deeper, "")


def _row(name: str, value: Any, kind: str, meaning: str) -> str:  # noqa: ANN401 - any YAML value
    text = value if isinstance(value, str) else json.dumps(value)
    shown = "must be given" if value == "???" else f"`{text}`" if text else ""
    cells = (f"`{name}`", shown, kind, meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _kind(annotation: Any) -> str:  # noqa: ANN401 - any type annotation
    """A type in words."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        limits = [
            f"{word} {_number(getattr(bound, limit))}"
            for bound in parts[1:]
            for limit, word in _BOUNDS.items()
            if hasattr(bound, limit)
        ]
        return " ".join([_kind(parts[0]), " and ".join(limits)]).strip()
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in parts)
    if origin in _CONTAINERS:
        return _CONTAINERS[origin].format(*map(_kind, parts))
    return " or ".join(map(_kind, parts)) if parts else _WORDS.get(annotation, "entry")


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


def _models(annotation: Any) -> list[type[BaseModel]]:  # noqa: ANN401 - any type annotation
    """Section types that occur in a type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _yaml(path: Path) -> dict[str, Any]:
    from omegaconf import OmegaConf

    content: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    return dict(content)


def _comment(path: Path) -> str:
    """Text of a file's first lines."""
    lines = [line for line in path.read_text().splitlines() if line.startswith("#")]
    return " ".join(line.lstrip("# ") for line in lines if "@package" not in line)


if __name__ == "__main__":
    Path("config/README.md").write_text(reference(Path("config")))
    _architecture = Path("docs/architecture.md")
    _architecture.write_text(with_stages(_architecture.read_text()))
