"""An experiment with variants: one workflow, shared prefixes, a publication each."""

import json
from collections import Counter

import pytest

GRID = "['cluster.partitions=[2,3]', 'embed=[pca,identity]']"
MORE = "['cluster.partitions=[2,3]', 'embed=[pca,identity,scarf]']"
OVERRIDES = ["cluster.partitions=[2,3]", "embed=[pca,identity]"]


@pytest.fixture
def grown(experiment):
    """A small experiment whose four variants have run."""
    experiment.run(overrides=GRID)
    return experiment


def document(experiment, *overrides):
    """What ``shoal variants --json`` prints."""
    return json.loads(experiment.shoal("variants", "tiny", *overrides, "--json").stdout)


@pytest.mark.long
def test_variants_run_together_and_share_what_they_have_in_common(grown):
    """Two embedders by two numbers of partitions: one split, one base, four pools, all current.

    One more embedder runs nothing of the stages before it, and none of the others again.
    """
    made = grown.generation
    variants = document(grown, *OVERRIDES)["variants"]

    assert len(list(made.glob("split/*/columns.json"))) == 1
    assert len(list(made.glob("base/*/base.safetensors"))) == 1
    assert len(list(made.glob("embed/*/ledger.json"))) == 2
    assert len(list(made.glob("cluster/*/assigner.safetensors"))) == 4
    homes = sorted(path.name for path in (grown.folder / "results/tiny/variants").iterdir())
    assert homes == sorted(each["id"] for each in variants)
    best = max(each["scores"]["validation"] for each in variants)
    (chosen,) = document(grown, *OVERRIDES)["chosen"]
    for each in variants:
        home = grown.folder / "results/tiny/variants" / each["id"]
        metrics = json.loads((home / "metrics.json").read_text())
        if each["id"] == chosen["pool"]:
            assert each["scores"]["validation"] == best
            assert metrics["pool_top1"]["score"] == each["scores"]["pool"]
            assert metrics["partitions"] == each["changes"]["cluster.partitions"]
        else:
            assert metrics["verdict"] == each["scores"]["verdict"] == "not chosen"
        assert (home / "pool" / "manifest.json").exists()

    assert grown.plan(overrides=GRID) == []
    audited = grown.shoal("audit", "tiny", *OVERRIDES)
    assert (audited.returncode, audited.stdout.count("artifacts agree")) == (0, 5)
    assert "everything in it is reached" in grown.shoal("gc", "tiny", *OVERRIDES).stdout

    counts = Counter(grown.plan(overrides=MORE))

    assert counts["embed_fit"] == 1
    assert counts["cluster_fit"] == 2
    assert counts["split"] == counts["encode"] == counts["base_fit"] == 0


def test_the_grid_is_counted_before_anything_runs(experiment):
    """The first line multiplies; upper bounds are marked while nothing is fitted."""
    said = experiment.shoal("variants", "tiny", *OVERRIDES).stdout.splitlines()

    assert said[0] == "4 variants × ≤ 2 to 3 partitions × 2 grid points = ≤ 20 training jobs"
    assert "  cluster.partitions: 2, 3" in said
    assert not experiment.generation.exists()


def test_an_experiment_may_lie_in_a_file_of_its_own(experiment):
    """``shoal variants FILE`` reads it as if it lay in ``config/experiment``."""
    source = experiment.folder / "config/experiment/tiny.yaml"
    other = experiment.folder / "other.yaml"
    other.write_text(source.read_text().replace("partitions: 2", "partitions: [2, 3, 4]"))

    said = experiment.shoal("variants", "other.yaml").stdout

    assert said.startswith("3 variants × ≤ 2 to 4 partitions")


def test_a_command_about_one_variant_wants_one(experiment):
    """``shoal plan`` names the count and how to choose; with the choice it works."""
    refused = experiment.shoal("plan", "tiny", *OVERRIDES)
    chosen = document(experiment, *OVERRIDES)["variants"][3]["id"]

    assert refused.returncode == 2
    assert "has 4 variants; `shoal variants tiny` lists them" in refused.stderr
    assert experiment.shoal("plan", "tiny", *OVERRIDES, f"variant={chosen}").returncode == 0
