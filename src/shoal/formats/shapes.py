"""Shapes of encoded rows and labels, which a model must fit."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import ConfigDict, NonNegativeInt, PositiveInt

from shoal.errors import CorruptError, SettingsError, nearest
from shoal.formats.json_file import read_json, write_json
from shoal.formats.kinds import Task
from shoal.formats.provenance import KEY as MADE_FROM
from shoal.formats.provenance import made_from
from shoal.formats.stored import as_kind, naming

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

PREFIX = "data:"

FACTS = ("features", "shape", "outputs", "tokens")
"""Names of the facts that a model may ask for."""


def x_type(tokens: int | None) -> str:
    """Numpy type of encoded rows: int64 for numbers of tokens, else float32."""
    return "float32" if tokens is None else "int64"


@dataclass(frozen=True)
class Shapes:
    """Facts about encoded rows.

    Attributes:
        x_shape: Shape of one row's ``x``.
        outputs: Classes, 1 for regression, and of the task ``own`` the number of label columns.
        task: ``classification``, ``regression`` or ``own``.
        classes: Labels in the order of their codes; None where labels are numbers.
        training_rows: Rows in the training fold when the encoder was fitted.
        feature_names: Name of each feature of the flattened row.
        trusted: Types of the user's own in the encoder's state, which loading must trust.
        tokens: How many whole numbers there are, where ``x`` holds numbers of tokens; else None.
        class_rows: Training rows of each class then, by code; None where there are no classes.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    x_shape: list[int]
    outputs: int
    task: str
    classes: list[str] | None
    training_rows: int
    feature_names: list[str]
    trusted: list[str]
    tokens: PositiveInt | None = None
    class_rows: list[PositiveInt] | None = None

    @property
    def y_shape(self) -> tuple[int, ...]:
        """Shape of one row's ``y``: a single label, or of the task ``own`` as many as there are."""
        return (self.outputs,) if self.task == "own" else ()

    @property
    def x_dtype(self) -> str:
        """Numpy type of ``x``: int64 for tokens, else float32."""
        return x_type(self.tokens)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write as JSON."""
        write_json(path, asdict(self) | made_from())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Shapes:
        """Read a file of :meth:`save`.

        Raises:
            SourceError: There is no such file.
            CorruptError: It is not such a record.
        """
        content = read_json(path, dict[str, object])
        with naming(path):
            return cls.from_record(content)

    @classmethod
    def from_record(cls, content: Mapping[str, object]) -> Shapes:
        """The shapes in the content of such a file.

        Raises:
            CorruptError: It is not such a record.
        """
        plain = {name: value for name, value in content.items() if name != MADE_FROM}
        shapes = as_kind(cls, plain)
        as_kind(list[PositiveInt], shapes.x_shape, "x_shape")
        as_kind(NonNegativeInt, shapes.training_rows, "training_rows")
        as_kind(Task, shapes.task, "task")  # type: ignore[arg-type]
        names, classes = len(shapes.feature_names), shapes.classes
        if names != math.prod(shapes.x_shape):
            raise CorruptError(f"feature_names: {names} names of a row of shape {shapes.x_shape}")
        as_kind(NonNegativeInt, shapes.outputs, "outputs")
        wanted = {"regression": 1, "own": shapes.outputs}.get(shapes.task, len(classes or ()))
        if (shapes.task == "classification") != (classes is not None) or shapes.outputs != wanted:
            raise CorruptError(
                f"outputs: {shapes.outputs}, not one per class, or one in regression"
            )
        if shapes.class_rows is not None and len(shapes.class_rows) != len(classes or ()):
            raise CorruptError("class_rows: not one number per class")
        return shapes

    def fill(self, arguments: Mapping[str, object], place: str = "model") -> dict[str, Any]:
        """Arguments with ``data:NAME`` replaced by the fact of that name.

        Args:
            arguments: Arguments of a class by name.
            place: Name of the setting that they are of.

        Raises:
            SettingsError: There is no such fact.
        """
        facts: dict[str, object] = {
            "features": math.prod(self.x_shape),
            "shape": self.x_shape,
            "outputs": self.outputs,
            **({} if self.tokens is None else {"tokens": self.tokens}),
        }

        def filled(name: str, value: object) -> object:
            if not (isinstance(value, str) and value.startswith(PREFIX)):
                return value
            fact = value.removeprefix(PREFIX)
            if fact not in facts:
                raise SettingsError(
                    f"{place}.{name}: no such fact of the data, {fact!r}; {nearest(fact, facts)}"
                )
            return facts[fact]

        return {name: filled(name, value) for name, value in arguments.items()}
