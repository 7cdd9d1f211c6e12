"""What a step of a random script is: a change, a run, and what must hold afterwards."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine

from shoal.formats.hashing import settings_id
from tests.stateful.dataset import Dataset, Row
from tests.stateful.lab import MIN_ROWS, Lab, Ran
from tests.stateful.lineage import Lineages
from tests.stateful.oracle import FOLDS, PACKS, Choices, Identity, Oracle

if TYPE_CHECKING:
    from pathlib import Path

    from tests.stateful.oracle import Places
    from tests.workflow.warm import Server

LEAST_ROWS, LEAST_IN_FOLD = 80, 8
POINTS = {settings_id({"lr": lr}): lr for lr in (0.01, 0.03, 0.1)}


class Steps(RuleBasedStateMachine):
    """A folder in which steps are made: each ends with a run, and with its checks."""

    start: ClassVar[Lab]
    survey: ClassVar[Lab]
    places: ClassVar[Places]
    server: ClassVar[Server]
    scratch: ClassVar[Path]
    done: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        cls = type(self)
        cls.done["scripts"] += 1
        self.folder = cls.scratch / f"script-{cls.done['scripts']}"
        self.lab = cls.start.copy(self.folder / "lab-0")
        self.data, self.choices = Dataset.first(), Choices()
        self.oracle = Oracle(cls.places, MIN_ROWS, self.data)
        self.oracle.finished(self.data, self.choices)
        self.ran = self.choices
        self.history = [self.data]
        self.copies, self.begun = 0, False
        self.lineages = Lineages()
        self.check_lineages()

    def teardown(self) -> None:
        """The final result equals, bit for bit, a run from nothing in the same generation."""
        try:
            self.choices = self.choices.change(continuing=None)
            if self.begun and self.choices != self.ran:
                self.edit(self.data)
            if self.begun:
                self.check_against_a_run_from_nothing()
                counts = (f"{count} {name}" for name, count in self.done.items())
                sys.stdout.write(f"{', '.join(counts)}\n")
                sys.stdout.flush()
        finally:
            shutil.rmtree(self.folder)

    # What a step is -------------------------------------------------------------------------

    def file(self, draw: st.DataObject) -> tuple[str, tuple[Row, ...]]:
        """A file and its rows."""
        return draw.draw(st.sampled_from(sorted(self.data.files.items())))

    def row(self, draw: st.DataObject, fold: str | None = None) -> Row:
        """A row that occurs, of one fold if wanted."""
        rows = sorted(r for r in self.data.rows if fold in (None, self.places[r.number].fold))
        return draw.draw(st.sampled_from(rows))

    def new_rows(self, draw: st.DataObject, most: int) -> tuple[Row, ...]:
        """Rows that do not occur, one at least."""
        rows = st.sampled_from(self.data.absent)
        return tuple(draw.draw(st.lists(rows, min_size=1, max_size=most, unique=True)))

    def small_change(self, draw: st.DataObject) -> Dataset:
        """The data with one label changed."""
        row = self.row(draw)
        return self.data.everywhere(row.number, label="no" if row.label == "yes" else "yes")

    def valid(self, data: Dataset) -> bool:
        """Whether the workflow takes this data: no fold may be empty, nor a file."""
        folds = [self.places[row.number].fold for row in data.rows.elements()]
        enough = all(folds.count(fold) >= LEAST_IN_FOLD for fold in FOLDS)
        trained = bool(self.oracle.trained(data))
        return enough and trained and len(folds) >= LEAST_ROWS and all(data.files.values())

    def edit(self, data: Dataset) -> None:
        """Run on this data and check what ran."""
        if not self.valid(data):
            data = self.data
        data.write(self.lab.folder / "data")
        self.go_on(data, [])

    def go_on(self, data: Dataset, before: list[Ran] | None) -> set[Identity]:
        """Run to the end. What ran, with what an earlier attempt finished, is what had to run.

        Args:
            data: The rows that the workflow finds.
            before: What an earlier attempt finished; None where it was killed and nobody knows.

        Returns:
            What had to run.
        """
        self.done["steps"] += 1
        trained = self.lab.trained_files()
        code, ran = self.lab.run(self.choices)
        self.ran = self.choices
        log = (self.lab.folder / "last.log").read_text()
        assert code == 0, log
        expected = self.look_for_growth(data)
        self.data = data
        self.check_lineages()
        expected |= self.oracle.expected(data, self.choices)
        self.oracle.finished(data, self.choices)
        self.history.append(data)
        wanted = Counter(self.described(expected))
        seen = Counter(self.seen([*(before or []), *ran]))
        assert not seen - wanted if before is not None else seen.keys() <= wanted.keys(), (
            f"ran, and did not have to: {sorted(seen - wanted)}\n{log}"
        )
        assert before is None or not wanted - seen, (
            f"had to run, and did not: {sorted(wanted - seen)}\n{log}"
        )
        now = self.lab.trained_files()
        assert {path: now[path] for path in trained} == trained
        return expected

    def check_lineages(self) -> None:
        """The models in use are those that they have to be, and have seen no row that is gone."""
        layouts = self.lab.layouts(self.choices).items()
        indexes = {width: self.lab.index(layout) for width, layout in layouts}
        self.oracle.points = chosen_points(indexes)
        for width, index in indexes.items():
            self.lineages.check(index, self.oracle, self.data, self.choices, width)

    def look_for_growth(self, data: Dataset) -> set[Identity]:
        """Ask whether the assigner has grown, which the oracle takes as a fact; by which job."""
        layout, *_ = self.lab.layouts(self.choices).values()
        grown = tuple(layout["grown"])
        if grown == self.oracle.grown:
            return set()
        self.done["growths"] += 1
        return self.oracle.grows(data, grown, self.lab.places(self.survey, grown))

    def described(self, jobs: set[Identity]) -> list[tuple[str, ...]]:
        """Jobs in words that a log has too: a shard by its content, a specialist by its place."""
        said: list[tuple[str, ...]] = []
        for job in jobs:
            name, *about = (str(part) for part in job)
            if name in ("split", "transform", "encode", "assign"):
                content, copy = about[:2]
                said.append((name, content[:12] + ("" if copy == "0" else f"-{int(copy) + 1}")))
            elif name == "train_specialist":
                said.append((name, about[0], about[1]))
            elif name in ("train_choose", "ask"):
                said.append((name, about[0]))
            else:
                said.append((name,))
        return said

    def seen(self, ran: list[Ran]) -> list[tuple[str, ...]]:
        """Jobs of a log in the same words; a pack as the jobs that it does."""
        layouts = self.lab.layouts(self.choices).values()
        entries = [entry for each in layouts for entry in self.lab.index(each)["partitions"]]
        number = {entry["specialist"]: str(entry["partition"]) for entry in entries}
        alone = {pack: rule for rule, pack in PACKS.items()}
        said: list[tuple[str, ...]] = []
        for job in ran:
            about = dict(job.wildcards)
            members = [about]
            if job.rule in alone:
                members = self.lab.members(about["pack"])
                self.done[f"by {job.rule}"] += len(members)
            rule = alone.get(job.rule, job.rule)
            for each in members:
                if "shard" in each:
                    said.append((rule, each["shard"]))
                elif rule == "train_specialist":
                    said.append((rule, number[each["digest"]], str(POINTS[each["slot"]])))
                elif rule == "train_choose":
                    said.append((rule, number[each["digest"]]))
                elif rule == "ask":
                    said.append((rule, each["partition"]))
                else:
                    said.append((rule,))
        return said

    def unlock(self) -> None:
        """What a person does after a crash, when Snakemake finds its folder locked."""
        code, _ = self.lab.run(self.choices, "--unlock")
        assert code == 0

    def check_against_a_run_from_nothing(self) -> None:
        """Run everything but the fits on the final data, elsewhere, and compare all bits."""
        fresh = Lab.new(self.folder / "fresh", self.lab.programs)
        self.data.write(fresh.folder / "data")
        self.lab.copy_generation(fresh)
        choices = self.choices.change(devices=None, grow="report")
        code, ran = fresh.run(choices)
        assert code == 0, (fresh.folder / "last.log").read_text()
        assert not {job.rule for job in ran if job.rule.endswith("_fit")}
        assert fresh.outcome(choices) == self.lab.outcome(self.choices)


def chosen_points(indexes: dict[int, dict[str, Any]]) -> dict[tuple[int, int], float]:
    """The grid point at which each partition of a width continues."""
    return {
        (entry["partition"], width): entry["continued"]["point"]["lr"]
        for width, index in indexes.items()
        for entry in index["partitions"]
        if "continued" in entry
    }
