"""What every transform step is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from shoal.errors import SettingsError, nearest
from shoal.formats.stored import as_kind
from shoal.settings.section import Section, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import pyarrow as pa

    from shoal.transform.rows import Rows


class NoOptions(Section):
    """The options of a step that has none."""


@dataclass(frozen=True)
class Context:
    """What a step knows of its surroundings.

    Attributes:
        index: Place of the step in the list, from 0; two equal steps draw differently.
        seed: Seed of the steps that draw.
        kinds: Name to kind of every column.
        task: ``classification`` or ``regression``.
    """

    index: int
    seed: int
    kinds: Mapping[str, str]
    task: str

    @property
    def label(self) -> str:
        """Name of the label column."""
        return next(name for name, kind in self.kinds.items() if kind == "label")


class TransformStep(ABC):
    """One step: fitted once on training rows, then applied to rows of any fold.

    Attributes:
        name: What settings call it.
        works_on: Kinds of column that it accepts.
        fits_on: Nothing, a sample of training rows, or all of them, streamed.
        training_only: Whether it leaves rows of other folds as they are.
        by_options: Whether its options decide that.
        draws: Whether what it makes of a training row's values depends on the row's key; its
            options may decide.
        drops: Whether it may drop rows; its options may decide.
        adds: Whether it may add rows; the same.
        fitted: What fitting found, as plain JSON values of the type ``Fitted``.
    """

    name: ClassVar[str]
    works_on: ClassVar[tuple[str, ...]]
    fits_on: ClassVar[Literal["nothing", "sample", "all"]] = "nothing"
    training_only: bool = False
    by_options: ClassVar[bool] = False
    draws: bool = False
    drops: bool = False
    adds: bool = False
    Options: ClassVar[type[Section]] = NoOptions
    Fitted: ClassVar[Any] = Annotated[dict[str, Any], Field(max_length=0)]

    def __init__(self, context: Context, columns: list[str], options: Mapping[str, Any]) -> None:
        self.context = context
        self.place = f"transform.steps.{context.index} ({self.name})"
        self.options: Any = parse(self.Options, dict(options), f"{self.place}: options")
        self.columns = self.chosen(columns)
        self.fitted: dict[str, Any] = {}
        self.check()

    def chosen(self, columns: list[str]) -> list[str]:
        """The columns to work on, checked against what there is.

        Raises:
            SettingsError: There are none, or one is unknown, named twice or of a wrong kind.
        """
        if not columns:
            raise SettingsError(f"{self.place}: columns: name the columns it works on")
        kinds = self.context.kinds
        for column in columns:
            if column not in kinds:
                raise SettingsError(
                    f"{self.place}: there is no column {column!r}; {nearest(column, kinds)}"
                )
            if kinds[column] not in self.works_on:
                raise SettingsError(
                    f"{self.place}: column {column!r} is {kinds[column]}, "
                    f"but the step works on {', '.join(self.works_on)}"
                )
        if len(set(columns)) < len(columns):
            raise SettingsError(f"{self.place}: columns: {columns} names a column twice")
        return list(columns)

    def restore(self, fitted: object) -> None:
        """Take over what fitting found from a file.

        Raises:
            CorruptError: It is nothing that fitting finds.
        """
        self.fitted = as_kind(self.Fitted, fitted, f"{self.place}: fitted")

    def check(self) -> None:  # noqa: B027 - most steps have nothing to check
        """Refuse options that do not fit together or do not fit the columns."""

    def prepare(self) -> None:  # noqa: B027 - most steps have nothing to prepare
        """Refuse what only importing the user's code shows; not asked of stored steps."""

    def salt(self, column: str) -> tuple[Any, ...]:
        """What a row's draws depend on beside its key, so that no two steps or columns agree."""
        return self.context.seed, self.name, self.context.index, column

    def fit_sample(self, sample: pa.Table) -> None:
        """Fit on a sample of training rows; for steps with ``fits_on`` "sample"."""
        raise NotImplementedError

    def fit_all(self, stream: Callable[[], Iterator[Rows]]) -> None:
        """Fit on all training rows, streamed as often as needed; for ``fits_on`` "all"."""
        raise NotImplementedError

    @abstractmethod
    def apply(self, rows: Rows, memory: dict[str, Any]) -> Rows:
        """The rows after the step.

        Args:
            rows: Consecutive rows of one shard.
            memory: What the step remembers of the shard's earlier rows; empty at its start.
        """
