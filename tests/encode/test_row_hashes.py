"""Digests of rows cover what their tensors are computed from, and nothing that is computed."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from numpy._core._multiarray_umath import __cpu_dispatch__ as dispatched

from shoal.encode.command import encode_fit
from shoal.formats.hashing import row_order
from shoal.formats.kinds import FOLDS, TRAIN
from shoal.formats.row_store import ShardRows
from shoal.settings.data import Encode, PlainSplit, Sources, Transform
from shoal.settings.section import parse
from shoal.split.command import split, split_fit
from shoal.transform.command import transform_fit
from tests.encode.row_digests import digests
from tests.split_files import split_files

KINDS = {
    "id": "id",
    "fold": "ignore",
    "note": "ignore",
    "a": "numeric",
    "b": "numeric",
    "t": "text",
    "y": "label",
}
LOG = {"step": "log", "columns": ["a"]}
SPLIT = PlainSplit(
    method="column",
    column="fold",
    values={"0": "train", "1": "validation", "2": "test"},
    outside=[],
    seed=0,
    fractions={"train": 0.6, "validation": 0.2, "test": 0.2},
)
TRAINING, TEST = 0, 2
"""Rows, by their numbers, of these folds."""
ENCODERS = {
    "numeric": {"encoder": "passthrough"},
    "text": {"encoder": "ngrams", "features": 8},
}
PLAIN = {name: os.environ[name] for name in os.environ if name != "NPY_DISABLE_CPU_FEATURES"}


def lines(rows=400):
    """Rows of a table as :data:`KINDS` has them, by their ids; every third is training's."""
    rng = np.random.default_rng(0)
    numbers = rng.lognormal(size=(rows, 2)).tolist()
    return {n: [n, n % 3, "x", *numbers[n], f"text {n % 7}", "pq"[n % 2]] for n in range(rows)}


class Chain:
    """Split, transform and encode in a folder, fitted once."""

    def __init__(self, folder, steps):
        self.folder, self.steps = folder, steps
        self.write(lines())
        self.fit()

    def write(self, rows):
        """Other source rows."""
        text = [",".join(map(str, row)) for row in [list(KINDS), *rows.values()]]
        (self.folder / "rows.csv").write_text("\n".join(text) + "\n")

    def fit(self):
        """Fit anew."""
        path = self.folder / "rows.csv"
        sources = Sources(
            folder="",
            files=[str(path)],
            task="classification",
            columns=KINDS,
            undeclared="infer",
            images={"size": None, "channels": None},
            shuffle_labels=False,
            batch_rows=100,
        )
        columns, table = self.folder / "columns.json", self.folder / "split.parquet"
        split_fit(sources, SPLIT, columns, self.folder / "folds.safetensors")
        self.cut()
        steps = parse(Transform, {"steps": self.steps, "fit_rows": 100, "seed": 0}, "transform")
        transform_fit(steps, columns, {"s": table}, self.folder / "state.json")
        digests_of = {"kinds": ENCODERS, "columns": {}, "fit_rows": 100, "seed": 0}
        encoders = parse(Encode, digests_of, "encode")
        shapes = self.folder / "shapes.json"
        encode_fit(encoders, columns, {"s": table}, self.folder / "encoder.safetensors", shapes)

    def cut(self):
        """Read the source rows again."""
        columns, folds = self.folder / "columns.json", self.folder / "folds.safetensors"
        source, out = self.folder / "rows.csv", self.folder / "split.parquet"
        split(source, columns, folds, SPLIT, 100, *split_files(out))

    def digests(self, rows=None, content="c"):
        """Digests by fold, after a change of the source."""
        if rows is not None:
            self.write(rows)
            self.cut()
        return digests(self.folder, content)


@pytest.fixture
def chain(tmp_path):
    """Makes a fitted chain with some steps of a transform."""
    return lambda *steps: Chain(tmp_path, list(steps))


