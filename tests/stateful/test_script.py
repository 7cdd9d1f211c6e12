"""After every edit exactly the jobs run that an oracle asks for; nothing else changes."""

from __future__ import annotations

import math
import os
import time
from typing import TYPE_CHECKING

import hypothesis
import hypothesis.strategies as st
import pytest
from hypothesis.stateful import (
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.stateful.dataset import KIND, ROWS, UNIVERSE, Dataset
from tests.stateful.lab import Lab
from tests.stateful.oracle import FOLDS, Choices, Continuing, packed
from tests.stateful.steps import Steps

if TYPE_CHECKING:
    from pathlib import Path

    from tests.workflow.warm import Server


STEPS = int(os.environ.get("SHOAL_STEPS", "10"))
SEED = os.environ.get("SHOAL_SEED")
SCRIPT = 20
"""Steps of one script; each script starts from the same finished run."""
FAILING = (
    *("split", "encode", "assign", "partition", "train-specialist", "train-pack", "train-choose"),
    *("choose-pack", "train-router", "ask", "ask-pack", "pool-build", "evaluate"),
    *("evaluate-drift", "pool-publish"),
)


class Script(Steps):
    """A random script of edits; each rule is one step and ends with a run and its checks."""

    @initialize(number=st.integers(0, 2**16))
    def begin(self, number: int) -> None:
        """Leave out the script that Hypothesis begins with: its simplest, one edit many times."""
        hypothesis.assume(number)
        self.begun = True

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
        changes: tuple[dict[str, object], ...] = (
            {"bootstrap": 80},
            {"bootstrap": 60},
            {"temperature": 0.5},
            {"temperature": 1.0},
            {"weight_decay": 0.02},
            {"weight_decay": 0.01},
            {"patience": 2.0},
            {"patience": None},
            {"devices": 1},
            {"devices": None},
            {"grow": "report"},
            {"continuing": Continuing()},
            {"continuing": Continuing(history=0.0, longest=1)},
            {"continuing": Continuing(recency="recent")},
            {"continuing": None},
        )
        self.choices = self.choices.change(**draw.draw(st.sampled_from(changes)))
        self.edit(self.data)

    @rule(grid=st.sampled_from(((0.01,), (0.01, 0.03), (0.03,), (0.01, 0.1))))
    def change_the_grid(self, grid: tuple[float, ...]) -> None:
        """A grid point comes or goes."""
        self.choices = self.choices.change(grid=grid)
        self.edit(self.data)

    @rule(draw=st.data())
    def search_over_two_widths(self, draw: st.DataObject) -> None:
        """A row changes, and two variants are compared; then there is one."""
        self.choices = self.choices.change(widths=(2, 3))
        self.edit(self.small_change(draw))
        self.choices = self.choices.change(widths=(2,))

    @precondition(lambda self: len(self.data.files) < 5)
    @rule(draw=st.data())
    def continue_after_a_wave(self, draw: st.DataObject) -> None:
        """New rows train models on; one of them goes, and they are rewound."""
        if self.choices.continuing is None:
            self.choices = self.choices.change(continuing=Continuing())
        before, new = self.data.files, self.new_rows(draw, 6)
        self.edit(self.data.with_file("wave.csv", (*before.get("wave.csv", ()), *new)))
        rows = self.data.files.get("wave.csv", ())
        if len(rows) > 1:
            gone = draw.draw(st.sampled_from(rows))
            self.edit(self.data.with_file("wave.csv", tuple(row for row in rows if row != gone)))

    @precondition(lambda self: not self.oracle.grown)
    @rule(by_itself=st.booleans(), widths=st.sampled_from((*[(2,)] * 4, (2, 3))))
    def a_new_kind_comes(self, *, by_itself: bool, widths: tuple[int, ...]) -> None:
        """Rows arrive that lie apart from all others; the assigner grows by a partition."""
        self.choices = self.choices.change(grow="auto" if by_itself else "report", widths=widths)
        if len(widths) > 1:
            self.edit(self.data)
        data = Dataset.first().with_file("kind.csv", KIND)
        data.write(self.lab.folder / "data")
        if not by_itself:
            self.lab.grow(self.choices)
            self.oracle.has_grown(data)
        self.go_on(data, [])
        self.choices = self.choices.change(widths=(2,))
        partitions = {self.oracle.places[row.number].partition for row in KIND}
        others = {place.partition for n, place in self.oracle.places.items() if n < ROWS}
        assert partitions == {max(others) + 1}

    # Failures -------------------------------------------------------------------------------

    @rule(draw=st.data(), command=st.sampled_from(FAILING))
    def fail_and_fix(self, draw: st.DataObject, command: str) -> None:
        """Data changes, one command fails, its cause is fixed, the workflow runs again."""
        data = self.small_change(draw)
        data.write(self.lab.folder / "data")
        code, before = self.lab.run(self.choices, SHOAL_FAIL=command)
        log = (self.lab.folder / "last.log").read_text()
        expected = self.go_on(data, before)
        rule = "pool" if command == "pool-build" else command.replace("-", "_")
        hit = packed(expected, self.choices).get(rule, rule in {str(job[0]) for job in expected})
        assert (code != 0) == hit, log

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


@pytest.mark.long
def test_what_runs_is_what_an_oracle_asks_for(warm: Server, tmp_path: Path) -> None:
    """Whatever is edited, whatever fails: exactly the stale jobs run, with the same bits."""
    lab = Lab.new(tmp_path / "start", programs(warm, tmp_path / "programs"))
    Dataset.first().write(lab.folder / "data")
    code, _ = lab.run(Choices())
    assert code == 0, (lab.folder / "last.log").read_text()
    survey = Lab.new(tmp_path / "survey", lab.programs)
    Dataset({"all.csv": tuple(row for _, row in UNIVERSE)}).write(survey.folder / "data")
    lab.copy_generation(survey)
    assert survey.run(Choices())[0] == 0

    Script.start, Script.survey, Script.places = lab, survey, lab.places(survey)
    Script.server, Script.scratch = warm, tmp_path
    if SEED is not None:
        hypothesis.seed(int(SEED))(Script)
    settings = hypothesis.settings(
        max_examples=math.ceil(STEPS / SCRIPT),
        stateful_step_count=1 + min(STEPS, SCRIPT),
        derandomize=SEED is None,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    run_state_machine_as_test(Script, settings=settings)
