"""Through many waves of rows and removals no model in use has seen a row that is gone."""

from __future__ import annotations

import os
import random
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.stateful.dataset import UNIVERSE, Dataset, Row
from tests.stateful.direct import TRAINS, Direct
from tests.stateful.lab import MIN_ROWS
from tests.stateful.lineage import Lineages
from tests.stateful.oracle import Choices, Continuing, Oracle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.stateful.oracle import Places

REMOVALS = int(os.environ.get("SHOAL_REMOVALS", "20"))
SEED = int(os.environ.get("SHOAL_SEED", "0"))
LEAST_ROWS, MOST_WAVES, MOST_IN_WAVE = 90, 6, 8
CHOICES = Choices(continuing=Continuing())


@dataclass
class Waves:
    """Files with rows that come one after the other, and lose rows again."""

    places: Places
    drawn: random.Random
    data: Dataset = field(default_factory=Dataset.first)
    history: list[Dataset] = field(default_factory=list)
    gone: Row | None = None

    def edit(self) -> str:
        """Change the rows at random: the name of the edit."""
        edits: dict[Callable[[], Dataset | None], int] = {
            self.append: 6,
            self.remove_from_last: 8,
            self.remove_from_first: 3,
            self.remove_any: 1,
            self.drop_a_wave: 2,
            self.undo: 2,
            self.rerun: 1,
        }
        while True:
            (edit,) = self.drawn.choices([*edits], [*edits.values()])
            self.gone = None
            data = edit()
            if data is not None and data.rows.total() >= LEAST_ROWS:
                self.history.append(self.data)
                self.data = data
                return edit.__name__

    @property
    def waves(self) -> list[str]:
        """Files that came, in order."""
        return sorted(name for name in self.data.files if name.startswith("wave"))

    def append(self) -> Dataset | None:
        """A new file."""
        last = self.waves[-1:] or ["wave-000.csv"]
        new, absent = int(last[0][5:8]) + 1, self.data.absent
        may_lose = self.data.rows.total() >= LEAST_ROWS + MOST_IN_WAVE
        if not absent or (len(self.waves) >= MOST_WAVES and may_lose):
            return None
        count = self.drawn.randint(1, min(MOST_IN_WAVE, len(absent)))
        return self.data.with_file(f"wave-{new:03}.csv", tuple(self.drawn.sample(absent, count)))

    def remove_from_last(self) -> Dataset | None:
        """A row of the last wave goes."""
        return self._without_a_row(self.waves[-1:])

    def remove_from_first(self) -> Dataset | None:
        """A row of the first wave goes."""
        return self._without_a_row(self.waves[:1])

    def remove_any(self) -> Dataset | None:
        """A row of any file goes, also one that was there at the start."""
        return self._without_a_row([*self.data.files])

    def drop_a_wave(self) -> Dataset | None:
        """A file that came goes again."""
        return self.data.without_file(self.drawn.choice(self.waves)) if self.waves else None

    def undo(self) -> Dataset:
        """The rows are what they were some steps ago."""
        return self.drawn.choice(self.history[-5:] or [self.data])

    def rerun(self) -> Dataset:
        """Nothing changes."""
        return self.data

    def _without_a_row(self, names: list[str]) -> Dataset | None:
        """Training rows alone, on which all depends that is checked here."""
        rows = [(n, r) for n in names for r in self.data.files[n] if self._trains(r)]
        if not rows:
            return None
        name, self.gone = self.drawn.choice(rows)
        left = tuple(row for row in self.data.files[name] if row != self.gone)
        return self.data.with_file(name, left) if left else self.data.without_file(name)

    def _trains(self, row: Row) -> bool:
        return self.places[row.number].fold == "train"


def start(folder: Path) -> tuple[Direct, Places]:
    """A lab after its first run, and where it puts rows."""
    lab, data = Direct.new(folder / "lab", None), Dataset.first()
    data.write(lab.folder / "data")
    lab.run(CHOICES)
    survey = Direct.new(folder / "survey", None)
    Dataset({"all.csv": tuple(row for _, row in UNIVERSE)}).write(survey.folder / "data")
    lab.copy_generation(survey)
    survey.run(Choices())
    return lab, lab.places(survey)


def remove_rows(
    lab: Direct, places: Places, seed: int, removals: int
) -> tuple[Counter[str], float]:
    """Edit at random, and check each step.

    Returns:
        How often each edit was made; FLOPs of what a removed row of the last wave has trained, over
        those of its partition's training from the base.
    """
    waves, done = Waves(places, random.Random(seed)), Counter[str]()
    oracle, lineages = Oracle(places, MIN_ROWS, waves.data), Lineages()
    (width,) = CHOICES.widths
    oracle.finished(waves.data, CHOICES)
    lineages.check(lab.index(lab.layouts(CHOICES)[width]), oracle, waves.data, CHOICES, width)
    spent = from_base = 0.0
    while sum(count for name, count in done.items() if name.startswith("remove")) < removals:
        name = waves.edit()
        done[name] += 1
        waves.data.write(lab.folder / "data")
        ran = Counter(job.rule for job in lab.train(CHOICES))
        expected = [job for job in oracle.expected(waves.data, CHOICES) if job[0] in TRAINS]
        assert ran == Counter(str(job[0]) for job in expected), f"seed {seed}: {done}"
        index = lab.index(lab.layouts(CHOICES)[width])
        lineages.check(index, oracle, waves.data, CHOICES, width)
        number = came_last(oracle, waves.gone)
        if number in oracle.trained(waves.data):
            costs = lab.costs(index, number)
            trained = {job[1] for job in expected if job[0] == "train_specialist"}
            spent += costs[0] if number in trained else 0.0
            from_base += costs[1]
        oracle.finished(waves.data, CHOICES)
    return done, spent / max(from_base, 1.0)


def came_last(oracle: Oracle, row: Row | None) -> int | None:
    """The partition of a row that came with the last link of it; None where it did not."""
    if row is None:
        return None
    number = oracle.places[row.number].partition
    model = next(iter(oracle.indexes.values())).specialists.get(number)
    if model is None or model.parent is None:
        return None
    seen = {(number, label) for number, label, _ in model.parent.rows[0]}
    return None if (row.number, row.label) in seen else number


def test_no_model_in_use_has_seen_a_row_that_is_gone(tmp_path: Path) -> None:
    """What trains is what an oracle asks for; a row of the last wave costs a quarter at most."""
    done, share = remove_rows(*start(tmp_path), SEED, REMOVALS)
    sys.stdout.write(f"{dict(done)}; a row of the last wave cost {share:.3f} of a cold start\n")
    assert share <= 0.25
