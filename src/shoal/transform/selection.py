"""Steps that drop or repeat rows of the training fold."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import ConfigDict, Field
from typing_extensions import TypedDict

from shoal.errors import DataError, SettingsError
from shoal.formats import tables
from shoal.formats.hashing import KEY_BYTES, hash_rows, uniform
from shoal.settings.section import Section
from shoal.transform.step import TransformStep
from shoal_edge.canonical import canonical_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from shoal.transform.step import Rows

Scalar = bool | float | str


class FilterOptions(Section):
    """Conditions that a kept row meets, all of them in each of the columns."""

    model_config = ConfigDict(populate_by_name=True)

    min: float | None = Field(default=None, description="smallest value that is kept")
    max: float | None = Field(default=None, description="largest value that is kept")
    equals: Scalar | None = Field(default=None, description="the only value that is kept")
    not_equals: Scalar | None = Field(default=None, description="a value that is not kept")
    among: list[Scalar] | None = Field(
        default=None, alias="in", description="the values that are kept"
    )
    not_missing: bool = Field(default=False, description="whether missing values are not kept")


class Filter(TransformStep):
    """Keep training rows that meet the conditions.

    A missing value meets no condition except ``not_equals``.
    """

    name = "filter"
    works_on = ("numeric", "categorical", "text", "label", "group", "time")
    training_only = True
    drops = True
    Options: ClassVar[type[Section]] = FilterOptions

    def check(self) -> None:
        """Refuse no condition, and conditions that the columns' type cannot meet."""
        options = self.options
        if not options.not_missing and self._conditions() == []:
            raise SettingsError(f"{self.place}: options: give a condition, such as 'min'")
        for column in self.columns:
            for name, value in self._conditions():
                is_text = isinstance(value, str)
                if self._is_number(column) and is_text:
                    raise SettingsError(
                        f"{self.place}: {name}: {value!r} is text, column {column!r} is a number"
                    )
                if not self._is_number(column) and name in ("min", "max"):
                    raise SettingsError(
                        f"{self.place}: {name}: column {column!r} is text; use 'equals' or 'in'"
                    )

    def _conditions(self) -> list[tuple[str, Scalar]]:
        """Name and value of each condition that is given; one per value of ``in``."""
        options = self.options
        single = [(name, getattr(options, name)) for name in ("min", "max", "equals", "not_equals")]
        given = [(name, value) for name, value in single if value is not None]
        return given + [("in", value) for value in options.among or ()]

    def _is_number(self, column: str) -> bool:
        return tables.is_number(self.context.kinds[column], self.context.task)

    def apply(self, rows: Rows) -> Rows:
        """Drop training rows that fail."""
        kept = np.ones(len(rows.table), dtype=bool)
        for column in self.columns:
            kept &= self._meets(rows.table, column)
        return rows.where(kept | ~rows.training)

    def _meets(self, table: pa.Table, column: str) -> NDArray[np.bool_]:
        options = self.options
        number = self._is_number(column)
        values = tables.numbers(table, column) if number else tables.texts(table, column)
        present = ~np.isnan(values) if number else values != None  # noqa: E711 - elementwise
        kept = np.ones(len(values), dtype=bool)
        if options.min is not None:
            kept &= values >= options.min
        if options.max is not None:
            kept &= values <= options.max
        if options.equals is not None:
            kept &= self._is_among(values, [options.equals], number)
        if options.not_equals is not None:
            kept &= ~self._is_among(values, [options.not_equals], number)
        if options.among is not None:
            kept &= self._is_among(values, options.among, number)
        if options.not_missing:
            kept &= present
        return kept

    @staticmethod
    def _is_among(values: NDArray[Any], given: Sequence[Scalar], number: bool) -> NDArray[np.bool_]:
        """Which values are among those of the settings, as these are written or canonical."""
        if number:
            return np.isin(values, np.array([float(value) for value in given]))
        texts = {text for value in given for text in (str(value), str(canonical_text(value)))}
        return np.isin(values, np.array(sorted(texts), object))


class Stays(TypedDict, total=False):
    """State of :class:`DropDuplicates`.

    Attributes:
        stays: Content found twice to key and shard of the row that stays.
        shards: Shards that were there.
    """

    stays: dict[str, tuple[str, str]]
    shards: list[str]


