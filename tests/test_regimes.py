"""The pure parts of the benchmark of partitions."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks.regimes import baselines, contenders, datasets, images, numbers
from benchmarks.regimes.__main__ import run
from benchmarks.regimes.collect import by_row, measured, results
from benchmarks.regimes.finished import NO_REGIME, joined_regimes
from benchmarks.regimes.mixture import SoftMixture
from benchmarks.regimes.page import page
from benchmarks.regimes.summary import summary
from shoal.demo import write_demo
from shoal.errors import SettingsError
from shoal.formats.hashing import KEY_BYTES, hash_rows
from shoal.formats.json_file import read_json, write_json
from shoal.formats.ledger import Ledger
from shoal.formats.shapes import Shapes
from shoal.settings.compose import compose
from shoal.training.model import weights

CONFIG = Path(__file__).parents[1] / "config"


def test_rgr_is_the_share_of_the_possible_gain():
    """Half of what the true regimes win over the generalist is an RGR of 0.5, also for errors."""
    assert numbers.rgr("accuracy", 0.85, 0.8, 0.9) == pytest.approx(0.5)
    assert numbers.rgr("rmse", 1.5, 2.0, 1.0) == pytest.approx(0.5)


def test_rgr_is_negative_for_a_loss():
    """A pool that is worse than the generalist has an RGR below zero."""
    assert numbers.rgr("accuracy", 0.75, 0.8, 0.9) == pytest.approx(-0.5)


def test_there_is_no_rgr_where_true_regimes_do_not_win():
    """Nothing can be recovered where the true regimes gain nothing."""
    assert numbers.rgr("accuracy", 0.85, 0.9, 0.9) is None


def test_regimes_are_joined_by_key():
    """A row's regime is found by its key, whatever the order; an unknown key has none."""
    ids = np.array(["a", "b", "c"], dtype=object)
    keys = hash_rows({"id": ids}, KEY_BYTES)
    table = pd.DataFrame({"key": [key.tobytes() for key in keys[:2]], "regime": [5, 7]})

    found = joined_regimes(keys[::-1], table)

    assert found.tolist() == [NO_REGIME, 7, 5]


def test_equal_rows_are_compared_one_by_one():
    """Rows with one key, which are equal, stand beside as many of another contender's."""
    first = pd.DataFrame({"key": [b"a", b"b", b"a"], "value": [1.0, 0.0, 1.0]})
    second = pd.DataFrame({"key": [b"b", b"a", b"a"], "value": [0.5, 0.2, 0.2]})

    both = pd.DataFrame({"x": by_row(first)["value"], "y": by_row(second)["value"]})

    assert sorted(both.itertuples(index=False, name=None)) == [(0.0, 0.5), (1.0, 0.2), (1.0, 0.2)]


def test_partitions_agree_whatever_their_numbers():
    """Agreement looks at the rows in both, and not at how partitions are numbered."""
    first = {b"a": 0, b"b": 0, b"c": 1, b"d": 1, b"only here": 1}
    second = {b"a": 4, b"b": 4, b"c": 2, b"d": 2}

    assert numbers.agreement(first, second) == 1.0
    assert numbers.agreement(first, {b"elsewhere": 0}) is None


def test_stability_needs_two_seeds():
    """One seed's partitions have nothing to agree with."""
    one = {b"a": 0, b"b": 1, b"c": 1}

    assert numbers.stability([one]) is None
    assert numbers.stability([one, one]) == 1.0


def test_resampled_differences_are_paired():
    """Two columns that differ by the same amount in every row do so in every resample."""
    rng = np.random.default_rng(0)
    values = [np.stack([row := rng.random(50), row + 0.25], axis=1) for _ in range(3)]

    drawn = numbers.resampled_scores("accuracy", values, 100, seed=0)

    assert drawn.shape == (100, 2)
    assert drawn[:, 0].std() > 0
    np.testing.assert_allclose(drawn[:, 1] - drawn[:, 0], 0.25)


