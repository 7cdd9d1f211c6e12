"""Checks of all rows together: duplicates, groups across folds, empty folds, a constant label.

Of tables the hashes of rows are read (:mod:`shoal.split.entries`); all else is in the shards'
sketches (:mod:`shoal.split.sketch`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from typing_extensions import TypedDict

from shoal.errors import DataError
from shoal.formats import tables
from shoal.formats.kinds import FOLDS, OUTSIDE, TEST, TRAIN, VALIDATION
from shoal.formats.tables import Table
from shoal.split.entries import gathered
from shoal.split.keys import input_hashes
from shoal.split.leaks import Leaks, Sample, find_leaks
from shoal.split.sketch import Facts, as_numbers, has_inputs_of_its_own, spellings_of
from shoal.split.spellings import Spelling

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from shoal.formats.tables import Columns
    from shoal.settings.data import Split
    from shoal.split.entries import Entries

    Flags = NDArray[np.bool_]

_BATCH_ROWS = 8192


class CheckResult(TypedDict):
    """Result of :func:`check`.

    Attributes:
        folds: Rows of each fold, and ``outside``.
        duplicates: Rows beyond the first of their content (``rows``) and of their key
            (``same_key``), and keys that are in more than one fold (``across_folds``).
    """

    rows: int
    folds: dict[str, int]
    duplicates: dict[str, int]
    leaks: Leaks
    spellings: list[Spelling]


class Shard(NamedTuple):
    """A shard's files.

    Attributes:
        source: The source file, for messages.
        table: Its split table.
        facts: Facts of its sketch.
        sample: The sample of its sketch.
    """

    source: str
    table: Path
    facts: Path
    sample: Path


def check(
    shards: Sequence[Shard],
    columns: Columns,
    split: Split,
    folder: Path | None = None,
    *,
    by_group: bool = False,
) -> CheckResult:
    """Check all rows together.

    Args:
        shards: All shards, by whose order and rows messages tell which row is first.
        columns: The frozen columns.
        split: How the folds were made.
        folder: Where there is room for some 40 bytes of each row, twice that with ids, until the
            check ends; by default that of temporary files.
        by_group: Whether rows of a group share a route.

    Raises:
        DataError: An id stands for two contents, a group is in two folds, or in two files though
            its rows share a route, a fold is empty, or the label is the same in all of the
            training fold.
    """
    opened = [Facts.open(shard.facts) for shard in shards]
    sample = Sample(columns)
    for shard in shards:
        sample.merge(shard.sample)
    places = _Places(shards, [each.summary["rows"] for each in opened])
    own = has_inputs_of_its_own(columns)
    held_out = sample.part("held_out")
    inputs = as_numbers(input_hashes(held_out, columns) if own else tables.keys(held_out))
    repeated = _Repeated(inputs, tables.folds(held_out))
    duplicates = _Duplicates()
    tabled = [(shard.table, facts) for shard, facts in zip(shards, opened, strict=True)]
    with gathered(tabled, columns, folder) as entries_of:
        for entries in entries_of["key"]:
            duplicates.add(entries)
            if not own:
                repeated.add(entries)
        if columns.of_kind("id"):
            _refuse_contents(duplicates, columns.of_kind("id")[0], places)
        for entries in entries_of["input"] if own else ():
            repeated.add(entries)
        for column in columns.of_kind("group"):
            _check_groups(entries_of["group"], column, places, by_group=by_group)
    counts = np.sum([each.summary["folds"] for each in opened], axis=0)
    _check_folds(counts, split)
    labels = {label for each in opened for label in each.summary["labels"]}
    if len(labels) == 1:
        (label,) = labels
        raise DataError(
            f"column {columns.label!r}: the label is {label!r} in all {counts[TRAIN]} rows of the "
            f"training fold; there is nothing to learn"
        )
    named = {fold: int(counts[code]) for code, fold in enumerate(FOLDS)}
    held = int(counts[VALIDATION] + counts[TEST])
    return {
        "rows": int(counts.sum()),
        "folds": named | {"outside": int(counts[OUTSIDE])},
        "duplicates": {
            "rows": duplicates.rows,
            "same_key": duplicates.same_key,
            "across_folds": duplicates.across_folds,
        },
        "leaks": find_leaks(sample, {"rows": repeated.rows, "of": held}, repeated.flags(), columns),
        "spellings": _ambiguous(opened, columns),
    }


class _Places:
    """Shard and row of a place among all rows."""

    def __init__(self, shards: Sequence[Shard], rows: Sequence[int]) -> None:
        self._shards = shards
        self._starts = np.cumsum([0, *rows])

    def find(self, place: int) -> tuple[Shard, int]:
        """The shard, and the row in it, from 0."""
        number = int(np.searchsorted(self._starts, place, side="right")) - 1
        return self._shards[number], place - int(self._starts[number])

    def name(self, place: int) -> str:
        """Source file and row, from 1."""
        shard, row = self.find(place)
        return f"{shard.source}: row {row + 1}"

    def value(self, place: int, column: str) -> object:
        """A value of the table."""
        shard, row = self.find(place)
        for batch in Table(shard.table).batches(_BATCH_ROWS, [column]):
            if row < len(batch):
                return batch[column][row].as_py()
            row -= len(batch)
        raise IndexError(place)


@dataclass
class _Duplicates:
    """Rows that are there again.

    Attributes:
        rows: Rows beyond the first of their content.
        same_key: Rows beyond the first of their key.
        across_folds: Keys that are in more than one fold.
        differing: Contents beyond the first of their key.
        first: The first row whose key an earlier row of other content has, and that row, as
            places among all rows; the later one goes first.
    """

    rows: int = 0
    same_key: int = 0
    across_folds: int = 0
    differing: int = 0
    first: tuple[int, int] | None = None

    def add(self, entries: Entries) -> None:
        """Take the entries of a range of keys."""
        alike = entries.alike()
        new = _new(alike)
        new_content = new.copy()
        new_content[1:] |= alike.content[1:] != alike.content[:-1]
        rows = int(entries.rows.sum()) - len(entries) + len(alike)
        self.same_key += rows - int(new.sum())
        self.rows += rows - int(new_content.sum())
        if not len(alike):
            return
        starts, number = np.flatnonzero(new), np.cumsum(new) - 1
        lowest = np.minimum.reduceat(alike.fold, starts)
        highest = np.maximum.reduceat(np.where(alike.fold == OUTSIDE, TRAIN, alike.fold), starts)
        self.across_folds += int((lowest < highest).sum())
        if new_content.sum() == new.sum():
            return
        self.differing += int(new_content.sum() - new.sum())
        one = np.minimum.reduceat(alike.first, starts)
        content = alike.content[alike.first == one[number]][number]
        never = np.iinfo(np.int64).max
        other = np.minimum.reduceat(np.where(alike.content == content, never, alike.first), starts)
        place = int(other.argmin())
        found = int(other[place]), int(one[place])
        self.first = min(found, self.first or found)


class _Repeated:
    """Held-out rows whose inputs an earlier fold has as well.

    Attributes:
        rows: How many there are.
    """

    def __init__(self, hashes: NDArray[np.uint64], folds: NDArray[np.uint8]) -> None:
        """Take the rows about which to know: hash of the inputs and fold of each."""
        self.rows = 0
        self._asked = list(zip(*hashes.T.tolist(), folds.tolist(), strict=True))
        self._first_halves = np.unique(hashes[:, 0])
        self._found: set[tuple[int, int, int]] = set()

    def add(self, entries: Entries) -> None:
        """Take the entries of a range of inputs."""
        alike = entries.alike()
        new = _new(alike)
        if not len(alike):
            return
        lowest = np.minimum.reduceat(alike.fold, np.flatnonzero(new))[np.cumsum(new) - 1]
        found = alike.take((alike.fold > lowest) & (alike.fold != OUTSIDE))
        self.rows += int(found.rows.sum())
        found = found.take(np.isin(found.hash[:, 0], self._first_halves))
        self._found.update(zip(*found.hash.T.tolist(), found.fold.tolist(), strict=True))

    def flags(self) -> Flags:
        """Which of the rows they are."""
        return np.array([row in self._found for row in self._asked], dtype=bool)


def _new(entries: Entries) -> Flags:
    """Which ordered entries have another hash than the one before."""
    new = np.ones(len(entries), dtype=bool)
    new[1:] = (entries.hash[1:] != entries.hash[:-1]).any(axis=1)
    return new


def _refuse_contents(duplicates: _Duplicates, identity: str, places: _Places) -> None:
    """Refuse rows of one id with different content."""
    if duplicates.first is not None:
        other, one = duplicates.first
        raise DataError(
            f"{places.name(other)} has the same {identity!r} as {places.name(one)}, but different "
            f"content; {duplicates.differing} rows in all; keep one of them or give them ids of "
            f"their own"
        )


def _check_groups(
    groups: Iterable[Entries], column: str, places: _Places, *, by_group: bool
) -> None:
    """Refuse a group that is in two folds, or by group in two files."""
    for entries in groups:
        alike = entries.alike()
        if by_group and (found := _differing(alike, alike.content)):
            one, other = (int(alike.first[each]) for each in found)
            raise DataError(
                f"column {column!r}: group {places.value(one, column)!r} is in two files "
                f"({places.name(one)}; {places.name(other)}), but its rows share a route, which "
                f"is found in one file; put them together, or set cluster.route_by to null"
            )
        alike = alike.take(alike.fold != OUTSIDE)
        if found := _differing(alike, alike.fold):
            one, other = found
            folds = [FOLDS[alike.fold[each]] for each in (one, other)]
            where = [places.name(int(alike.first[each])) for each in (one, other)]
            name = places.value(int(alike.first[one]), column)
            raise DataError(
                f"column {column!r}: group {name!r} is in {folds[0]} ({where[0]}) and in "
                f"{folds[1]} ({where[1]}); split by group, or give the column another kind"
            )


def _differing(entries: Entries, values: NDArray[Any]) -> tuple[int, int] | None:
    """The first of some ordered entries of a hash that has two values, and one of the other."""
    new = _new(entries)
    crossing = np.flatnonzero(~new[1:] & (values[1:] != values[:-1]))
    if not len(crossing):
        return None
    other = int(crossing[0]) + 1
    return int(np.flatnonzero(new[:other])[-1]), other


def _check_folds(counts: NDArray[np.int64], split: Split) -> None:
    """Refuse an empty fold."""
    for code, fold in enumerate(FOLDS):
        if counts[code]:
            continue
        rows = int(counts[: len(FOLDS)].sum())
        if split.method == "column":
            raise DataError(
                f"the {fold} fold is empty: no row's {split.column!r} is a value that "
                f"split.values gives to {fold}"
            )
        if split.method == "k_fold":
            shares = f"{split.folds} folds"
        else:
            shares = ", ".join(f"{name} {share:g}" for name, share in split.fractions.items())
        raise DataError(
            f"the {fold} fold is empty: {rows} rows, split by {split.method!r} into {shares}; "
            f"there are too few rows, groups, times or clusters of similar rows for that"
        )


def _ambiguous(opened: Sequence[Facts], columns: Columns) -> list[Spelling]:
    """Columns with values that may be one."""
    found = spellings_of(columns)
    for spellings in found:
        for shard in opened:
            spellings.merge(shard.values(spellings.column))
    return [each for spellings in found if (each := spellings.ambiguous()) is not None]
