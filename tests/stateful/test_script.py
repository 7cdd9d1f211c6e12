"""After every edit exactly the jobs run that an oracle asks for; nothing else changes."""

from __future__ import annotations

import math
import os
import shutil
import sys
import time
from typing import TYPE_CHECKING, ClassVar

import hypothesis
import hypothesis.strategies as st
import pytest
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)

from shoal.hashing import settings_id
from tests.stateful.dataset import UNIVERSE, Dataset, Row
from tests.stateful.lab import MIN_ROWS, Lab, Ran
from tests.stateful.oracle import FOLDS, Choices, Identity, Oracle
from tests.workflow.warm import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.stateful.oracle import Place

STEPS = int(os.environ.get("SHOAL_STEPS", "20"))
SEED = os.environ.get("SHOAL_SEED")
SCRIPT = 20
"""Steps of one script; each script starts from the same finished run."""
LEAST_ROWS, LEAST_IN_FOLD = 80, 8
POINTS = {settings_id({"lr": lr}): lr for lr in (0.01, 0.03, 0.1)}
FAILING = ("split", "encode", "assign", "partition", "train-specialist", "train-choose")
FAILING += ("train-router", "pool", "evaluate", "evaluate-drift", "pool-publish")


class Script(RuleBasedStateMachine):
    """A random script of edits; each rule is one step and ends with a run and its checks."""

    start: ClassVar[Lab]
    places: ClassVar[dict[int, Place]]
    server: ClassVar[Server]
    scratch: ClassVar[Path]
    steps: ClassVar[int] = 0
    scripts: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        cls = type(self)
        cls.scripts += 1
        self.folder = cls.scratch / f"script-{cls.scripts}"
        self.lab = cls.start.copy(self.folder / "lab-0")
        self.data, self.choices = Dataset.first(), Choices()
        self.oracle = Oracle(cls.places, MIN_ROWS)
        self.oracle.finished(self.data, self.choices)
        self.history = [self.data]
        self.copies = 0

    def teardown(self) -> None:
        """The final result equals, bit for bit, a run from nothing in the same generation."""
        try:
            self.check_against_a_run_from_nothing()
        finally:
            shutil.rmtree(self.folder)

    # Edits of rows --------------------------------------------------------------------------

    @rule(draw=st.data())
    def append_rows(self, draw: st.DataObject) -> None:
        """New rows at the end of a file."""
        self.insert(draw, at_end=True)

    @rule(draw=st.data())
    def insert_rows(self, draw: st.DataObject) -> None:
        """New rows in the middle of a file."""
        self.insert(draw, at_end=False)

    def insert(self, draw: st.DataObject, *, at_end: bool) -> None:
        """Put rows of the universe that do not occur into a file."""
        new = self.new_rows(draw, 2)
        name, rows = self.file(draw)
        place = len(rows) if at_end else draw.draw(st.integers(0, len(rows)))
        self.edit(self.data.with_file(name, (*rows[:place], *new, *rows[place:])))

    @rule(draw=st.data())
    def repeat_a_row(self, draw: st.DataObject) -> None:
        """A row that is there already comes once more: multiplicity counts."""
        name, rows = self.file(draw)
        self.edit(self.data.with_file(name, (*rows, self.row(draw))))

    @rule(draw=st.data())
    def delete_a_row(self, draw: st.DataObject) -> None:
        """A row goes."""
        name, rows = self.file(draw)
        place = draw.draw(st.integers(0, len(rows) - 1))
        self.edit(self.data.with_file(name, (*rows[:place], *rows[place + 1 :])))

    @rule(draw=st.data())
    def replace_a_row(self, draw: st.DataObject) -> None:
        """A row becomes another one, which may belong elsewhere."""
        name, rows = self.file(draw)
        place = draw.draw(st.integers(0, len(rows) - 1))
        self.edit(
            self.data.with_file(name, (*rows[:place], *self.new_rows(draw, 1), *rows[place + 1 :]))
        )

    @rule(draw=st.data(), fold=st.sampled_from(FOLDS))
    def relabel_a_row(self, draw: st.DataObject, fold: str) -> None:
        """A row of the training, validation or test fold gets the other label."""
        row = self.row(draw, fold)
        self.edit(self.data.everywhere(row.number, label="no" if row.label == "yes" else "yes"))

    @rule(draw=st.data(), note=st.sampled_from("abc"))
    def change_an_ignored_column(self, draw: st.DataObject, note: str) -> None:
        """What nobody reads changes: a shard is new, no partition is."""
        self.edit(self.data.everywhere(self.row(draw).number, note=note))

    # Edits of files -------------------------------------------------------------------------

    @precondition(lambda self: len(self.data.files) < 5)
    @rule(draw=st.data())
    def add_a_file(self, draw: st.DataObject) -> None:
        """A new source file."""
        new = self.new_rows(draw, 4)
        names = [f"more-{n}.csv" for n in range(9) if f"more-{n}.csv" not in self.data.files]
        self.edit(self.data.with_file(draw.draw(st.sampled_from(names)), new))

    @precondition(lambda self: len(self.data.files) > 2)
    @rule(draw=st.data())
    def remove_a_file(self, draw: st.DataObject) -> None:
        """A source file goes, with its rows."""
        self.edit(self.data.without_file(self.file(draw)[0]))

    @rule(draw=st.data())
    def rename_a_file(self, draw: st.DataObject) -> None:
        """A source file gets another name."""
        name, rows = self.file(draw)
        new = draw.draw(st.sampled_from([f"{letter}-{name[-9:]}" for letter in "axz"]))
        if new not in self.data.files:
            self.edit(self.data.without_file(name).with_file(new, rows))

    @rule(draw=st.data())
    def reorder_a_file(self, draw: st.DataObject) -> None:
        """The rows of a file in another order: a shard is new, no partition is."""
        name, rows = self.file(draw)
        order = draw.draw(st.permutations(range(len(rows))))
        self.edit(self.data.with_file(name, tuple(rows[place] for place in order)))

    @rule(draw=st.data())
    def cut_rows_into_files_otherwise(self, draw: st.DataObject) -> None:
        """Rows move from one file to another: two shards are new, no partition is."""
        (name, rows), (other, others) = self.file(draw), self.file(draw)
        if name != other and len(rows) > 5:
            self.edit(self.data.with_file(name, rows[3:]).with_file(other, (*others, *rows[:3])))

    @rule(draw=st.data())
    def touch_a_file(self, draw: st.DataObject) -> None:
        """A file's time changes and nothing else."""
        seconds = draw.draw(st.sampled_from((1_000_000_000, 2_000_000_000)))
        os.utime(self.lab.folder / "data" / self.file(draw)[0], (seconds, seconds))
        self.edit(self.data)

    @rule(draw=st.data())
    def undo(self, draw: st.DataObject) -> None:
        """The data is what it was some steps ago."""
        self.edit(draw.draw(st.sampled_from(self.history)))

    # Settings -------------------------------------------------------------------------------

    @rule(draw=st.data())
    def change_a_setting(self, draw: st.DataObject) -> None:
        """A setting of training, router or evaluation changes."""
        changes = (
            {"bootstrap": 80},
            {"bootstrap": 60},
            {"temperature": 0.5},
            {"temperature": 1.0},
            {"weight_decay": 0.02},
            {"weight_decay": 0.01},
        )
        self.choices = self.choices.change(**draw.draw(st.sampled_from(changes)))
        self.edit(self.data)

    @rule(grid=st.sampled_from(((0.01,), (0.01, 0.03), (0.03,), (0.01, 0.1))))
    def change_the_grid(self, grid: tuple[float, ...]) -> None:
        """A grid point comes or goes."""
        self.choices = self.choices.change(grid=grid)
        self.edit(self.data)

    # Failures -------------------------------------------------------------------------------

    @rule(draw=st.data(), command=st.sampled_from(FAILING))
    def fail_and_fix(self, draw: st.DataObject, command: str) -> None:
        """Data changes, one command fails, its cause is fixed, the workflow runs again."""
        data = self.small_change(draw)
        data.write(self.lab.folder / "data")
        code, before = self.lab.run(self.choices, SHOAL_FAIL=command)
        expected = self.oracle.expected(data, self.choices)
        hit = command.replace("-", "_") in {str(job[0]) for job in expected}
        assert (code != 0) == hit, (self.lab.folder / "last.log").read_text()
        self.go_on(data, before)

    @rule(draw=st.data(), seconds=st.floats(0.5, 6.0))
    def kill_everything(self, draw: st.DataObject, seconds: float) -> None:
        """Data changes, the machine goes down in the middle of the run, and comes back."""
        data = self.small_change(draw)
        data.write(self.lab.folder / "data")
        process = self.lab.start(self.choices)
        time.sleep(seconds)
        process.kill()
        self.server.kill_all()
        process.communicate()
        self.unlock()
        self.go_on(data, None)

    @rule(draw=st.data(), command=st.sampled_from(FAILING), seconds=st.floats(0.0, 0.3))
    def kill_one_job(self, draw: st.DataObject, command: str, seconds: float) -> None:
        """Data changes, and one of the jobs is killed while it runs."""
        data = self.small_change(draw)
        data.write(self.lab.folder / "data")
        process = self.lab.start(self.choices)
        while process.poll() is None and not self.server.kill(f"shoal {command} "):
            time.sleep(0.02)
        process.communicate()
        self.go_on(data, None)

    @rule(draw=st.data())
    def go_on_elsewhere(self, draw: st.DataObject) -> None:
        """The folder is copied without Snakemake's records and with other times."""
        self.copies += 1
        self.lab = self.lab.copy(self.folder / f"lab-{self.copies}", metadata=False)
        self.edit(draw.draw(st.sampled_from([self.data, self.small_change(draw)])))

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

    def go_on(self, data: Dataset, before: list[Ran] | None) -> None:
        """Run to the end. What ran, with what an earlier attempt finished, is what had to run.

        Args:
            data: The rows that the workflow finds.
            before: What an earlier attempt finished; None where it was killed and nobody knows.
        """
        type(self).steps += 1
        trained = self.lab.trained_files()
        code, ran = self.lab.run(self.choices)
        log = (self.lab.folder / "last.log").read_text()
        assert code == 0, log
        expected = self.oracle.expected(data, self.choices)
        self.oracle.finished(data, self.choices)
        self.data = data
        self.history.append(data)
        wanted = sorted(self.described(expected, data))
        if before is None:
            assert set(self.seen(ran)) <= set(wanted), log
        else:
            assert sorted(self.seen([*before, *ran])) == wanted, log
        now = self.lab.trained_files()
        assert {path: now[path] for path in trained} == trained

    def described(self, jobs: set[Identity], data: Dataset) -> list[tuple[str, ...]]:
        """Jobs in words that a log has too: a shard by its content, a specialist by its place."""
        said = []
        for job in jobs:
            name, *about = (str(part) for part in job)
            if name in ("split", "transform", "encode", "embed", "assign"):
                content, copy = about
                said.append((name, content[:12] + ("" if copy == "0" else f"-{int(copy) + 1}")))
            elif name == "train_specialist":
                said.append((name, about[0], about[1]))
            elif name == "train_choose":
                said.append((name, about[0]))
            else:
                said.append((name,))
        return said

    def seen(self, ran: list[Ran]) -> list[tuple[str, ...]]:
        """Jobs of a log in the same words."""
        index = self.lab.index()
        number = {e["specialist"]: str(e["partition"]) for e in index["partitions"]}
        said = []
        for job in ran:
            wildcards = dict(job.wildcards)
            if "shard" in wildcards:
                said.append((job.rule, wildcards["shard"]))
            elif job.rule == "train_specialist":
                said.append(
                    (job.rule, number[wildcards["digest"]], str(POINTS[wildcards["point"]]))
                )
            elif job.rule == "train_choose":
                said.append((job.rule, number[wildcards["digest"]]))
            else:
                said.append((job.rule,))
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
        code, ran = fresh.run(self.choices)
        assert code == 0, (fresh.folder / "last.log").read_text()
        assert not {job.rule for job in ran if job.rule.endswith("_fit")}
        assert fresh.outcome() == self.lab.outcome()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The programs, started once."""
    with Server(tmp_path_factory.mktemp("warm") / "s") as running:
        yield running


def programs(server: Server, folder: Path) -> Path:
    """``snakemake`` and ``shoal``; the latter fails where SHOAL_FAIL names its command."""
    folder.mkdir()
    (folder / "snakemake").symlink_to(server.bin / "snakemake")
    wrapper = folder / "shoal"
    wrapper.write_text(
        f'#!/bin/sh\n[ "$1" = "$SHOAL_FAIL" ] && exit 1\nexec {server.bin}/shoal "$@"\n'
    )
    wrapper.chmod(0o755)
    return folder


def test_what_runs_is_what_an_oracle_asks_for(server: Server, tmp_path: Path) -> None:
    """Whatever is edited, whatever fails: exactly the stale jobs run, with the same bits."""
    lab = Lab.new(tmp_path / "start", programs(server, tmp_path / "programs"))
    Dataset.first().write(lab.folder / "data")
    code, _ = lab.run(Choices())
    assert code == 0, (lab.folder / "last.log").read_text()
    survey = Lab.new(tmp_path / "survey", lab.programs)
    Dataset({"all.csv": tuple(row for _, row in UNIVERSE)}).write(survey.folder / "data")
    lab.copy_generation(survey)
    assert survey.run(Choices())[0] == 0

    Script.start, Script.places, Script.server = lab, survey.places(), server
    Script.scratch = tmp_path
    if SEED is not None:
        hypothesis.seed(int(SEED))(Script)
    settings = hypothesis.settings(
        max_examples=math.ceil(STEPS / SCRIPT),
        stateful_step_count=min(STEPS, SCRIPT),
        derandomize=SEED is None,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    run_state_machine_as_test(Script, settings=settings)
    sys.stdout.write(f"{Script.steps} steps in {Script.scripts} scripts\n")
