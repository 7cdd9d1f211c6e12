"""A step that calls a function of the user's."""

from __future__ import annotations

import inspect
import math
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from shoal.errors import ModelError, SettingsError
from shoal.formats import tables
from shoal.formats.hashing import derived
from shoal.settings.section import Section
from shoal.settings.targets import import_target
from shoal.settings.user_code import check_arguments
from shoal.transform.step import TransformStep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shoal.transform.step import Rows

    Value = float | str | None


class FunctionOptions(Section):
    """Which function, and for which rows."""

    target: str = Field(alias="_target_", description="dotted path of the function")
    training_only: bool = Field(description="whether rows of other folds stay as they are")
    arguments: dict[str, Any] = Field(default={}, description="its keyword arguments")


def named_function(options: FunctionOptions, place: str) -> Callable[..., Any]:
    """The function that a step names, with arguments that it takes.

    Raises:
        ModelError: It does not import, is no function or does not take its arguments.
    """
    try:
        named: Callable[..., Any] = import_target(options.target, "transform")
    except ModelError as error:
        raise ModelError(f"{place}: {error}") from error
    more = {"rng": None} if draws(named) else {}
    check_arguments(named, f"{place}: {options.target}", "", **options.arguments, **more)
    return named


def draws(function: Callable[..., Any]) -> bool:
    """Whether a function has an argument for a generator."""
    try:
        return "rng" in inspect.signature(function).parameters
    except ValueError:  # some built-in functions do not tell
        return False


class Function(TransformStep):
    """Values that a function of your own returns.

    It is called with one value, a number or a string or None where missing, and returns another
    one of the kind, so that a row never depends on other rows. If it has an argument ``rng``, it
    gets a numpy generator that is a function of seed, step, column and row key; such a function
    is for training rows alone, since rows to predict have no key.
    """

    name = "function"
    works_on = ("numeric", "categorical", "text")
    by_options = True
    Options: ClassVar[type[Section]] = FunctionOptions

    def check(self) -> None:
        """Take from the options which rows it changes."""
        self.training_only = self.options.training_only

    def prepare(self) -> None:
        """Import the function.

        Raises:
            ModelError: It does not import or is no function.
            SettingsError: It draws, but is meant for all rows.
        """
        if self.draws and not self.training_only:
            raise SettingsError(
                f"{self.place}: {self.options.target} draws (it has an argument 'rng'), so it is "
                f"for training rows alone: set training_only to true"
            )

    @cached_property
    def _function(self) -> Callable[..., Any]:
        return named_function(self.options, self.place)

    @cached_property
    def draws(self) -> bool:  # type: ignore[override]
        """Whether the function takes a generator; only importing it tells."""
        return draws(self._function)

    def apply(self, rows: Rows) -> Rows:
        """Call the function.

        Raises:
            ModelError: It fails, or returns something that does not fit the column.
        """
        where = rows.training if self.training_only else np.ones(len(rows.table), dtype=bool)
        places = np.flatnonzero(where).tolist()
        if not places:
            return rows
        for column in self.columns:
            values = rows.table[column].to_pylist()
            for place, rng in zip(places, self._generators(rows, places, column), strict=True):
                values[place] = self._called(values[place], rng, rows, place, column)
            kind = rows.table.schema.field(column).type
            rows = rows.with_column(column, pa.array(values, kind, from_pandas=True))
        return rows

    def _generators(
        self, rows: Rows, places: list[int], column: str
    ) -> Iterator[np.random.Generator | None]:
        """A generator for each row's call, if the function draws."""
        if not self.draws:
            yield from [None] * len(places)
            return
        row_keys = tables.keys(rows.table)[places]
        for seed in derived(row_keys, 16, *self.salt(column)):
            yield np.random.default_rng(int.from_bytes(seed.tobytes(), "little"))

    def _called(
        self, value: Value, rng: np.random.Generator | None, rows: Rows, place: int, column: str
    ) -> Value:
        """Result of the function for one value."""
        target = self.options.target
        draws = {} if rng is None else {"rng": rng}
        try:
            changed = self._function(value, **self.options.arguments, **draws)
        except Exception as error:  # the user's function may raise anything
            text = " ".join(f"{type(error).__name__}: {error}".split())
            raise ModelError(
                f"{self.place}: {target} fails on {rows.place(place, column)}, value {value!r}: "
                f"{text}"
            ) from error
        if changed is None:
            return None
        if self.context.kinds[column] != "numeric":
            if isinstance(changed, str):
                return changed
        elif isinstance(changed, int | float | np.number) and not math.isinf(changed):
            return float(changed)
        raise ModelError(
            f"{self.place}: {target} makes {changed!r} of {rows.place(place, column)}, value "
            f"{value!r}; column {column!r} is {self.context.kinds[column]}"
        )
