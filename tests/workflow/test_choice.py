"""A search over models: validation rows choose pool and generalist, which alone are tested."""

import json
import shutil
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from shoal.formats.fitted_state import load_state
from tests.workflow.small import Experiment, set_up
from tests.workflow.test_answers import turn_test_labels

# In each town the label is the sign of a, so that linear specialists do what a linear generalist
# cannot do.
COMMON = (
    *("cluster=column", "cluster.column=town", "model.width=16"),
    "train_specialists.rows_seen=20000",
)
DEPTHS = (*COMMON, "model.depth=[0,1]")


def config(*overrides):
    """Overrides as Snakemake takes them."""
    return str(list(overrides))


@pytest.fixture(scope="module")
def searched(warm, tmp_path_factory):
    """A small experiment with two models that has run to the end. Tests must leave it as it is."""
    folder = set_up(tmp_path_factory.mktemp("searched") / "experiment").folder
    for path in (folder / "data").glob("*.csv"):
        rows = pd.read_csv(path)
        rows[rows["a"].abs() > 0.2].to_csv(path, index=False)
    experiment = Experiment(folder, warm.bin)
    experiment.run(overrides=config(*DEPTHS))
    return experiment


def homes(experiment):
    """Folder of what is published of each variant, by its depth."""
    found = {}
    for home in (experiment.folder / "results/tiny/variants").iterdir():
        settings = json.loads((home / "settings.json").read_text())
        found[settings["model"]["depth"]] = home
    return found


def choice(experiment):
    """The last choice among variants."""
    files = (experiment.generation / "chosen").glob("*.json")
    content = json.loads(max(files, key=lambda path: path.stat().st_mtime).read_text())
    return {name: content[name] for name in ("pool", "generalist", "variants", "rows")}


def metrics_of(home):
    """Content of metrics.json."""
    return json.loads((home / "metrics.json").read_text())


def test_each_model_has_a_base_of_its_own_and_shares_the_data(searched):
    """The model enters with the base; partitions are the same."""
    made = searched.generation

    assert len(list(made.glob("base/*/base.safetensors"))) == 2
    assert len(list(made.glob("baselines/*/*/generalist.safetensors"))) == 2
    assert len(list(made.glob("cluster/*/assigner.safetensors"))) == 1
    audited = searched.shoal("audit", "tiny", *DEPTHS)
    assert (audited.returncode, audited.stdout.count("artifacts agree")) == (0, 3)
    assert "everything in it is reached" in searched.shoal("gc", "tiny", *DEPTHS).stdout


def test_the_best_pool_is_compared_with_the_best_generalist(searched):
    """Each is the best on validation; the sentence names the search, then the same model."""
    linear, deep = (homes(searched)[depth] for depth in (0, 1))
    chosen = choice(searched)
    scores = {each["variant"]: each for each in chosen["variants"]}
    metrics = metrics_of(linear)

    assert (chosen["pool"], chosen["generalist"]) == (linear.name, deep.name)
    assert scores[deep.name]["generalist"] > scores[linear.name]["generalist"]
    assert scores[linear.name]["pool"] >= scores[deep.name]["pool"]
    assert "against 0." in metrics["sentence"] or "against 1." in metrics["sentence"]
    assert "for the best of 2 generalists at" in metrics["sentence"]
    assert "Against the same model, unchanged" in metrics["sentence"]
    assert metrics["generalist"]["score"] > metrics["same_model"]["score"]
    own = metrics["same_model"]["inference_flops_per_row"]
    assert metrics["generalist"]["inference_flops_per_row"] > 4 * own
    search = metrics["search"]
    flops = [each["generalist_flops"] for each in search["variants"]]
    assert search["generalists_flops"] == pytest.approx(sum(flops))
    assert metrics["generalist"]["train_flops"] == scores[deep.name]["generalist_flops"]
    assert metrics["pool_top1"]["train_flops"] == scores[linear.name]["pool_flops"]
    assert "Search: pool and generalist were chosen among 2 variants" in (
        searched.shoal("verdict", str(linear.relative_to(searched.folder))).stdout.replace(
            "\n", " "
        )
    )


