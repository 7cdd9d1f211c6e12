"""Models with a loss of their own, from files without a label to a verdict and to predictions."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from shoal.plan.history import History
from tests.workflow.small import ROOT, Experiment

MODELS = """
import pytorch_lightning as pl
import torch
from torch import nn


class Autoencoder(nn.Module):
    def __init__(self, features, width):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(features, width), nn.Linear(width, features))

    def row_losses(self, batch):
        x, _ = batch
        return ((self.inner(x) - x) ** 2).mean(dim=1)


class NextByte(pl.LightningModule):
    density = True

    def __init__(self, tokens, width):
        super().__init__()
        self.seen = nn.Embedding(tokens, width)
        self.next = nn.Linear(width, tokens)

    def logits(self, x):
        return self.next(self.seen(x))

    def row_losses(self, batch):
        x, _ = batch
        logits = self.logits(x[:, :-1]).transpose(1, 2)
        return nn.functional.cross_entropy(logits, x[:, 1:], reduction="none").sum(dim=1)

    def predict_rows(self, batch):
        x, _ = batch
        return torch.softmax(self.logits(x[:, -1]), dim=1)

    def training_step(self, batch, batch_idx):
        return self.row_losses(batch).mean()

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.02)
"""

TRUST = ("--trust", "own_models")

SETTINGS = """\
# @package _global_
defaults:
  - override /model: own
  - override /embed: {embed}

name: {name}
sources:
  folder: {name}
  files: ["*.csv"]
  task: own
  columns: {columns}