def test_digests_stay_where_other_instructions_round_otherwise(chain):
    """Without the instructions that numpy would choose, logarithms differ and digests do not."""
    if not dispatched:
        pytest.skip("numpy has one set of instructions for this processor")
    here = chain(LOG)
    usual = here.digests()

    plain = subprocess.run(
        [sys.executable, "-m", "tests.encode.row_digests", str(here.folder)],
        env=PLAIN | {"NPY_DISABLE_CPU_FEATURES": " ".join(dispatched)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    found = json.loads(plain)
    if found["values"] == usual["values"]:
        pytest.skip("this processor computes the same logarithms either way")
    assert found | {"values": ""} == usual | {"values": ""}


def test_digests_stay_where_the_last_bit_differs(chain, monkeypatch):
    """The same on every processor: a logarithm that is one bit off."""
    here, true = chain(LOG), np.log1p
    usual = here.digests()
    monkeypatch.setattr(np, "log1p", lambda values: np.nextafter(true(values), np.inf))
    other = here.digests()

    assert other["values"] != usual["values"]
    assert other | {"values": ""} == usual | {"values": ""}


def test_rows_keep_their_order_under_other_code(chain):
    """Another identity of the code gives other digests; training visits the rows as before."""
    here, found, orders = chain(LOG), [], []
    for content in ("c", "d"):
        found.append(here.digests(content=content))
        with ShardRows(here.folder / "rows.zarr.zip") as rows:
            fold, hashes, keys = (rows.read(name) for name in ("fold", "hash", "key"))
        orders.append(keys[fold == TRAIN][row_order(hashes[fold == TRAIN])])

    assert all(found[0][fold] != found[1][fold] for fold in FOLDS)
    assert (orders[0] == orders[1]).all()


def edited(column, value, row=TRAINING):
    """Rows with another value of a column in one row."""
    rows = lines()
    rows[row][list(KINDS).index(column)] = value
    return rows


@pytest.mark.parametrize(
    ("column", "value", "changes"),
    [
        ("a", 0.25, True),
        ("b", 0.25, True),
        ("t", "another", True),
        ("y", "other", True),
        ("note", "another", False),
        ("id", 5000, False),
    ],
)
def test_an_edit_changes_the_digest_where_the_model_uses_the_column(chain, column, value, changes):
    """Inputs and label count for training; ignored columns and the id do not."""
    here = chain(LOG)
    before, after = here.digests(lines()), here.digests(edited(column, value))

    assert (after["train"] != before["train"]) == changes
    assert (after["validation"], after["test"]) == (before["validation"], before["test"])


def test_outside_of_training_the_id_counts(chain):
    """Halves of validation are drawn by it, and predictions are listed by it."""
    here = chain(LOG)
    before, after = here.digests(lines()), here.digests(edited("id", 5000, TEST))

    assert [name for name in before if before[name] != after[name]] == ["test"]


def test_a_number_written_otherwise_is_the_same_value(chain):
    """Canonical values are compared, not the characters of the file."""
    here = chain(LOG)

    assert here.digests(edited("a", "0.5")) == here.digests(edited("a", "5.0e-1"))


def test_how_often_a_row_is_there_counts(chain):
    """A second copy of a row is another multiset; the order of rows is no part."""
    here, rows = chain(), lines()
    before = here.digests(rows)
    shuffled = dict(sorted(rows.items(), key=lambda item: str(item[0])))

    assert here.digests(rows | {"copy": rows[TRAINING]})["train"] != before["train"]
    assert here.digests(shuffled) | {"values": ""} == before | {"values": ""}


@pytest.mark.parametrize("step", ["noise", "mask", "swap", "chunk", "reverse_complement"])
def test_where_a_step_draws_the_rows_key_counts(chain, step):
    """Draws are made from it, so rows that swap their ids swap their draws."""
    options = {
        "noise": (["a"], {"sd": 0.1}),
        "mask": (["a"], {"share": 0.5}),
        "swap": (["a", "b"], {"share": 0.5}),
        "chunk": (["t"], {"length": 2, "place": "random"}),
        "reverse_complement": (["t"], {"share": 0.5}),
    }
    columns, own = options[step]
    rows = {n: [*row[:5], "AACG", row[6]] for n, row in lines().items()}
    renamed = {n: [n + 1000, *row[1:]] for n, row in rows.items()}
    here = chain()
    here.write(rows)
    drawn = {}
    for here.steps in ([], [{"step": step, "columns": columns, "options": own}]):
        here.fit()
        before, after = here.digests(rows), here.digests(renamed)
        drawn[len(here.steps)] = [before[name] != after[name] for name in ("values", "train")]

    assert drawn == {0: [False, False], 1: [True, True]}


@pytest.mark.parametrize("rng", ["", ", rng"])
def test_a_function_that_draws_counts_as_one(chain, tmp_path, monkeypatch, rng):
    """Whether it does is told by its arguments."""
    module = f"steps_{len(rng)}"
    (tmp_path / f"{module}.py").write_text(f"def f(value{rng}):\n    return value\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    options = {"_target_": f"{module}.f", "training_only": True}
    here = chain({"step": "function", "columns": ["a"], "options": options})
    before, after = here.digests(lines()), here.digests(edited("id", 5000))

    assert (before["train"] != after["train"]) == bool(rng)


def test_copies_count_as_often_as_they_are_there(chain):
    """Rows that balance repeats are rows with the same content, under other keys."""
    few = {n: [*row[:6], "p" if n % 5 else "q"] for n, row in lines().items()}
    here = chain()
    here.write(few)
    found = []
    for here.steps in ([], [{"step": "balance", "options": {"ratio": 1, "sampling": "up"}}]):
        here.fit()
        found.append(here.digests(few))

    with ShardRows(here.folder / "rows.zarr.zip") as rows:
        hashes = rows.read("hash")[rows.read("fold") == 0]
    assert len(np.unique(hashes, axis=0)) < len(hashes)
    assert found[0]["train"] != found[1]["train"]


def test_settings_code_and_fitted_state_count(chain):
    """The identity of settings and code, the state of the transform, and that of the encoders."""
    here = chain({"step": "clip", "columns": ["a"], "options": {"high_quantile": 0.9}})
    before = here.digests()
    other = here.digests(content="other")
    state = json.loads((here.folder / "state.json").read_text())
    state["steps"][0]["fitted"]["a"][1] += 0.5
    (here.folder / "state.json").write_text(json.dumps(state))
    refitted = here.digests()

    found = {each["train"] for each in (before, other, refitted)}
    assert len(found) == 3


def test_where_a_fit_was_made_from_is_no_part(chain):
    """A state that differs in its record alone is the same state."""
    here = chain({"step": "clip", "columns": ["a"], "options": {"high_quantile": 0.9}})
    before = here.digests()
    state = json.loads((here.folder / "state.json").read_text())
    (here.folder / "state.json").write_text(
        json.dumps(state | {"made_from": {"code": "other", "files": {}}})
    )

    assert here.digests() == before
