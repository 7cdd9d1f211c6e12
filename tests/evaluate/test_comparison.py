"""Pool, generalist and constant are compared from values by row alone."""

import numpy as np

from shoal.evaluate.verdict import compared
from shoal.settings.learning import Evaluate
from shoal.training.metrics import row_values, score

SETTINGS = Evaluate(bootstrap=300, calibration_bins=10, map="pca", map_rows=10, seed=0)


def found(per_row, units=None, made_by=None, metric="rmse"):
    """Scores by row of these contenders, at equal FLOPs."""
    measured = {
        name: {"score": score(metric, values), "train_flops": 1.0}
        for name, values in per_row.items()
    }
    said, interval = compared(SETTINGS, metric, measured, per_row, "pool_top1", units, made_by)
    return said | {"interval": interval}


def test_forty_two_patients_decide_less_than_their_rows():
    """The pool looks better by row and is not by patient; the verdict counts patients."""
    rng = np.random.default_rng(6)
    unit = np.repeat(np.arange(42), 30).astype(np.uint64)
    generalist = 4 + rng.random(len(unit))
    gain = rng.normal(0.0, 1.0, 42)
    pool = generalist - (gain - gain.mean() + 0.15).repeat(30)
    per_row = {"pool_top1": pool, "generalist": generalist, "constant": generalist + 5}

    by_row, by_unit = found(per_row), found(per_row, unit, "group")

    assert (by_row["verdict"], by_unit["verdict"]) == ("helps", "no difference")
    assert by_unit["units"] == {"kind": "group", "test": 42, "least": 6}
    assert "over 42 groups" in by_unit["sentence"]
    assert by_unit["interval"]["high"] > by_row["interval"]["high"]


def test_what_is_worse_than_the_constant_is_said_first():
    """Also where another contender beats it: here the generalist does."""
    rng = np.random.default_rng(0)
    constant = 1 + rng.random(300)
    per_row = {"pool_top1": constant + 1, "generalist": constant / 4, "constant": constant}

    said = found(per_row)

    assert said["verdict"] == "hurts"
    assert said["sentence"].startswith("The pool is worse than a constant answer (1.5")
    assert "Splitting hurts on this data" in said["sentence"]


def test_a_pool_that_beats_the_generalist_but_no_constant_does_not_help():
    """Of two models that learnt nothing, one is better: that is no help."""
    rng = np.random.default_rng(0)
    constant = rng.random(300)
    per_row = {"pool_top1": constant + 1, "generalist": constant + 2, "constant": constant}

    said = found(per_row)

    assert said["verdict"] == "no better than constant"
    assert said["difference"]["high"] < 0
    assert said["against_constant"]["contender"] == "pool_top1"
    assert said["sentence"].startswith("No model is better than a constant answer: RMSE is 0.7")


def test_the_best_of_a_search_decides_and_the_same_model_is_said_second():
    """The verdict is about the best generalist; the pool's own comes after, with its interval."""
    rng = np.random.default_rng(0)
    pool = rng.random(300)
    per_row = {"pool_top1": pool, "generalist": pool - 0.1, "same_model": pool + 0.2}

    said = found(per_row, metric="loss")

    assert said["verdict"] == "hurts"
    assert said["against_same_model"]["value"] < 0
    assert "Against the same model, unchanged, 0." in said["sentence"]


def test_a_loss_without_a_constant_answer_is_compared_with_the_generalists_alone():
    """Lower is better; nothing is said of a constant."""
    rng = np.random.default_rng(0)
    generalist = rng.random(300)
    per_row = {"pool_top1": generalist - 0.1, "generalist": generalist}

    said = found(per_row, metric="loss")

    assert (said["verdict"], "against_constant" in said) == ("helps", False)
    assert "loss 0." in said["sentence"]
    assert "lower is better" in said["sentence"]


def test_the_score_that_is_asked_for_decides():
    """The pool is right more often, and the generalist on the class that is rare."""
    y = np.repeat([0, 1], [270, 30])
    always, rarely = np.zeros(300), np.where(np.arange(300) % 5 == 0, 1 - y, y)
    per_row = {
        metric: {
            name: row_values(metric, np.eye(2)[said.astype(int)], y)
            for name, said in {"pool_top1": always, "generalist": rarely}.items()
        }
        for metric in ("accuracy", "balanced_accuracy")
    }

    verdicts = {metric: found(each, metric=metric)["verdict"] for metric, each in per_row.items()}

    assert verdicts == {"accuracy": "helps", "balanced_accuracy": "hurts"}


def test_a_usual_model_that_is_better_is_said_first():
    """Before that splitting helps; a usual model that is worse than the pool is not spoken of."""
    rng = np.random.default_rng(0)
    pool = 1 + rng.random(300)
    per_row = {"pool_top1": pool, "generalist": pool + 1, "constant": pool + 9}
    per_row |= {"linear_model": pool / 16, "boosted_trees": pool + 0.5}

    said = found(per_row)

    assert said["verdict"] == "helps"
    assert said["sentence"].startswith("Pool and generalist are worse than a linear model: RMSE 1.")
    assert "Splitting helps on this data" in said["sentence"]
    (ahead,) = said["against_usual"]
    assert (ahead["contender"], ahead["worse"]) == ("linear_model", ["pool", "generalist"])
    assert ahead["pool"]["low"] > 0


def test_a_usual_model_that_may_be_better_by_chance_is_not_said():
    """By unit: by row it looks better."""
    rng = np.random.default_rng(6)
    unit = np.repeat(np.arange(42), 30).astype(np.uint64)
    pool = 4 + rng.random(len(unit))
    gain = rng.normal(0.0, 1.0, 42)
    better = pool - (gain - gain.mean() + 0.15).repeat(30)
    per_row = {"pool_top1": pool, "generalist": pool, "boosted_trees": better}

    by_row, by_unit = found(per_row), found(per_row, unit, "group")

    assert by_row["sentence"].startswith("Pool and generalist are worse than boosted trees")
    assert by_unit["sentence"].startswith("Splitting makes no significant difference")
    assert by_unit["against_usual"][0]["worse"] == []


def test_nothing_is_better_than_the_constant_whatever_a_usual_model_is():
    """What the model's trainings reach decides that."""
    rng = np.random.default_rng(0)
    constant = 1 + rng.random(300)
    per_row = {"pool_top1": constant + 1, "generalist": constant + 1, "constant": constant}
    per_row["boosted_trees"] = constant / 4

    said = found(per_row)

    assert said["verdict"] == "no better than constant"
    assert said["sentence"].startswith("Pool and generalist are worse than boosted trees: RMSE")
    assert "No training of the model is better than a constant answer" in said["sentence"]
