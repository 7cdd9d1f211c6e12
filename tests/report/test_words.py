"""The leak check in sentences."""

from shoal.report.words import (
    best,
    checked_line,
    contenders,
    doubt_lines,
    gate_line,
    leak_lines,
)
from tests.documents import gate_summary

CLEAN = {
    "exact": {"rows": 0, "of": 300},
    "near": {"rows": 2, "by_chance": 0.2, "of": 300},
    "columns": [],
}


def test_clean_rows_need_no_warning():
    """A few rows that are near by chance are none."""
    assert leak_lines(CLEAN) == []
    assert checked_line(CLEAN).startswith("300 held-out rows were compared")


def test_what_chance_explains_needs_no_warning():
    """Rows of a few numbers are near to others in any data."""
    near = {"rows": 60, "by_chance": 50.0, "of": 300}

    assert leak_lines(CLEAN | {"near": near}) == []


def test_each_kind_has_its_line():
    """Counts, shares, and columns by name, with what to do."""
    alive = {"column": "alive", "score": 1.0, "constant": 0.616}
    price = {"column": "price", "score": 0.9987, "constant": 0.0}
    found = {
        "exact": {"rows": 30, "of": 300},
        "near": {"rows": 30, "by_chance": 4.2, "of": 270},
        "columns": [alive, price],
    }

    exact, near, one, other = leak_lines(found)

    assert "30 of 300 (10.0 %) held-out rows have the same inputs as a row of an earlier" in exact
    assert "30 of 270 (11.1 %) held-out rows are almost the same as a training row, 4 by" in near
    assert "'alive' alone gives the label: right in 100.0 % of validation rows, the most" in one
    assert "in 61.6 %; declare it ignore" in one
    assert "'price' alone gives the label: R² 0.999 on validation rows" in other


def test_spellings_have_a_line_each():
    """The two most frequent spellings are named, with their rows."""
    twice = [{"value": "Cat", "rows": 1200}, {"value": "cat ", "rows": 3}]
    found = {"leaks": CLEAN, "spellings": [{"column": "y", "spellings": twice, "others": 2}]}

    assert doubt_lines(found) == [
        "spelling? column 'y': 'Cat' and 'cat ' (1,200 and 3 rows) differ only in case or blanks, "
        "and so do those of 2 further values; spell them alike if they are one value"
    ]
    assert doubt_lines({"leaks": CLEAN, "spellings": []}) == doubt_lines({}) == []


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


def test_who_answers_is_said():
    """Specialists alone, together with the generalist, or the generalist alone."""
    alone = {"specialist": 1.0, "both": 0.0, "generalist": 0.0}
    answered = {"specialist": 0.25, "both": 0.5, "generalist": 0.25}
    gate = gate_summary(specialists=8, serving=6, answered=answered, models_per_row=1.5)

    assert gate_line(gate) == (
        "Gate: specialists beat the generalist on validation rows. They answer 25.0 % of test rows "
        "alone and 50.0 % together with the generalist, which answers 25.0 % alone: 1.50 models "
        "per row. Its training is counted as the pool's."
    )
    assert gate_line(gate | {"answered": alone}).endswith("They answer alone.")
    assert "Two specialists are asked per row." in gate_line(gate | {"softness": 0.5})
    assert "steps aside: it is the generalist" in gate_line(gate | {"serving": 0})
    assert gate_line(gate | {"specialists": 0}) == "Gate: no partition has a specialist."


def test_the_gate_says_on_how_many_units_it_compared():
    """And closes, in words, where they are too few."""
    gate = gate_summary(specialists=8, serving=5, kind="group", units=21)

    assert "beat the generalist on 21 groups of validation." in gate_line(gate)
    assert gate_line(gate | {"serving": 0, "units": 3}) == (
        "Gate: 3 groups of validation are too few to compare specialists with the generalist, "
        "which takes 5, so the pool steps aside: it is the generalist."
    )