def test_resamples_draw_seeds_too():
    """Seeds that differ make an interval that rows alone would not."""
    values = [np.full((40, 1), level) for level in (0.0, 1.0)]

    drawn = numbers.resampled_scores("accuracy", values, 200, seed=0)

    assert set(np.unique(drawn)) == {0.0, 0.5, 1.0}


def test_holm_adjusts_for_how_many_there_are():
    """Holm's example: the smallest p-value counts thrice of three, and none falls below it."""
    assert numbers.holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])


def test_conflicting_digits_are_the_demo(tmp_path):
    """The benchmark's conflicting digits are the rows of the demo."""
    rows = images.turned(*images.digits(), conflicting=True)
    demo = pd.concat([pd.read_parquet(path) for path in write_demo(tmp_path)])

    ours = {key.lstrip("0"): y for key, y in zip(rows["id"], rows["label"], strict=True)}
    theirs = zip(demo["id"], demo["label"], strict=True)
    assert ours == {key.lstrip("0"): y for key, y in theirs}


def test_generated_labels_follow_the_regime():
    """A linear rule within each cluster tells the label; it does not within another."""
    rows = datasets.generated(4000, clusters=4, separation=3.0, seed=0)
    x = np.stack([rows[f"x{number}"] for number in range(datasets.FEATURES)], axis=1)

    def accuracy(of, told_by):
        inside, other = rows["regime"] == of, rows["regime"] == told_by
        centred = (
            x - np.stack([x[rows["regime"] == r].mean(axis=0) for r in range(4)])[rows["regime"]]
        )
        sign = 2.0 * rows["label"] - 1
        rule = np.linalg.lstsq(centred[other], sign[other], rcond=None)[0]
        return ((centred[inside] @ rule > 0) == rows["label"][inside]).mean()

    assert accuracy(1, told_by=1) > 0.95
    assert accuracy(1, told_by=2) < 0.8


def test_the_regime_is_no_input(tmp_path):
    """The true regime lies beside the source files, under the rows' own keys."""
    datasets.write_dataset(datasets.known_datasets()["gauss_4_far_2000"], 1.0, 3, None, tmp_path)

    rows = pd.read_parquet(tmp_path / "data" / "rows.parquet")
    regimes = pd.read_parquet(tmp_path / datasets.REGIMES)
    keys = hash_rows({"id": rows["id"].to_numpy(dtype=object)}, KEY_BYTES)
    assert "regime" not in rows
    joined = joined_regimes(keys, regimes)
    assert joined.tolist() == [int(key.rpartition("-r")[2]) for key in rows["id"]]


def test_generated_rows_of_two_seeds_have_nothing_in_common():
    """Another seed is another draw, so its rows have other ids."""
    first, second = (datasets.generated(50, 4, 1.0, seed)["id"] for seed in (0, 1))

    assert not set(first) & set(second)


def test_the_seed_reaches_the_settings(tmp_path):
    """A working folder's run has the seed of its cell, in every section, and the budget."""
    datasets.write_dataset(datasets.known_datasets()["gauss_4_far_2000"], 0.5, 3, None, tmp_path)

    chosen = contenders.overrides("kmeans_8", seed=3)
    settings = compose(tmp_path / "config", datasets.EXPERIMENT, chosen)

    assert (settings.split.seed, settings.train_specialists.seed, settings.cluster.seed) == (
        3,
        3,
        3,
    )
    assert settings.train_specialists.rows_seen == 75_000


def test_settings_reach_the_workflow_with_their_types(tmp_path, monkeypatch):
    """False stays false: Snakemake takes it for a text on the command line."""
    commands = []
    monkeypatch.setattr(
        "benchmarks.regimes.__main__.subprocess.run",
        lambda command, **_: commands.append(command) or SimpleNamespace(returncode=1),
    )

    assert run(tmp_path, {"small": False}, cores=2) == 1

    (command,) = commands
    assert read_json(command[command.index("--configfile") + 1], Any) == {"small": False}


