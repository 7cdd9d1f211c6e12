"""Roles, kinds and encoders of a data file's columns, from its header and from a config."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from shoal.errors import SettingsError, SourceError, nearest
from shoal.settings.section import parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from shoal.explore.import_stimulus.configs import Arguments, Column

_TYPED = re.compile(r"(?P<bare>.+):(?P<role>[^:]*):(?P<type>[^:]*)")
_ROLE = re.compile(r"(input|label|meta|split)\d*")
_FEW_CLASSES = 20
"""Whole numbers in a label are classes if at most so many are distinct."""


_LETTERS = {
    frozenset("ACGT"): "dna",
    frozenset("ACDEFGHIKLMNPQRSTVWY"): "protein",
}


class Meaning(NamedTuple):
    """Meaning of a type or an encoder of stimulus in Shoal.

    Attributes:
        kind: The column's kind.
        spec: Its encoder, None where the kind's own serves.
        is_class: Whether a label of it is a class; None where its values tell.
    """

    kind: str
    spec: Arguments | None = None
    is_class: bool | None = None


def _sequence(alphabet: str) -> Arguments:
    return {"encoder": "sequence_one_hot", "alphabet": alphabet}


_RANK = {"encoder": "rank"}

TYPES = {
    "dna": Meaning("text", _sequence("dna")),
    "rna": Meaning("text", _sequence("ACGU")),
    "prot": Meaning("text", _sequence("protein")),
    "protein": Meaning("text", _sequence("protein")),
    "str": Meaning("text", is_class=True),
    "str_class": Meaning("categorical", is_class=True),
    "int_class": Meaning("categorical", is_class=True),
    "bool": Meaning("categorical", is_class=True),
    "int": Meaning("numeric"),
    "int_reg": Meaning("numeric", is_class=False),
    "int_rank": Meaning("numeric", _RANK, is_class=False),
    "float": Meaning("numeric", is_class=False),
    "float_rank": Meaning("numeric", _RANK, is_class=False),
}
"""Meaning of each type in a header, or ``data_type``."""

_VALUE = Meaning("numeric", {"encoder": "passthrough"})
_CODE = Meaning("categorical", {"encoder": "ordinal"}, is_class=True)
_RANKED = Meaning("numeric", _RANK, is_class=False)
_CLASSES = {
    "NumericEncoder": _VALUE,
    "FloatEncoder": _VALUE,
    "IntEncoder": _VALUE,
    "NumericRankEncoder": _RANKED,
    "FloatRankEncoder": _RANKED,
    "IntRankEncoder": _RANKED,
    "StrClassificationEncoder": _CODE,
    "StrClassificationIntEncoder": _CODE,
}

_SAME = {"dtype", "force_cpu", "padding", "convert_lowercase"}
"""Arguments that change no meaning: features are float32, texts are padded, case is ignored."""


def meaning_of(name: str, params: Arguments) -> tuple[Meaning | None, list[str]]:
    """Meaning of an encoder of stimulus in Shoal, if any, and the arguments that are lost.

    Args:
        name: Its class.
        params: Its arguments.
    """
    left = {key: value for key, value in params.items() if key not in _SAME}
    meaning = _CLASSES.get(name)
    if name == "TextOneHotEncoder":
        meaning = Meaning("text", _sequence(_alphabet(left.pop("alphabet", "acgt"))))
    elif meaning is _RANKED and left.get("scale") is True:
        left.pop("scale")  # ranks are from 0 to 1 in Shoal
    elif meaning is _CODE and left.get("scale") is False:
        left.pop("scale")
    return meaning, sorted(left)


def _alphabet(letters: Any) -> str:  # noqa: ANN401 - any argument
    known = _LETTERS.get(frozenset(str(letters).upper()))
    return known or str(letters)


@dataclass
class Columns:
    """The columns of a data file.

    Attributes:
        path: The file.
        names: Its columns, in its order.
        roles: Column to input, label, meta or split; nothing for one that nobody names.
        kinds: Input column to kind, where it is known.
        encoders: Input column to its encoders, where they are not its kind's.
        label_is_class: Whether the label is a class; None where its values tell.
        notes: Settings that cannot be carried over, in words.
    """

    path: Path
    names: list[str]
    roles: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    encoders: dict[str, list[Arguments]] = field(default_factory=dict)
    label_is_class: bool | None = None
    notes: list[str] = field(default_factory=list)

    def with_role(self, role: str) -> list[str]:
        """Columns of a role."""
        return [name for name in self.names if self.roles.get(name) == role]

    def named(self, name: str) -> str:
        """The column that a config means: by its whole header, or by the part before the colon.

        Raises:
            SettingsError: There is no such column, or several.
        """
        if name in self.names:
            return name
        bare = name.partition(":")[0]
        found = [each for each in self.names if each.partition(":")[0] == bare]
        if len(found) != 1:
            hint = f"{' and '.join(found)} are" if found else nearest(name, self.names)
            raise SettingsError(f"{self.path}: has no column {name!r}; {hint}")
        return found[0]

    def kind(self, name: str) -> str | None:
        """A column's kind for transforms, None where it is inferred later."""
        return "label" if self.roles.get(name) == "label" else self.kinds.get(name)

    def values(self, name: str) -> Iterator[str]:
        """A column's values as strings, without the missing ones."""
        from shoal.sources.readers import raw_batches

        for batch in raw_batches(self.path, 65536, [name]):
            yield from (str(each) for each in batch[name].to_pylist() if each not in (None, ""))


