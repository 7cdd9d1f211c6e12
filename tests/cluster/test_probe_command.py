"""The command cluster-fit for assigners that train probes."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from shoal.cluster.assigner import load_assigner
from shoal.cluster.probe_command import cluster_fit
from shoal.errors import DataError
from shoal.formats.fitted_state import save_state
from shoal.formats.kinds import TRAIN, VALIDATION
from shoal.formats.shapes import Shapes
from shoal.settings.discovery import AutoAtoms, LossAtoms
from shoal.settings.learning import Model, Training
from shoal.training import lanes
from shoal.training.determinism import deterministic
from shoal.training.model import build_model, weights

MODEL = Model(_target_="shoal.models.MLP", features=3, outputs=2, width=1, depth=0)
TRAINING = Training(
    loss="auto", class_weights=None, lr=0.05, weight_decay=0.0, epsilon=1e-8, batch_size=32,
    rows_seen=20_000, base_share=0.5,
    schedule="cosine", warm_up=0.0, epochs=None, flops=None, patience=None,
    buffer_rows=1000, seed=0,
)  # fmt: skip
COMMON = {
    "atoms": 12, "lower": 0.25, "upper": 2.0, "fit_rows": 10_000, "min_rows": 20, "seed": 0,
}  # fmt: skip
AUTO = AutoAtoms(method="auto", partitions=[2, 4], share=0.6, confidence=2.0, **COMMON)
LOSS = LossAtoms(method="loss", partitions=2, rounds=2, share=0.4, loss_rows=200, **COMMON)


@pytest.fixture
def fit(tmp_path, shards):
    """Fits an assigner on rows, from a base that knows nothing, and says what it wrote."""
    deterministic(1)

    def run(settings, rows, model=MODEL, folder="run", cuts=2):
        root = tmp_path / folder
        parts = np.array_split(np.arange(len(rows)), cuts)
        files = [shards.write(root, f"part{n}", rows[part]) for n, part in enumerate(parts)]
        number = rows.y.dtype.kind == "f"
        task = ("regression", None, 1) if number else ("classification", ["a", "b"], 2)
        shapes = Shapes([3], task[2], task[0], task[1], len(rows), ["a", "b", "c"], [])
        shapes.save(root / "shapes.json")
        budget = {"rows_seen": TRAINING.rows_seen, "base_share": 0.5, "training_rows": 1}
        save_state(
            root / "base.safetensors",
            weights(build_model(model, shapes, 0)),
            {"budget": budget},
        )
        cluster_fit(
            settings,
            model,
            TRAINING,
            [f.encoded for f in files],
            files[0].embedder,
            root / "base.safetensors",
            root / "shapes.json",
            root / "assigner.safetensors",
            root / "ledger.json",
            1,
        )
        return SimpleNamespace(
            assigner=load_assigner(root / "assigner.safetensors"),
            bytes=(root / "assigner.safetensors").read_bytes(),
            ledger=json.loads((root / "ledger.json").read_text()),
        )

    return run


@pytest.fixture
def rows(shards):
    """Rows of two far places; the label is the sign of one input, turned round in one of them."""

    def make(conflicting, count=900):
        rng = np.random.default_rng(0)
        x = rng.normal(size=(count, 3)).astype(np.float32)
        place = rng.random(count) < 0.5
        label = (x[:, 1] > 0) != (conflicting & place)
        x[:, 0] = 6.0 * np.where(place, 1.0, -1.0)
        fold = rng.choice([TRAIN, VALIDATION], size=count, p=[0.6, 0.4]).astype(np.uint8)
        return replace(shards.random_rows(count), x=x, y=label.astype(np.int64), fold=fold)

    return make


def test_auto_takes_one_partition_where_there_is_one_rule(fit, rows):
    """Homogeneous data are not cut."""
    done = fit(AUTO, rows(conflicting=False))

    assert done.assigner.partitions == 1
    assert [found["partitions"] for found in done.assigner.candidates] == [1, 2, 4]


def test_auto_cuts_where_rules_conflict(fit, rows):
    """Data that one model cannot fit are cut; every candidate is judged on half the fold."""
    data = rows(conflicting=True)

    candidates = fit(AUTO, data).assigner.candidates

    best = min(candidates, key=lambda found: found["loss"])
    assert best["partitions"] > 1
    assert best["gain"] > 0.2
    counts = {found["rows"] for found in candidates}
    assert counts == {int(((data.fold == VALIDATION) & (data.key[:, 0] & 1 == 1)).sum())}


def test_probes_of_all_cuts_in_lanes_have_the_bits_of_one_after_the_other(fit, rows, monkeypatch):
    """The assigner and what it is chosen by; seven probes share a program."""
    data, stepped = rows(conflicting=True), []
    original = lanes._Program.step
    monkeypatch.setattr(
        lanes._Program, "step", lambda self: (stepped.append(len(self.live)), original(self))
    )
    monkeypatch.setattr(lanes, "FEWEST", 100)
    alone = fit(AUTO, data, folder="alone")
    assert stepped == []
    monkeypatch.setattr(lanes, "FEWEST", 2)

    together = fit(AUTO, data, folder="together")

    assert max(stepped) == 7
    assert together.bytes == alone.bytes
    assert together.ledger["detail"] == alone.ledger["detail"]


def test_auto_leaves_out_what_would_be_too_small(fit, rows):
    """A number of partitions whose mean has fewer rows than ``min_rows`` is not tried."""
    settings = AUTO.model_copy(update={"min_rows": 200})

    candidates = fit(settings, rows(conflicting=True)).assigner.candidates

    assert [found["partitions"] for found in candidates] == [1, 2]


def test_auto_needs_rows_to_compare_on(fit, rows):
    """Without validation rows the user is told what to do."""
    data = rows(conflicting=True)
    data.fold[data.fold == VALIDATION] = TRAIN

    with pytest.raises(DataError, match="validation fold has a known label"):
        fit(AUTO, data)


@pytest.mark.parametrize("settings", [AUTO, LOSS], ids=["auto", "loss"])
def test_everything_is_counted(fit, rows, settings):
    """The ledger has the probes' rows, and FLOPs of atoms, probes and losses that add up."""
    ledger = fit(settings, rows(conflicting=True)).ledger

    assert ledger["flops"] == sum(ledger["detail"].values())
    assert set(ledger["detail"]) == {"atoms", "probes", "losses"}
    assert min(ledger["detail"].values()) > 0
    budget = settings.share * TRAINING.rows_seen
    assert ledger["rows_seen"] == pytest.approx(budget, rel=0.05)
    # Forward, and backward to weights: 2 · 3 inputs · 2 outputs each.
    assert ledger["detail"]["probes"] == ledger["rows_seen"] * 24


