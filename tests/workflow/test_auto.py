"""``experiment=auto``: files alone, one budget, and each choice with its evidence."""

import json

import numpy as np
import pytest

from shoal.formats.json_file import read_json
from tests.workflow.small import AT_ONCE

SMALL = [
    "model.width=8",
    "model.depth=1",
    "cluster.atoms=8",
    "cluster.partitions=[2]",
    "cluster.min_rows=10",
    "grid.lr=[0.01]",
    "evaluate.bootstrap=100",
    "search.budget.hours=null",
    "packing.devices=null",
]


def run(experiment, *overrides):
    """The published numbers of the variant whose pool was chosen, and its folder."""
    asked = ", ".join([*SMALL, *overrides])
    result = experiment.snakemake(*AT_ONCE, name="auto", overrides=f"[{asked}]")
    assert result.returncode == 0, result.stderr
    homes = (experiment.folder / "results/auto/variants").iterdir()
    found = {home: json.loads((home / "metrics.json").read_text()) for home in homes}
    (chosen,) = (home for home, own in found.items() if own["verdict"] != "not chosen")
    return found[chosen], chosen


def spent(made):
    """FLOPs of all ledgers of training; the base, from which baselines go on, counts once."""
    patterns = ["base/*/ledger.json", "embed/*/ledger.json", "cluster/*/ledger.json"]
    patterns += ["specialists/*/*/*/*/ledger.json", "choices/*/*/*/*.json"]
    patterns += ["router/*/*/ledger.json"]
    total = sum(_flops(path) for pattern in patterns for path in made.glob(pattern))
    for path in made.glob("baselines/*/*/generalist.json"):
        base = read_json(path, dict)["detail"]["base"]
        total += _flops(path) + _flops(path.with_name("random.json")) - 2 * base
    return total


def _flops(path):
    return read_json(path, dict)["flops"]


@pytest.mark.long
def test_a_table_needs_nothing_but_its_files_and_keeps_its_budget(experiment):
    """Label, task, embedding, early stopping, partitions, gate and mixing are chosen and said."""
    budget = 6e8
    metrics, home = run(experiment, f"search.budget.train_flops={budget:g}")

    said = {each["choice"]: each for each in metrics["choices"]}
    assert said["sources.task"]["taken"] == "classification"
    assert said["sources.columns.label"]["taken"] == "label"
    assert {"identity", "pca"} >= {said["embedding"]["taken"]}
    assert said["early stopping"]["evidence"].startswith("validation ")
    assert {"partitions", "gate", "mixing", "budget"} <= said.keys()
    taken = next(v for v in metrics["search"]["variants"] if v["variant"] == home.name)
    assert taken["pool"] == max(each["pool"] for each in metrics["search"]["variants"])
    assert "What was chosen without being told" in (home / "report.html").read_text()

    assert 0.3 * budget < metrics["search"]["spent"] <= budget
    assert metrics["search"]["spent"] == pytest.approx(spent(experiment.folder / "results/auto/g1"))

    shown = experiment.shoal("variants", "auto", *SMALL, f"search.budget.train_flops={budget:g}")
    assert "4 variants × 3 (pool, generalist, random partitions) × 50.0 MFLOP" in " ".join(
        shown.stdout.split()
    )
    assert experiment.plan(name="auto", overrides=_config(budget)) == []


@pytest.mark.long
def test_images_need_nothing_but_their_files(experiment):
    """Arrays of pixels and their labels; embeddings differ in their components."""
    for path in (experiment.folder / "data").iterdir():
        path.unlink()
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, 300)
    pixels = rng.integers(0, 40, (300, 6, 6)) + 60 * label[:, None, None]
    np.savez(experiment.folder / "data/rows.npz", x=pixels.astype(np.uint8), y=label)

    metrics, _ = run(experiment, "train_specialists.patience=null", "search.budget.train_flops=3e9")

    said = {each["choice"]: each for each in metrics["choices"]}
    assert said["dimensions of the embedding"]["taken"] in ("16", "64")
    assert metrics["search"]["spent"] <= 3e9


def test_a_budget_that_leaves_nothing_for_specialists_is_refused(experiment):
    """One line says what the parts take, and how much is needed."""
    overrides = ", ".join([*SMALL, "embed=pca", "search.budget.train_flops=2e5"])
    result = experiment.snakemake(*AT_ONCE, name="auto", overrides=f"[{overrides}]")

    assert result.returncode == 2
    line = result.stderr.splitlines()[-1]
    assert line.startswith("shoal: error: train_specialists.flops: of ")
    assert "nothing is left for specialists" in line
    assert "give more than" in line


def _config(budget):
    return f"[{', '.join([*SMALL, f'search.budget.train_flops={budget:g}'])}]"