def columns_of(path: Path, listed: Sequence[Column]) -> Columns:
    """The columns of a data file.

    The config goes before the header.

    Raises:
        SourceError: The file is not readable, or has no label.
        SettingsError: A role is unknown, or a column is not there or listed twice.
    """
    from shoal.sources.readers import raw_batches

    columns = Columns(path, next(raw_batches(path, 1)).schema.names)
    for entry in listed:
        name = columns.named(entry.column_name)
        if name in columns.roles:
            raise SettingsError(f"columns: {entry.column_name!r} is listed twice")
        _take_listed(columns, name, entry)
    for name in columns.names:
        match = _TYPED.fullmatch(name)
        if name not in columns.roles and match:
            columns.roles[name] = _role(match["role"], f"{path}: header {name!r}")
            _take(columns, name, TYPES.get(match["type"]), match["type"])
    _check_labels(columns)
    return columns


def task_of(columns: Columns) -> str:
    """``classification`` or ``regression``, from the label's type or its values."""
    if columns.label_is_class is not None:
        return "classification" if columns.label_is_class else "regression"
    (label,) = columns.with_role("label")
    distinct: set[str] = set()
    for value in columns.values(label):
        distinct.add(value)
        if len(distinct) > _FEW_CLASSES:
            break
    few = len(distinct) <= _FEW_CLASSES and all(map(_is_whole, distinct))
    found = f"{len(distinct)} distinct whole numbers" if few else "numbers"
    task, other = ("classification", "regression") if few else ("regression", "classification")
    columns.notes.append(
        f"column {label!r}: its type does not say what the label is; it holds {found}, so "
        f"sources.task is {task}: change it if that should be {other}"
    )
    return task


def _role(text: str, place: str) -> str:
    match = _ROLE.fullmatch(text)
    if not match:
        raise SettingsError(f"{place}: role {text!r} is none of input, label, meta, split")
    return match[1]


def _take_listed(columns: Columns, name: str, entry: Column) -> None:
    """Note a column of a config; where it has no encoder its type says the kind."""
    columns.roles[name] = _role(entry.column_type, f"columns: {entry.column_name!r}: column_type")
    match = _TYPED.fullmatch(name)
    types = [kind for kind in (entry.data_type, match and match["type"]) if kind]
    typed = [TYPES[kind] for kind in types if kind in TYPES]
    found = []
    for each in entry.encoder:
        meaning, lost = meaning_of(each.name, each.params or {})
        if meaning is None:
            columns.notes.append(f"column {name!r}: Shoal has no encoder like {each.name}")
            continue
        if columns.roles[name] == "input" and lost:
            columns.notes.append(f"column {name!r}: {each.name}'s {', '.join(lost)}")
        found.append(meaning)
    if not found:
        _take(columns, name, next(iter(typed), None), next(iter(types), None))
    elif columns.roles[name] == "label":
        told = (each.is_class for each in (found[0], *typed) if each.is_class is not None)
        columns.label_is_class = next(told, None)
        found = []
    for meaning in found:
        if meaning.kind == found[0].kind:
            _take(columns, name, meaning, None)
        else:
            columns.notes.append(
                f"column {name!r}: an encoder of {meaning.kind} columns beside one of "
                f"{found[0].kind} columns; the first decides"
            )


def _take(columns: Columns, name: str, meaning: Meaning | None, kind_name: str | None) -> None:
    """Note a column's kind and one encoder of it, if Shoal has that."""
    from shoal.encode.encoders import ENCODERS

    role = columns.roles[name]
    if role in ("meta", "split"):
        return
    if meaning is None:
        said = f"its type {kind_name!r} is unknown" if kind_name else "it has no type"
        consequence = "its kind is inferred" if role == "input" else "its values tell the task"
        columns.notes.append(f"column {name!r}: {said}; {consequence}")
        return
    if role == "label":
        columns.label_is_class = meaning.is_class
        return
    columns.kinds[name] = meaning.kind
    spec = meaning.spec
    if spec is None:
        return
    encoder = ENCODERS.get(spec["encoder"])
    if encoder is None or meaning.kind not in encoder.kinds:
        columns.notes.append(
            f"column {name!r}: this version of Shoal has no encoder {spec['encoder']!r}; it is "
            f"encoded as other {meaning.kind} columns"
        )
        return
    options = {key: value for key, value in spec.items() if key != "encoder"}
    parse(encoder.Options, options, f"column {name!r}: encoder {spec['encoder']!r}")
    if spec not in columns.encoders.setdefault(name, []):
        columns.encoders[name].append(spec)


def _check_labels(columns: Columns) -> None:
    """One label: Shoal has no more; further ones are left out."""
    labels = columns.with_role("label")
    if not labels:
        raise SourceError(
            f"{columns.path}: no column is the label; list one of column_type label in the "
            f"config, or give its header the form name:label:type"
        )
    for name in labels[1:]:
        columns.roles[name] = "meta"
        columns.notes.append(f"column {name!r}: a second label; {labels[0]!r} is learnt")


def _is_whole(text: str) -> bool:
    return re.fullmatch(r"-?\d+(\.0*)?", text) is not None
