import io
import math

import pytest
from rich.console import Console

from shoal.evaluate.bootstrap import Difference
from shoal.evaluate.verdict import best, contenders, gate_line, verdict, verdict_table

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


def test_best_takes_ties_and_the_metrics_direction():
    """The highest accuracy, the lowest RMSE, and all that share it."""
    scores = {"a": 0.5, "b": 0.7, "c": 0.7}

    assert best("accuracy", scores) == {"b", "c"}
    assert best("rmse", scores) == {"a"}


def test_contenders_come_in_their_order_and_others_last(metrics):
    """A further baseline is shown without being known by name; null ones are not."""
    content = {"widened": metrics["generalist"], **metrics, "pool_top2": None}

    names = ["pool_top1", "generalist", "random_partitions", "constant", "widened"]
    assert list(contenders(content)) == names


def test_the_table_shows_scores_compute_sentence_and_the_pool(metrics):
    """What `make run` ends with; a path longer than a line is not cut off."""
    console = Console(file=io.StringIO(), width=90)
    pool = "/results/" + "a" * 100

    console.print(verdict_table(metrics, pool, "d1" * 32))

    text = console.file.getvalue()
    for part in ("0.861", "0.842", "1.23 TFLOP", "21.9 kFLOP", "Random partitions"):
        assert part in text
    assert f"Thepoolliesin{pool}" in "".join(text.split())
    assert metrics["sentence"] in " ".join(text.split())
    assert "Test rows: 1,078. Partitions: 2." in text


@pytest.mark.parametrize(
    ("serving", "said"),
    [(8, "all 8 specialists"), (5, "5 of 8 specialists"), (0, "steps aside: it is the generalist")],
)
def test_how_many_specialists_serve_is_said(serving, said):
    """All, some or none: the last is a pool that is the generalist."""
    assert said in gate_line({"specialists": 8, "serving": serving})
    assert gate_line({"specialists": 0, "serving": 0}) == "Gate: no partition has a specialist."


def test_the_table_tells_leaks(metrics):
    """A warning stands below the verdict; results of earlier versions hold no leak check."""
    console = Console(file=io.StringIO(), width=90)
    found = {"column": "alive", "score": 1.0, "constant": 0.6}
    leaking = metrics | {"leaks": metrics["leaks"] | {"columns": [found]}}
    earlier = {name: value for name, value in metrics.items() if name != "leaks"}

    console.print(verdict_table(earlier, "pool", "d1"))
    assert "leak?" not in console.file.getvalue()
    console.print(verdict_table(leaking, "pool", "d1"))

    assert "leak? column 'alive' alone gives the label" in console.file.getvalue()


def printed(metrics, width=80):
    """Lines that ``shoal verdict`` prints."""
    console = Console(file=io.StringIO(), width=width)
    console.print(verdict_table(metrics, "pool", "d1"))
    return console.file.getvalue().splitlines()


def test_what_beats_no_constant_is_said_on_the_first_line(metrics):
    """Before any table, so that nobody reads on without knowing; else the table comes first."""
    said = "No model is better than a constant answer."
    useless = metrics | {"verdict": "no better than constant", "sentence": said}

    assert printed(useless)[0] == said
    assert said not in "".join(printed(metrics))
    assert printed(metrics)[0].startswith("┏")


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


def test_the_terminal_counts_test_rows_and_their_units(metrics):
    """As many rows of so many groups; rows alone where each is its own."""
    grouped = metrics | {"units": {"kind": "group", "test": 42, "least": 6}}

    assert "Test rows: 1,078 of 42 groups. Partitions: 2." in printed(grouped)
    assert "Test rows: 1,078. Partitions: 2." in printed(metrics)


def test_the_gate_says_on_how_many_units_it_compared():
    """And closes, in words, where they are too few."""
    gate = {"specialists": 8, "serving": 5, "kind": "group", "units": 21, "least_units": 5}

    assert "5 of 8 specialists beat the generalist on 21 groups of validation;" in gate_line(gate)
    assert gate_line(gate | {"serving": 0, "units": 3}) == (
        "Gate: 3 groups of validation are too few to compare specialists with the generalist, "
        "which takes 5, so the pool steps aside: it is the generalist."
    )
