import math

import pytest

from shoal.evaluate.bootstrap import Difference
from shoal.evaluate.verdict import verdict

EQUAL = (100.0, 101.0)
ROWS = {"kind": None, "test": 1078, "least": 6}


def test_the_sentence_says_where_compute_is_not_equal():
    """A pool that data made dearer than its generalist is not called equal."""
    _, sentence = verdict(
        "accuracy", Difference(*(0.019, 0.006, 0.031)), 0.861, 0.842, (200.0, 100.0), ROWS
    )

    assert "for the generalist at 0.50 times the pool's training FLOPs" in sentence


def test_the_sentence_holds_scores_difference_and_interval():
    """It can be read without anything else."""
    word, sentence = verdict(
        "accuracy", Difference(*(0.019, 0.006, 0.031)), 0.861, 0.842, EQUAL, ROWS
    )

    assert word == "helps"
    assert sentence == (
        "Splitting helps on this data: accuracy 0.861 for the pool against 0.842 for the "
        "generalist at equal training FLOPs "
        "(difference +0.019, 95 % interval +0.006 to +0.031)."
    )


def test_the_sentence_says_of_how_many_the_generalist_is_the_best():
    """Where a search chose it."""
    difference = Difference(0.019, 0.006, 0.031)

    _, sentence = verdict("accuracy", difference, 0.861, 0.842, EQUAL, ROWS, generalists=3)

    assert "against 0.842 for the best of 3 generalists at equal training FLOPs" in sentence


@pytest.mark.parametrize(
    ("metric", "difference", "word"),
    [
        ("accuracy", (0.02, 0.01, 0.03), "helps"),
        ("accuracy", (-0.02, -0.03, -0.01), "hurts"),
        ("rmse", (-0.02, -0.03, -0.01), "helps"),
        ("rmse", (0.02, 0.01, 0.03), "hurts"),
        ("accuracy", (0.02, -0.01, 0.03), "no difference"),
        ("rmse", (-0.02, -0.03, 0.01), "no difference"),
        ("accuracy", (0.02, 0.0, 0.03), "no difference"),
        ("accuracy", (0.0, 0.0, 0.0), "no difference"),
    ],
)
def test_an_interval_without_zero_decides(metric, difference, word):
    """A lower RMSE is better; an interval that touches zero decides nothing."""
    assert (
        verdict(metric, Difference(*difference), 0.5, 0.5 - difference[0], EQUAL, ROWS)[0] == word
    )


def test_a_sentence_about_rmse_says_which_way_is_better():
    """A reader need not know that RMSE is an error."""
    _, sentence = verdict(
        "rmse", Difference(*(-120.0, -300.0, 10.0)), 48_210.0, 48_330.0, EQUAL, ROWS
    )

    assert sentence == (
        "Splitting makes no significant difference on this data: RMSE 48,210 for the pool "
        "against 48,330 for the generalist at equal training FLOPs "
        "(difference -120, 95 % interval -300 to +10; lower is better)."
    )


def test_a_verdict_is_never_beside_an_interval_that_shows_zero():
    """An end close to zero gets the digits that show its side."""
    assert (
        "+0.0002 to"
        in verdict("accuracy", Difference(*(0.01, 0.0002, 0.02)), 0.86, 0.85, EQUAL, ROWS)[1]
    )


@pytest.mark.parametrize("difference", [(0.0, 0.2, 0.1), (math.nan, math.nan, math.nan)])
def test_what_is_no_interval_is_refused(difference):
    """NaN would otherwise read as no difference."""
    with pytest.raises(ValueError, match="not an interval"):
        verdict("accuracy", Difference(*difference), 0.5, 0.5, EQUAL, ROWS)


def test_rows_that_belong_together_are_counted_by_what_they_belong_to():
    """The sentence says over how many groups its interval is."""
    units = {"kind": "group", "test": 42, "least": 6}
    difference = Difference(0.019, 0.006, 0.031)

    _, sentence = verdict("accuracy", difference, 0.861, 0.842, EQUAL, units)

    assert "(difference +0.019, 95 % interval +0.006 to +0.031 over 42 groups)" in sentence


def test_too_few_units_leave_a_verdict_undecided():
    """It says how many there are and how many it takes, and gives the difference all the same."""
    units = {"kind": "group", "test": 5, "least": 6}

    word, sentence = verdict("rmse", Difference(1.36, None, None), 5.36, 4.0, EQUAL, units)

    assert word == "undecided"
    assert sentence == (
        "Undecided, since the test fold holds 5 groups and an interval takes 6: RMSE 5.360 for the "
        "pool against 4.000 for the generalist at equal training FLOPs (difference +1.360, no "
        "interval over 5 groups; lower is better)."
    )


@pytest.mark.parametrize(
    ("most", "compute"),
    [
        ((200.0, 202.0), "at an equal cap on training FLOPs (difference"),
        ((200.0, 300.0), "at a cap on training FLOPs of 1.50 times the pool's (difference"),
    ],
)
def test_the_sentence_says_what_each_spent_of_its_cap(most, compute):
    """Where trainings stop early the cap is compared, and spending is told apart from it."""
    difference = Difference(*(0.019, 0.006, 0.031))
    spent = (150.0, 101.0)

    _, sentence = verdict("accuracy", difference, 0.861, 0.842, spent, ROWS, "", most)

    assert compute in sentence
    share = round(100 * 101 / most[1])
    assert sentence.endswith(
        f"Trainings stopped early: the pool spent 75 % of its cap, the generalist {share} %."
    )
