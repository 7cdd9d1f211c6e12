"""The best contender against the constant answer."""

import numpy as np
import pytest

from shoal.evaluate.bootstrap import Difference
from shoal.evaluate.verdict import against_constant, no_better_text, verdict
from shoal.settings.learning import Evaluate

SETTINGS = Evaluate(bootstrap=200, calibration_bins=10, map="pca", map_rows=10, seed=0)
RNG = np.random.default_rng(0)
CONSTANT = RNG.random(300)
ROWS = {"kind": None, "test": 300, "least": 6}


def found(pool, generalist, units=None):
    """The comparison where these are the squared errors."""
    per_row = {"pool_top1": pool, "generalist": generalist, "constant": CONSTANT[: len(pool)]}
    return against_constant("rmse", per_row, SETTINGS, units)


def test_one_contender_that_is_better_is_enough():
    """The best is asked, whichever it is."""
    best = found(CONSTANT + 0.5, CONSTANT * 0.5)

    assert (best["contender"], best["beats"]) == ("generalist", True)
    assert best["high"] < 0


def test_contenders_that_are_all_worse_beat_nothing():
    """So it is where the best equals the constant answer."""
    assert found(CONSTANT + 0.5, CONSTANT + 0.2)["beats"] is False
    assert found(CONSTANT + 0.5, CONSTANT)["beats"] is False


def test_a_gain_within_chance_beats_nothing():
    """The score is better, the interval holds zero."""
    best = found(CONSTANT + 0.5, CONSTANT + RNG.normal(0, 0.4, 300) - 0.005)

    assert best["low"] < 0 < best["high"]
    assert best["beats"] is False


def test_few_units_leave_a_gain_open_but_no_loss():
    """Of four groups nothing is known, but what scores worse is not better."""
    units = np.repeat(np.arange(4), 5).astype(np.uint64)
    worse, better = CONSTANT[:20] + 0.5, CONSTANT[:20] * 0.5

    assert found(worse, better, units)["beats"] is None
    assert found(worse, worse, units)["beats"] is False


@pytest.mark.parametrize("difference", [(-0.4, -0.6, -0.2), (0.4, 0.2, 0.6), (0.4, None, None)])
def test_a_verdict_says_first_that_nothing_was_learnt(difference):
    """Whichever of two useless models is better, and however sure that is."""
    best = {"contender": "generalist", "value": 1.2, "low": 0.8, "high": 1.6, "beats": False}
    said = no_better_text("rmse", best, (5.2, 4.0))

    word, sentence = verdict("rmse", Difference(*difference), 5.6, 5.2, (1.0, 1.0), ROWS, said)

    assert word == "no better than constant"
    assert sentence.startswith(
        "No model is better than a constant answer: RMSE is 4.000 where the mean of the training "
        "labels is the answer for every row, and 5.200 for the best model, the generalist. RMSE "
        "5.600 for the pool against 5.200 for the generalist at equal training FLOPs"
    )
    assert "helps" not in sentence


def test_a_gain_that_may_be_chance_is_said_to_be_one():
    """The interval is shown, and which constant answer it is."""
    best = {"contender": "pool_top1", "value": 0.01, "low": -0.02, "high": 0.04, "beats": False}

    assert no_better_text("accuracy", best, (0.63, 0.62)) == (
        "No model is significantly better than a constant answer: accuracy is 0.620 where the most "
        "frequent class of the training labels is the answer for every row, and 0.630 for the best "
        "model, the pool with one specialist per row (difference +0.010, 95 % interval -0.020 to "
        "+0.040)."
    )