def test_each_seed_is_finished_before_the_next():
    """A full run that is cut short has whole seeds, and every cell has the reference pool first."""
    work = contenders.Work(datasets=[], only=[], budgets=[], seeds=3, small=False)

    assert [cell.seed for cell in work.cells] == sorted(cell.seed for cell in work.cells)
    assert {work.contenders(cell)[0] for cell in work.cells} == {contenders.REFERENCE}


def test_a_part_of_the_benchmark_has_the_named_pools_and_baselines():
    """``--only`` keeps what it names and the reference; a misspelt name gets the nearest one."""
    part = {"datasets": ["digits_conflicting"], "budgets": [1.0], "seeds": 1, "small": False}
    work = contenders.Work(only=["auto", "widths"], **part)
    (whole,) = work.cells

    assert work.contenders(whole) == [contenders.REFERENCE, "auto"]
    assert work.baselines(whole) == ["widths"]
    with pytest.raises(SettingsError, match="did you mean"):
        contenders.Work(only=["kmeans_61"], **part)


def test_a_mixture_gives_the_log_of_mixed_probabilities():
    """The output is log sum of gate times probability, so that it is a cross-entropy's logits."""
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    experts = [torch.nn.Linear(1, 2, bias=True) for _ in logits]
    for expert, bias in zip(experts, logits, strict=True):
        torch.nn.init.zeros_(expert.weight)
        expert.bias.data = bias
    gate = torch.nn.Linear(1, 2)
    torch.nn.init.zeros_(gate.weight)
    torch.nn.init.zeros_(gate.bias)

    output = SoftMixture(experts, gate, classes=True)(torch.zeros(1, 1))

    first = (torch.softmax(logits, dim=1)[:, 0]).mean().item()
    assert output[0, 0].item() == pytest.approx(math.log(first), abs=1e-6)


def measured_cell(folder, seed, pool, truth):
    """A cell of four test rows as its jobs leave it; the generalist is right about two."""
    cell = contenders.Cell("gauss_4_far_2000", 1.0, seed)
    place = folder / cell.folder
    for name in ("pools", "baselines"):
        (place / name).mkdir(parents=True)
    keys = [bytes([number]) * KEY_BYTES for number in range(4)]
    numbers_of = {
        **dict.fromkeys(("log_loss", "calibration_error", "worst_partition")),
        "train_flops": 2.0,
        "inference_flops_per_row": 1.0,
        "training_seconds": 1.0,
    }
    values = dict.fromkeys(("ungated", "pool_top1", "pool_top2"), pool)
    values |= {"random_partitions": [0, 0, 0, 0]}
    values |= {"generalist": [1, 1, 0, 0], "constant": [0, 0, 0, 0]}
    metrics = {name: numbers_of | {"score": np.mean(own)} for name, own in values.items()}
    metrics |= {"metric": "accuracy", "partitions": 2, "verdict": "helps"}
    write_json(
        place / "pools" / "kmeans_8.json",
        metrics | {"workflow_seconds": 1.0, "training_seconds": 1.0},
    )
    rows = pd.DataFrame({"key": keys, "partition": [0, 0, 1, 1], "fold": "test", **values})
    rows.to_parquet(place / "pools" / "kmeans_8.parquet")
    pd.DataFrame({"key": keys, "regime": [1, 1, 0, 0]}).to_parquet(place / datasets.REGIMES)
    for name, own in (("true_regime", truth), ("routed_regime", [*truth[:-1], 0])):
        told = numbers_of | {"score": np.mean(own), "note": ""}
        write_json(place / "baselines" / f"{name}.json", told)
        # Another order: rows are joined by key.
        table = pd.DataFrame({"key": keys[::-1], "value": own[::-1]})
        table.to_parquet(place / "baselines" / f"{name}.parquet")
    return cell


def with_baselines(cells, *names):
    """The work of such cells."""
    return SimpleNamespace(
        cells=cells, contenders=lambda _: ["kmeans_8"], baselines=lambda _: names
    )