def test_the_other_generalist_is_asked_row_by_row(searched):
    """What is said of it in the chosen pool's predictions is its own answer to the same row."""
    home = homes(searched)[0]
    record = json.loads(next((home / "published").glob("*.json")).read_text())
    made, folder = record["layout"]["made"], searched.generation
    (path,) = folder.glob(f"evaluate/{made['evaluate']}/*/predictions.parquet")
    said = pd.read_parquet(path).set_index("key")["generalist_correct"]
    files = json.loads(next((folder / "chosen").glob("*.json")).read_text())["asked"]
    own = {}
    for file in files:
        rows = load_state((folder / "chosen" / file).resolve())[0]
        if "y" in rows:
            right = rows["generalist"].argmax(axis=1) == rows["y"]
            own |= dict(zip(map(bytes, rows["key"]), right.tolist(), strict=True))

    assert len(said) == len(own) > 0
    assert all(own[key] == bool(value) for key, value in said.items())


def test_what_was_not_chosen_publishes_no_test_score(searched):
    """No metrics, page, predictions, releases or tables hold one; validation scores are there."""
    home = homes(searched)[1]
    metrics, page = metrics_of(home), (home / "report.html").read_text()
    record = json.loads(next((home / "published").glob("*.json")).read_text())
    (path,) = searched.generation.glob(
        f"evaluate/{record['layout']['made']['evaluate']}/*/predictions.parquet"
    )
    kept = [json.loads(each.read_text()) for each in (home / "models").glob("*.json")]

    assert set(metrics) == {"metric", "verdict", "sentence", "search", "made_from"}
    assert metrics["verdict"] == "not chosen"
    assert "Its generalist was chosen, and is scored there." in metrics["sentence"]
    assert "test rows score the chosen alone" in page
    assert "Contenders" not in page
    assert len(pd.read_parquet(path)) == 0
    assert [each["score"] for each in kept] == [{}]
    assert (home / "pool" / "manifest.json").exists()
    assert searched.shoal("verdict", str(home.relative_to(searched.folder))).stdout.startswith(
        "Not chosen"
    )
    listed = json.loads(searched.shoal("variants", "tiny", *DEPTHS, "--json").stdout)
    scores = {each["id"]: each["scores"] for each in listed["variants"]}[home.name]
    assert (scores["pool"], scores["generalist"]) == (None, None)
    assert scores["generalist_validation"] > 0
    answers = pd.read_parquet(searched.folder / "results/tiny/answers/variants.parquet")
    row = answers.set_index("variant").loc[home.name]
    assert np.isnan(row["test"])
    assert np.isnan(row["generalist"])
    said = searched.shoal("query", "tiny", "SELECT DISTINCT evaluation FROM evaluations", "--csv")
    assert said.returncode == 0, said.stderr
    assert path.parent.parent.name not in said.stdout


def test_another_model_runs_its_own_jobs_and_the_choice(searched):
    """Nothing of the others is trained again, and nothing is left to do by one of them alone."""
    counts = Counter(searched.plan(config(*COMMON, "model.depth=[1,2,0]")))

    assert {name: counts[name] for name in ("base_fit", "evaluate_generalist", "pool")} == {
        "base_fit": 1,
        "evaluate_generalist": 1,
        "pool": 1,
    }
    assert counts["train_specialist"] == 4
    assert (counts["choose_variant"], counts["evaluate"], counts["pool_publish"]) == (1, 3, 3)
    assert not {"split", "encode", "embed_fit", "cluster_fit", "assign"} & set(counts)
    for home in homes(searched).values():
        assert searched.plan(config(*DEPTHS, f"variant={home.name}")) == []


def test_one_variant_alone_waits_for_what_it_is_compared_with(searched, tmp_path):
    """Where the other one's gate is gone, a run of one makes it again before it is judged."""
    copied = searched.copy(tmp_path / "experiment")
    home, other = (homes(copied)[depth] for depth in (0, 1))
    for own in (home, other):
        shutil.rmtree(own / "published")
    layout = json.loads((other / "plan.json").read_text())["layout"]
    shutil.rmtree(copied.generation / "gate" / layout["made"]["gate"])
    for folder in ("chosen", "evaluate"):
        shutil.rmtree(copied.generation / folder)

    ran = copied.plan(config(*DEPTHS, f"variant={home.name}"))

    assert ran == ["choose_variant", "evaluate", "gate", "pool_publish"]


def test_test_labels_choose_nothing(searched, tmp_path):
    """With every label of the test fold turned, the same pool and generalist are chosen."""
    copied, before = searched.copy(tmp_path / "experiment"), choice(searched)
    turn_test_labels(copied)

    ran = set(copied.run(overrides=config(*DEPTHS)))

    assert {"choose_variant", "evaluate"} <= ran
    assert not {"train_specialist", "evaluate_generalist", "gate", "pool"} & ran
    assert choice(copied) == before
    assert metrics_of(homes(copied)[0])["verdict"] != metrics_of(homes(searched)[0])["verdict"]