def test_losses_cost_a_forward_pass_of_each_model(fit, rows):
    """A round takes the loss of the chosen rows under every probe."""
    ledger = fit(LOSS, rows(conflicting=True)).ledger

    assert ledger["detail"]["losses"] == 2 * 200 * 2 * 12


@pytest.mark.parametrize("settings", [AUTO, LOSS], ids=["auto", "loss"])
def test_the_same_rows_give_the_same_bits(fit, rows, settings):
    """However rows are cut into shards and ordered, the assigner is the same."""
    data = rows(conflicting=True)
    order = np.random.default_rng(1).permutation(len(data))

    one, two = fit(settings, data), fit(settings, data[order], folder="two", cuts=3)

    assert one.bytes == two.bytes


def test_loss_works_for_numbers(fit, rows):
    """Regression is cut by squared errors, within the bounds; partition 0 has the most rows."""
    data = rows(conflicting=True)
    numbers = replace(data, y=data.y.astype(np.float32))
    model = MODEL.model_copy(update={"outputs": 1})

    assigner = fit(LOSS, numbers, model).assigner

    training = numbers[numbers.fold == TRAIN]
    held = np.bincount(assigner.assign(training.embedding))
    assert len(held) == 2
    assert assigner.bounds.lower <= held.min()
    assert held.max() <= assigner.bounds.upper
    assert held[0] >= held[1]


def test_rows_of_unknown_classes_are_left_out(fit, rows):
    """A class that the generation does not know trains no probe, but counts as a row."""
    data = rows(conflicting=True)
    data.y[:100] = -1

    done = fit(LOSS, data)

    assert done.ledger["rows_read"] == int((data.fold == TRAIN).sum())
    assert done.assigner.training_rows == done.ledger["rows_read"]