def test_the_summary_recovers_gain_and_rgr(tmp_path):
    """Means over seeds: a pool that wins one row of four where the true regimes win two."""
    cells = [measured_cell(tmp_path, seed, [1, 1, 1, 0], [1, 1, 1, 1]) for seed in (0, 1)]
    found = measured(tmp_path, with_baselines(cells, "true_regime"))

    table = summary(found, results(found)).set_index("contender")

    assert table.loc["kmeans_8", "seeds"] == 2
    assert table.loc["kmeans_8", "gain"] == pytest.approx(0.25)
    assert table.loc["kmeans_8", "rgr"] == pytest.approx(0.5)
    assert table.loc["kmeans_8", ["ari", "stability"]].tolist() == [1.0, 1.0]
    assert table.loc["random_partitions", "gain"] == pytest.approx(-0.5)


def test_the_page_lists_every_contender(tmp_path):
    """The page has an overview and a line for each contender, losses included."""
    cell = measured_cell(tmp_path, 0, [0, 0, 0, 1], [1, 1, 1, 0])
    found = measured(tmp_path, with_baselines([cell], "true_regime"))

    text = page(summary(found, results(found)))

    assert "| gauss_4_far_2000 | 1 | 1 | 0.500 | - | 0.250 | 0.000 | 0.750 |" in text
    assert "| kmeans_8 | -0.250 (" in text


def test_a_pool_may_reach_what_a_router_of_true_regimes_does(tmp_path):
    """A row that the true regimes win is lost on the way; the pool has all the rest."""
    cells = [measured_cell(tmp_path, 0, [1, 1, 1, 0], [1, 1, 1, 1])]
    found = measured(tmp_path, with_baselines(cells, "true_regime", "routed_regime"))

    table = summary(found, results(found)).set_index("contender")

    assert table.loc["kmeans_8", "rgr"] == pytest.approx(0.5)
    assert table.loc["kmeans_8", "rgr_routed"] == pytest.approx(1.0)
    assert table.loc["routed_regime", "gain"] == pytest.approx(0.25)
    assert "RGR, routable" in page(table.reset_index())


def test_a_router_learns_regimes_that_rows_show_and_asks_their_specialists():
    """Rows tell their regime and each regime has a rule of its own; the route's FLOPs count."""
    rng = np.random.default_rng(0)

    def rows(count):
        regime = rng.integers(0, 2, count)
        x = rng.normal(size=(count, 3)).astype(np.float32)
        x[:, 0] += 8 * regime
        y = np.where(regime == 1, x[:, 1] > 0, x[:, 1] < 0).astype(np.int64)
        return {"x": x, "y": y, "embedding": x[:, :2], "regime": regime}

    settings = compose(CONFIG, "demo", ["train_specialists.batch_size=32"])
    run = SimpleNamespace(
        settings=settings,
        shapes=Shapes([3], 2, "classification", ["n", "p"], 1, list("abc"), []),
        train=rows(600),
        test=rows(200),
        budget=SimpleNamespace(specialist_rows=lambda count: 30 * count),
        base_flops=1.0,
        embedding_flops=5.0,
        embedding_fit_flops=7.0,
    )
    ledgers = {name: Ledger(name) for name in ("true_regime", "routed_regime")}
    trainers = {name: baselines.Trainer(run, ledger) for name, ledger in ledgers.items()}
    for trainer in trainers.values():
        run.base = weights(trainer.build())

    told, routed = (baselines.TRAINED[name](trainer) for name, trainer in trainers.items())

    right = (routed.predictions.argmax(axis=1) == run.test["y"]).mean()
    assert right > 0.9
    assert (routed.predictions == told.predictions).all(axis=1).mean() > 0.97
    assert "routed right" in routed.note
    assert routed.inference_flops > told.inference_flops + 5
    assert ledgers["routed_regime"].flops > ledgers["true_regime"].flops + 7 + 5 * 600