encode: {encode}
cluster: {{partitions: 2, atoms: 6, min_rows: 10}}
model: {model}
train_specialists: {{rows_seen: {rows_seen}, batch_size: 32}}
evaluate: {{bootstrap: 200}}
grid: {{lr: [0.01]}}
"""


def lines(rows: int, seed: int) -> pd.DataFrame:
    """Rows near one of two lines: a equals b, or is its opposite; c, d and e tell which."""
    rng = np.random.default_rng(seed)
    kind, along = rng.choice([-1, 1], size=rows), rng.normal(size=rows)
    points = np.stack([along, kind * along, kind, kind, kind], axis=1)
    points += 0.05 * rng.normal(size=points.shape)
    return pd.DataFrame(points.round(4), columns=list("abcde"))


def documents(rows: int, seed: int) -> pd.DataFrame:
    """Texts of letters or of digits, each one or two after the one before."""
    rng = np.random.default_rng(seed)
    texts = []
    for kind in rng.random(rows) < 0.5:
        numbers = rng.integers(1, 3, size=12).cumsum() % 10
        texts.append("".join(chr((ord("a") if kind else ord("0")) + number) for number in numbers))
    return pd.DataFrame({"id": [f"{seed}-{n}" for n in range(rows)], "text": texts})


def laid_out(experiment: Experiment, name: str, **settings: str) -> Experiment:
    """An experiment of that name in the folder, with the models and their settings."""
    folder = experiment.folder
    (folder / "own_models.py").write_text(MODELS)
    models = folder / "config" / "model"
    models.unlink()
    shutil.copytree(ROOT / "config" / "model", models)
    (models / "own.yaml").write_text("_target_: ???\nfiles: []\n")
    (folder / name).mkdir()
    place = folder / "config" / "experiment" / f"{name}.yaml"
    place.write_text(SETTINGS.format(name=name, **settings))
    return experiment


def run(experiment: Experiment, name: str) -> None:
    result = experiment.snakemake("-c", "2", "--scheduler", "greedy", name=name)
    assert result.returncode == 0, result.stderr


@pytest.fixture
def autoencoder(experiment: Experiment) -> Experiment:
    """An autoencoder of rows without a label."""
    model = '{_target_: own_models.Autoencoder, features: "${data:features}", width: 1}'
    laid_out(
        experiment,
        "lines",
        embed="identity",
        columns="{a: numeric, b: numeric, c: numeric, d: numeric, e: numeric}",
        encode="{}",
        model=model,
        rows_seen="20000",
    )
    for number in range(2):
        lines(200, number).to_csv(experiment.folder / "lines" / f"{number}.csv", index=False)
    return experiment


@pytest.fixture
def language_model(experiment: Experiment) -> Experiment:
    """A model of the next byte of documents."""
    model = '{_target_: own_models.NextByte, tokens: "${data:tokens}", width: 8}'
    laid_out(
        experiment,
        "bytes",
        embed="counts",
        columns="{id: id, text: text}",
        encode="{columns: {text: {encoder: tokens}}}\nembed: {dims: 4, prefix: 6}",
        model=model,
        rows_seen="9000",
    )
    for number in range(2):
        documents(150, number).to_csv(experiment.folder / "bytes" / f"{number}.csv", index=False)
    return experiment


@pytest.mark.long
def test_an_autoencoder_without_labels_runs_to_a_verdict_and_predicts_its_loss(autoencoder):
    """Two lines need two models of one unit each; a row off both lines has a larger loss.

    Where such rows arrive, their score is the mean loss that `predict` said before.
    """
    run(autoencoder, "lines")
    folder, metrics = autoencoder.folder, autoencoder.metrics("lines")

    assert (metrics["metric"], metrics["verdict"]) == ("loss", "helps")
    assert "lower is better" in metrics["sentence"]
    assert metrics["ungated"]["score"] < 0.5 * metrics["generalist"]["score"]
    assert "constant" not in metrics
    (predictions,) = folder.glob("results/lines/g1/**/predictions.parquet")
    by_row = pd.read_parquet(predictions)
    assert by_row["pool_top1_loss"].mean() == pytest.approx(metrics["pool_top1"]["score"])
    assert "Test loss" in (folder / "results" / "lines" / "report.html").read_text()

    new = lines(50, seed=7)
    new.loc[0, "b"] = 20.0
    new.to_csv(folder / "new.csv", index=False)
    asked = autoencoder.shoal("predict", "lines", "new.csv", "--out", "out.csv", *TRUST)

    assert asked.returncode == 0, asked.stderr
    said = pd.read_csv(folder / "out.csv")
    assert list(said.columns) == ["loss", "partition", "distance"]
    assert said["loss"].idxmax() == 0

    (folder / "new.csv").rename(folder / "lines" / "2.csv")
    run(autoencoder, "lines")
    arrivals = History(folder / "results" / "lines").entries[-1]["over_time"]["arrivals"]
    assert (arrivals["scores"]["rows"], arrivals["scores"]["metric"]) == (50, "loss")
    assert arrivals["scores"]["score"] == pytest.approx(said["loss"].mean(), rel=1e-6)


@pytest.mark.long
def test_a_model_of_the_next_byte_runs_to_a_verdict_and_predicts_an_array_a_row(language_model):
    """The loss is a density's, in nats a document; what it predicts needs a Parquet file."""
    run(language_model, "bytes")
    folder, metrics = language_model.folder, language_model.metrics("bytes")

    assert metrics["metric"] == "loss"
    assert metrics["generalist"]["score"] < 11 * math.log(257)
    documents(20, seed=9).to_csv(folder / "new.csv", index=False)
    words = ("predict", "bytes", "new.csv")
    asked = language_model.shoal(*words, "--out", "out.parquet", *TRUST)
    refused = language_model.shoal(*words, "--out", "out.csv", *TRUST)

    assert asked.returncode == 0, asked.stderr
    said = np.stack(pq.read_table(folder / "out.parquet")["prediction"].to_pylist())
    assert said.shape == (20, 257)
    assert said.sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    assert refused.returncode == 2
    assert "prediction is an array of shape (257,)" in refused.stderr
    assert not Path(folder / "out.csv").exists()

    changed = documents(20, seed=9)
    changed["text"] = [text[:6] + "Z" * (len(text) - 6) for text in changed["text"]]
    changed.to_csv(folder / "changed.csv", index=False)
    again = language_model.shoal(
        "predict", "bytes", "changed.csv", "--out", "changed.parquet", *TRUST
    )

    assert again.returncode == 0, again.stderr
    routes = ["partition", "distance"]
    before, after = (pd.read_parquet(folder / name) for name in ("out.parquet", "changed.parquet"))
    assert len(set(before["distance"])) > 1
    pd.testing.assert_frame_equal(before[routes], after[routes])
