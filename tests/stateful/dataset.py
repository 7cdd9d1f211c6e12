"""A small dataset that scripts edit, held in memory and written as source files."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

ROWS, FIRST_ROWS, FILES = 180, 120, 3
KIND_ROWS = 48
_HEADER = "id,a,b,town,note,label"


class Row(NamedTuple):
    """One row: which of the universe's rows it is, its label, and a note that nobody reads."""

    number: int
    label: str
    note: str


def universe() -> list[tuple[str, Row]]:
    """Every row that may ever occur: the text of its inputs, and the row.

    The last ones are of a kind of their own, far from all others.
    """
    rng = np.random.default_rng(7)
    a, b = rng.normal(size=(2, ROWS)).round(3)
    north = rng.random(ROWS) < 0.5
    kind = (np.array([[9.0], [9.0]]) + rng.normal(scale=0.1, size=(2, KIND_ROWS))).round(3)
    (a, b), north = np.hstack([[a, b], kind]), np.append(north, rng.random(KIND_ROWS) < 0.5)
    return [
        (
            f"{a[n]},{b[n]},{'north' if north[n] else 'south'}",
            Row(n, "yes" if (a[n] > 0) == north[n] else "no", "-"),
        )
        for n in range(len(a))
    ]


UNIVERSE = universe()
KIND = tuple(row for _, row in UNIVERSE[ROWS:])
"""Rows of a kind that the generation's fit has not seen."""


@dataclass(frozen=True)
class Dataset:
    """Source files by name, each a tuple of rows; every edit gives another dataset.

    A row of one number has one label and one note wherever it stands, since one id with two
    contents is an error.
    """

    files: dict[str, tuple[Row, ...]] = field(default_factory=dict)

    @classmethod
    def first(cls) -> Dataset:
        """What the generation is fitted on."""
        rows = [row for _, row in UNIVERSE[:FIRST_ROWS]]
        size = FIRST_ROWS // FILES
        return cls({f"part-{n}.csv": tuple(rows[n * size : (n + 1) * size]) for n in range(FILES)})

    @property
    def rows(self) -> Counter[Row]:
        """How often each row occurs."""
        return Counter(row for rows in self.files.values() for row in rows)

    @property
    def absent(self) -> list[Row]:
        """Rows of the universe that do not occur, those of the new kind aside."""
        present = {row.number for row in self.rows}
        return [row for _, row in UNIVERSE[:ROWS] if row.number not in present]

    def with_file(self, name: str, rows: tuple[Row, ...]) -> Dataset:
        """The dataset with one file's rows replaced, or a file added."""
        return Dataset({**self.files, name: rows})

    def without_file(self, name: str) -> Dataset:
        """The dataset without a file."""
        return Dataset({other: rows for other, rows in self.files.items() if other != name})

    def everywhere(self, number: int, **change: str) -> Dataset:
        """The dataset with another label or note in every row of one number."""
        return Dataset(
            {
                name: tuple(replace_row(row, number, change) for row in rows)
                for name, rows in self.files.items()
            }
        )

    def contents(self) -> dict[str, bytes]:
        """Bytes of each source file."""
        return {name: as_csv(rows) for name, rows in self.files.items()}

    def shards(self) -> Counter[str]:
        """How often each content occurs, by its hash."""
        return Counter(hashlib.sha256(content).hexdigest() for content in self.contents().values())

    def write(self, folder: Path) -> None:
        """Make the folder hold these files; files whose content stays are left as they are."""
        contents = self.contents()
        for path in folder.iterdir():
            if path.name not in contents:
                path.unlink()
        for name, content in contents.items():
            path = folder / name
            if not path.exists() or path.read_bytes() != content:
                path.write_bytes(content)


def replace_row(row: Row, number: int, change: dict[str, str]) -> Row:
    """The row, changed if it has this number."""
    return row._replace(**change) if row.number == number else row


def as_csv(rows: tuple[Row, ...]) -> bytes:
    """A source file's bytes."""
    lines = [f"row-{row.number},{UNIVERSE[row.number][0]},{row.note},{row.label}" for row in rows]
    return "\n".join([_HEADER, *lines, ""]).encode()
