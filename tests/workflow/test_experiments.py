"""The experiments that ship with Shoal, on their real data."""

from collections import Counter
from pathlib import Path

import pytest

from tests.workflow.small import AT_ONCE

ROOT = Path(__file__).parents[2]


@pytest.fixture
def shipped(experiment, shared_data):
    """A folder with all shipped experiments and a short name for the real data's folder."""
    for path in (ROOT / "config" / "experiment").glob("*.yaml"):
        (experiment.folder / "config" / "experiment" / path.name).symlink_to(path)
    (experiment.folder / "real").symlink_to(shared_data)
    return experiment


@pytest.mark.parametrize("name", ["titanic", "housing", "intents", "mnist_fashion", "mixed_text"])
def test_every_experiment_plans_on_its_data(shipped, name: str):
    """Partitions x grid points training jobs, on the files as they are."""
    planned = Counter(shipped.plan("[sources.folder=real, packing.devices=null]", name=name))

    assert planned["train_specialist"] == planned["train_choose"] * 2
    assert planned["split"] == (2 if name == "mnist_fashion" else 1)


def test_titanic_runs_to_a_verdict(shipped):
    """Mixed columns with missing values, from a real file to a verdict."""
    changes = "[sources.folder=real, embed=pca, train_specialists.rows_seen=20000]"

    result = shipped.snakemake(*AT_ONCE, overrides=changes, name="titanic")

    assert result.returncode == 0, result.stderr
    metrics = shipped.metrics("titanic")
    assert metrics["verdict"] in ("helps", "hurts", "no difference")
    assert sum(metrics["rows"].values()) == 891
    assert metrics["generalist"]["score"] > metrics["constant"]["score"] + 0.05
