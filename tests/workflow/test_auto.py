"""``experiment=auto``: files alone, one budget, and each choice with its evidence."""

import json

import numpy as np
import pytest

from shoal.formats.json_file import read_json

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
    result = experiment.snakemake("-c", "2", name="auto", overrides=f"[{asked}]")
    assert result.returncode == 0, result.stderr
    homes = (experiment.folder / "results/auto/variants").iterdir()
    found = {home: json.loads((home / "metrics.json").read_text()) for home in homes}
    (chosen,) = (home for home, own in found.items() if own["verdict"] != "not chosen")
    return found[chosen], chosen


def spent(made):
    """FLOPs of all ledgers of training; what a baseline counts of its base counts once."""
    patterns = ["base/*/ledger.json", "embed/*/ledger.json", "cluster/*/ledger.json"]
    patterns += [
        "specialists/*/*/*/*/ledger.json",
        "choices/*/*/*/*.json",
        "router/*/*/ledger.json",
    ]
    patterns += ["gate/*/*.json", "baselines/*/*/*.json"]
    total = 0.0
    for path in (path for pattern in patterns for path in made.glob(pattern)):
        ledger = read_json(path, dict)
        total += ledger["flops"]
        if ledger["job"] in ("evaluate_generalist", "evaluate_random"):
            recorded = ledger["made_from"]["inputs"]
            (base,) = {made.parents[2] / name for name in recorded if "/base/" in name} or {None}
            total -= read_json(base.parent / "ledger.json", dict)["flops"] if base else 0.0
    return total


def test_a_table_needs_nothing_but_its_files_and_keeps_its_budget(experiment):
    """Label, task, embedding, early stopping, partitions, gate and mixing are chosen and said."""
    budget = 6e8
    metrics, home = run(experiment, f"search.budget.train_flops={budget:g}")

    said = {each["choice"]: each for each in metrics["choices"]}
    assert said["sources.task"]["taken"] == "classification"
    assert said["sources.columns.label"]["taken"] == "label"
    assert {"identity", "pca"} >= {said["embedding"]["taken"]}
    assert said["early stopping"]["evidence"].startswith("validation 0.")
    assert {"partitions", "gate", "mixing", "budget"} <= said.keys()
    taken = next(v for v in metrics["search"]["variants"] if v["variant"] == home.name)
    assert taken["pool"] == max(each["pool"] for each in metrics["search"]["variants"])
    assert "What was chosen without being told" in (home / "report.html").read_text()

    assert 0.3 * budget < metrics["search"]["spent"] <= budget
    assert metrics["search"]["spent"] == pytest.approx(spent(experiment.folder / "results/auto/g1"))

    shown = experiment.shoal("variants", "auto", *SMALL, f"search.budget.train_flops={budget:g}")
    assert "4 variants × 3 (pool, generalist, random partitions) × 50 MFLOPs" in shown.stdout
    assert experiment.plan(name="auto", overrides=_config(budget)) == []


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
    result = experiment.snakemake("-c", "2", name="auto", overrides=f"[{overrides}]")

    assert result.returncode == 2
    (line,) = {line for line in result.stderr.splitlines() if "nothing is left" in line}
    assert "train_specialists.flops: of " in line
    assert "give more than" in line


def _config(budget):
    return f"[{', '.join([*SMALL, f'search.budget.train_flops={budget:g}'])}]"
