"""The judge of shuffled labels."""

import numpy as np
import pytest

from shoal.errors import DataError
from shoal.evaluate.verdict import control, control_verdict, refuse_leak
from shoal.training.metrics import row_correct, row_squared_error

ROWS = 400
KEYS = np.arange(ROWS * 16, dtype=np.uint32).view(np.uint8).reshape(-1, 16)[:ROWS]


def correct(share_right, seed=0, shares=(0.6, 0.4)):
    """Per-row values of models that know the label of some rows, and guess as often elsewhere."""
    draw = np.random.default_rng(seed)
    y = draw.choice(2, ROWS, p=shares)
    knows = draw.random(ROWS) < share_right
    said = np.where(knows, y, draw.choice(2, ROWS, p=shares))
    probability = np.eye(2)[said]
    constant = np.tile(np.array(shares), (ROWS, 1))
    model = row_correct(probability, y)
    return {"pool_top1": model, "generalist": model, "constant": row_correct(constant, y)}


def judged(per_row, metric="accuracy", keys=KEYS):
    found = control(metric, per_row, "pool_top1", keys, 500, 0)
    return found, *control_verdict(metric, found)


def test_models_that_know_nothing_are_at_chance():
    """Guesses lose against the most frequent class, and the sentence says that all is well."""
    found, word, sentence = judged(correct(0))

    assert word == "at chance"
    assert not found["generalist"]["beats"]
    assert "as it must be, nothing beats the constant answer: accuracy differs for" in sentence
    refuse_leak({"verdict": word, "sentence": sentence}, "report.html")


def test_a_model_that_knows_the_label_is_a_leak():
    """What beats chance ends the run with one line that names report, contender and interval."""
    per_row = correct(0) | {"generalist": correct(1)["generalist"]}
    per_row["constant"] = correct(1)["constant"]

    found, word, sentence = judged(per_row)

    assert word == "leak"
    assert (found["pool"]["beats"], found["generalist"]["beats"]) == (False, True)
    with pytest.raises(DataError, match=r"r\.html: Labels are shuffled, yet .*generalist by \+0"):
        refuse_leak({"verdict": word, "sentence": sentence}, "r.html")
    assert "\n" not in sentence
    assert "a leak is likely" in sentence


@pytest.mark.parametrize(("known", "word"), [(0.0, "at chance"), (0.6, "leak")])
def test_numbers_are_judged_by_rmse(known, word):
    """A lower error than the mean's is a leak."""
    draw = np.random.default_rng(1)
    y = draw.normal(size=ROWS)
    model = row_squared_error(known * y + 0.05 * draw.normal(size=ROWS), y)
    per_row = dict.fromkeys(("pool_top1", "generalist"), model)

    assert judged(per_row | {"constant": row_squared_error(np.zeros(ROWS), y)}, "rmse")[1] == word


def test_rows_of_one_key_count_once():
    """They drew one label together, so a lucky guess on their copies is no evidence."""
    lucky, unlucky = np.ones(ROWS), np.zeros(ROWS)
    alike = np.repeat(KEYS[:1], ROWS, axis=0)
    per_row = {"pool_top1": lucky, "generalist": lucky, "constant": unlucky}

    assert control("accuracy", per_row, "pool_top1", alike, 100, 0)["rows"] == 1
    assert control("accuracy", per_row, "pool_top1", KEYS, 100, 0)["rows"] == ROWS


def test_clean_runs_are_rarely_accused():
    """With even classes, the hardest case, about one interval in two hundred errs this way."""
    accused = sum(
        control("accuracy", correct(0, seed, (0.5, 0.5)), "pool_top1", KEYS, 300, 0)["generalist"][
            "beats"
        ]
        for seed in range(400)
    )

    assert accused <= 9
