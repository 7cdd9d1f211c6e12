"""Reading of YAML that people write: plain mappings, within bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from shoal.errors import SettingsError, SourceError

if TYPE_CHECKING:
    from pathlib import Path

MOST_BYTES = 500_000
"""Larger files are no settings; it bounds what parsing costs."""

MOST_LEVELS = 40
"""Of nesting; parsing is recursive."""

_OPENED = (
    "while parsing a flow sequence",
    "while parsing a flow mapping",
    "while scanning a quoted",
)


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Plain values alone: no anchors and aliases, whose few lines can stand for billions."""

    _levels = 0

    def compose_node(self, parent: Any, index: Any) -> Any:  # noqa: ANN401 - nodes of PyYAML
        event = self.peek_event()
        if event.anchor is not None:
            raise _problem("anchors and aliases are not read; write the value out", event)
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            raise _problem(f"the tag {tag} is not read; write a plain value", event)
        if self._levels == MOST_LEVELS:
            raise _problem(f"nested in more than {MOST_LEVELS} levels", event)
        self._levels += 1
        node = super().compose_node(parent, index)
        self._levels -= 1
        return node

    def compose_mapping_node(self, anchor: Any) -> Any:  # noqa: ANN401 - the same
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _problem("a key that is a list or a mapping", key)
            if (key.tag, key.value) in seen:
                raise _problem(f"duplicate key {key.value}", key)
            seen.add((key.tag, key.value))
        return node


def read_yaml(path: Path) -> dict[Any, Any]:
    """The mapping that a YAML file holds.

    Raises:
        SourceError: The file cannot be opened.
        SettingsError: It is no UTF-8, no YAML, empty, no mapping or too large; a key is there
            twice; or it has anchors and aliases. The message is one line with the line's number.
    """
    text = _text(path)
    try:
        content = yaml.load(text, _Loader)  # noqa: S506 - a safe loader
    except yaml.MarkedYAMLError as error:
        raise SettingsError(f"{path}, {_explain(error, text)}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise SettingsError(f"{path}, line {line}: the character {error.character:#x}") from None
    except ValueError as error:  # a number or date that looks like one and is none
        raise SettingsError(f"{path}: a value is not readable ({error})") from None
    if content is None:
        raise SettingsError(f"{path}: is empty; it must hold settings, one per line as NAME: VALUE")
    if not isinstance(content, dict):
        raise SettingsError(
            f"{path}, line 1: holds a {type(content).__name__}; it must hold settings, one "
            f"per line as NAME: VALUE"
        )
    return content


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}") from None
    if len(raw) > MOST_BYTES:
        raise SettingsError(f"{path}: has more than {MOST_BYTES} bytes, so it holds no settings")
    if raw.startswith(b"\xef\xbb\xbf"):
        raise SettingsError(f"{path}, line 1: begins with a byte order mark; save it without")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        byte = raw[error.start]
        raise SettingsError(
            f"{path}, line {line}: the byte {byte:#x} is no UTF-8; save the file as UTF-8"
        ) from None


def _explain(error: yaml.MarkedYAMLError, text: str) -> str:
    """The place and the problem; where a bracket is open, the place where it was opened."""
    at, problem = error.problem_mark, error.problem
    line = at.line + 1
    lines = text.split("\n")
    written = lines[at.line] if at.line < len(lines) else ""
    if "\t" in written[: len(written) - len(written.lstrip())]:
        return f"line {line}: begins with a tab; indent with spaces"
    if error.context and error.context.startswith(_OPENED):
        opened = error.context_mark
        return (
            f"line {opened.line + 1}: what {opened.buffer[opened.pointer]} opens is not closed "
            f"before line {line}: {problem}"
        )
    return f"line {line}: {problem.removeprefix('but ')}"


def _problem(text: str, place: Any) -> yaml.MarkedYAMLError:  # noqa: ANN401 - event or node
    return yaml.MarkedYAMLError(problem=text, problem_mark=place.start_mark)
