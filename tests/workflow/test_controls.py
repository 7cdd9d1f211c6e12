"""Shuffled labels and the leak check, on a small real workflow."""

import json

import numpy as np
import pandas as pd
import pytest

from tests.workflow.small import AT_ONCE, Experiment, set_up

SHUFFLED = "[sources.shuffle_labels=true]"
TOWNS = 80
LEAKING = """\
# @package _global_
defaults:
  - override /split: column
name: leaking
sources:
  folder: data
  files: ["towns.csv"]
  columns: {town: categorical, a: numeric, label: label}
split: {column: part}
cluster: {partitions: 2, atoms: 6, min_rows: 10}
embed: {dims: 2}
model: {width: 64, depth: 1}
train_specialists: {rows_seen: 60000, batch_size: 16, lr: 0.01}
evaluate: {bootstrap: 200}
grid: {}
"""
SPLICE = """\
# @package _global_
name: splice
sources:
  folder: data
  files: ["splice.csv"]
  columns: {dna: text, label: label}
encode:
  columns: {dna: {encoder: sequence_one_hot, alphabet: dna}}
embed: {dims: 4}
cluster: {partitions: 2, atoms: 6, min_rows: 10}
model: {width: 16, depth: 1}
train_specialists: {rows_seen: 20000, batch_size: 16, lr: 0.01}
evaluate: {bootstrap: 200}
grid: {}
"""


@pytest.fixture(scope="module")
def shuffled(warm, tmp_path_factory):
    """The small experiment with shuffled labels, run to the end. Leave it as it is."""
    folder = set_up(tmp_path_factory.mktemp("controls") / "experiment").folder
    experiment = Experiment(folder, warm.bin)
    ran = experiment.run(overrides=SHUFFLED)
    return experiment, ran


def test_shuffled_labels_score_at_chance(shuffled, finished):
    """Neither pool nor generalist beats the constant answer, and verdict and page say so."""
    experiment, _ = shuffled
    metrics, true = experiment.metrics(), finished.metrics()

    assert metrics["verdict"] == "at chance"
    assert metrics["control"]["rows"] == metrics["rows"]["test"] == true["rows"]["test"]
    for name in ("pool", "generalist"):
        assert not metrics["control"][name]["beats"]
    page = (experiment.folder / "results" / "tiny" / "report.html").read_text()
    assert "Labels are shuffled, and as it must be, nothing beats the constant answer" in page
    assert true["control"] is None
    assert true["verdict"] != "at chance"


def test_shuffled_labels_are_an_experiment_of_their_own(shuffled, finished):
    """No file of the true labels' run has the path of one of the control's, split on."""
    experiment, ran = shuffled

    def made(each):
        folder = each.generation
        return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}

    assert not made(experiment) & made(finished)
    assert experiment.plan(SHUFFLED) == []
    assert {"split_fit", "split", "encode_fit", "train_specialist", "evaluate"} <= set(ran)


def test_clean_rows_have_no_leak(finished):
    """The check looks at every held-out row and finds nothing; the page says what it looked at."""
    metrics = finished.metrics()
    held_out = metrics["rows"]["validation"] + metrics["rows"]["test"]

    assert metrics["leaks"]["exact"] == {"rows": 0, "of": held_out}
    assert metrics["leaks"]["columns"] == []
    page = (finished.folder / "results" / "tiny" / "report.html").read_text()
    assert "No leak was found." in page


def test_a_column_that_gives_the_label_is_named_and_the_run_goes_on(copied):
    """A warning on the terminal, in the metrics and on the page; nothing is refused."""
    for path in (copied.folder / "data").glob("*.csv"):
        rows = pd.read_csv(path)
        rows.assign(note=rows["label"].map({"yes": "alive", "no": "dead"})).to_csv(
            path, index=False
        )

    result = copied.snakemake(*AT_ONCE, overrides="[sources.columns.note=categorical]")

    assert result.returncode == 0, result.stderr
    said = "leak? column 'note' alone gives the label: right in 100.0 % of validation rows"
    assert f"shoal: {said}" in result.stderr
    assert [each["column"] for each in copied.metrics()["leaks"]["columns"]] == ["note"]
    assert (
        "leak? column &#39;note&#39; alone"
        in (copied.folder / "results" / "tiny" / "report.html").read_text()
    )


@pytest.mark.long
def test_a_leak_under_shuffled_labels_fails_loudly(experiment):
    """Rows of the test fold that are in training: the run ends with one line, exit code 2."""
    rows = pd.DataFrame({"town": [f"t{n}" for n in range(TOWNS)], "a": range(TOWNS)})
    rows["label"] = ["yes", "no"] * (TOWNS // 2)
    parts = ["train", "train", "train", "validation", "test"]
    table = pd.concat([rows.assign(part=part) for part in parts])
    table.to_csv(experiment.folder / "data" / "towns.csv", index=False)
    (experiment.folder / "config" / "experiment" / "leaking.yaml").write_text(LEAKING)

    for _ in range(2):
        result = experiment.snakemake(*AT_ONCE, overrides=SHUFFLED, name="leaking")

        assert result.returncode == 2, result.stderr
        (line,) = (x for x in result.stderr.splitlines() if x.startswith("shoal: error: "))
        assert "Labels are shuffled, yet accuracy is better than that of the constant" in line
        assert line.endswith("Nothing was published.")
    report = experiment.folder / line.removeprefix("shoal: error: ").split(": ")[0]
    assert "a leak is likely" in report.read_text()
    assert json.loads((report.parent / "metrics.json").read_text())["verdict"] == "leak"
    assert not (experiment.folder / "results" / "leaking" / "pool").exists()
    assert "leak? 160 of 160 (100.0 %) held-out rows have the same inputs" in result.stderr


@pytest.mark.long
def test_dna_is_learnt_letter_by_letter_and_not_from_shuffled_labels(experiment):
    """A motif at a splice site decides the label: one-hot letters tell it, shuffled labels none."""
    draw = np.random.default_rng(0)
    letters = draw.choice(list("ACGT"), (600, 12))
    spliced = draw.random(600) < 0.5
    letters[:, 5:7] = np.where(spliced[:, None], ["G", "T"], letters[:, 5:7])
    said = (letters[:, 5] == "G") & (letters[:, 6] == "T")
    rows = pd.DataFrame({"dna": ["".join(row) for row in letters]})
    rows["label"] = np.where(said, "site", "none")
    rows.to_csv(experiment.folder / "data" / "splice.csv", index=False)
    (experiment.folder / "config" / "experiment" / "splice.yaml").write_text(SPLICE)

    found = []
    for overrides in ("[]", SHUFFLED):
        result = experiment.snakemake(*AT_ONCE, overrides=overrides, name="splice")
        assert result.returncode == 0, result.stderr
        found.append(experiment.metrics("splice"))

    true, shuffled = found
    assert true["generalist"]["score"] > 0.95 > true["constant"]["score"] + 0.2
    assert shuffled["verdict"] == "at chance"
    assert not any(shuffled["control"][name]["beats"] for name in ("pool", "generalist"))