class DropDuplicates(TransformStep):
    """Of training rows with equal inputs and label, exactly one stays.

    Which one is decided when the step is fitted: the row with the smallest key, in the first
    shard by name that holds it. Of the contents found twice then, rows that come later are
    dropped too, unless they have that very key: a shard that was not there may be an edited
    version of the one whose row stays, and losing the content is worse than a second copy. The
    state is bounded by the number of contents found twice.
    """

    name = "drop_duplicates"
    works_on = ("numeric", "categorical", "text", *tables.ARRAY_KINDS, "label")
    fits_on = "all"
    training_only = True
    drops = True
    Fitted: ClassVar[Any] = Stays

    def chosen(self, columns: list[str]) -> list[str]:
        """Inputs and label, or the columns named."""
        kinds = self.context.kinds
        everything = [name for name, kind in kinds.items() if kind in self.works_on]
        return super().chosen(columns or everything)

    def fit_all(self, stream: Callable[[], Iterator[Rows]]) -> None:
        """Find contents that occur twice, then which row of each stays."""
        hashes = [_contents(rows.table, self.columns).copy() for rows in stream()]
        if not hashes:
            return
        contents, counts = np.unique(np.concatenate(hashes), return_counts=True)
        repeated = contents[counts > 1]
        keeper: dict[str, tuple[str, str]] = {}
        shards: set[str] = set()
        for rows in stream():
            shards.add(rows.shard)
            contents = _contents(rows.table, self.columns)
            row_keys = tables.keys(rows.table)
            for row in np.flatnonzero(np.isin(contents, repeated)):
                candidate = (row_keys[row].tobytes().hex(), rows.shard)
                content = contents[row].tobytes().hex()
                keeper[content] = min(keeper.get(content, candidate), candidate)
        stays = {content: list(place) for content, place in keeper.items()}
        self.fitted = {"stays": stays, "shards": sorted(shards)} if stays else {}

    def apply(self, rows: Rows) -> Rows:
        """Drop training rows that are a copy of the one that stays."""
        if not self.fitted or not rows.training.any():
            return rows
        kept = np.ones(len(rows.table), dtype=bool)
        known = rows.shard in self.fitted["shards"]
        contents = _contents(rows.table, self.columns)
        row_keys = tables.keys(rows.table)
        for row in np.flatnonzero(rows.training):
            content = contents[row].tobytes().hex()
            if content not in self.fitted["stays"]:
                continue
            key, shard = self.fitted["stays"][content]
            here = shard == rows.shard or not known
            own = (self.context.index, content)
            kept[row] = here and key == row_keys[row].tobytes().hex() and own not in rows.seen
            if kept[row]:
                rows.seen.add(own)
        return rows.where(kept)


def _contents(table: pa.Table, columns: list[str]) -> NDArray[np.void]:
    """A hash of each row's content, void ``(rows,)``."""
    values = {name: _values(table, name) for name in columns}
    hashes = hash_rows(values, KEY_BYTES)
    return np.ascontiguousarray(hashes).view(f"V{KEY_BYTES}").ravel()


def _values(table: pa.Table, name: str) -> NDArray[Any]:
    kind = str(table.schema.field(name).type)
    if kind == "string":
        return tables.texts(table, name)
    return tables.numbers(table, name) if kind == "double" else tables.images(table, name)


class BalanceOptions(Section):
    """How uneven classes may stay."""

    ratio: float = Field(ge=1, description="most rows of a class, of the smallest class")
    sampling: Literal["down", "up"] = Field(
        default="down", description="whether larger classes lose rows or smaller ones are repeated"
    )


class Balance(TransformStep):
    """Thin out the larger classes of the training fold, or repeat rows of the smaller ones.

    How often a row stays is a function of its key and its class's share: so classes come out at
    ``ratio`` in expectation, not to the row. Copies of a row have keys of their own, so that
    later steps draw anew for each. A class that was not there when the step was fitted stays as
    it is.
    """

    name = "balance"
    works_on = ("label",)
    fits_on = "all"
    training_only = True
    Options: ClassVar[type[Section]] = BalanceOptions
    Fitted: ClassVar[Any] = dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]]

    def chosen(self, columns: list[str]) -> list[str]:
        """The label."""
        return super().chosen(columns or self.context.labels)

    def check(self) -> None:
        """Refuse a label that has no classes."""
        if self.context.task != "classification":
            raise SettingsError(
                f"{self.place}: it balances classes; the task is {self.context.task}"
            )
        self.adds = self.options.sampling == "up"
        self.drops = not self.adds

    def fit_all(self, stream: Callable[[], Iterator[Rows]]) -> None:
        """Count the classes."""
        counts: Counter[str] = Counter()
        for rows in stream():
            counts.update(tables.texts(rows.table, self.columns[0]).tolist())
        if not counts:
            raise DataError(f"{self.place}: no training row is left to balance")
        if self.adds:
            least = max(counts.values()) / self.options.ratio
            self.fitted = {name: max(1.0, least / counts[name]) for name in sorted(counts)}
        else:
            most = self.options.ratio * min(counts.values())
            self.fitted = {name: min(1.0, most / counts[name]) for name in sorted(counts)}

    def apply(self, rows: Rows) -> Rows:
        """Keep each training row as often as its class's share says."""
        if not rows.training.any():
            return rows
        labels = tables.texts(rows.table, self.columns[0])
        shares = np.array([self.fitted.get(name, 1.0) for name in labels])
        draws = uniform(tables.keys(rows.table), self.context.seed, "balance", self.context.index)
        whole = np.floor(shares)
        times = (whole + (draws < shares - whole)).astype(np.int64)
        return rows.repeated(np.where(rows.training, times, 1), self.name, self.context.index)
