"""Tables of ``shoal verdict``."""

import io
import re

import pytest
from rich.console import Console

from shoal.report.terminal import drift_table, verdict_table
from shoal.report.words import advice_text

CONTENT = {
    "overall": {
        "rows_before": 12_000,
        "arrived": 340,
        "gone": 2,
        "accuracy": 0.512,
        "p_value": 0.27,
        "beyond_before": 0.001,
        "beyond_after": 0.002,
        "beyond_p_value": 0.4,
    },
    "partitions": [
        {
            "partition": 0,
            "rows_before": 7000,
            "arrived": 330,
            "gone": 2,
            "accuracy": 0.75,
            "p_value": 0.00012,
            "beyond_before": 0.001,
            "beyond_after": 0.002,
            "beyond_p_value": 0.4,
            "loss_before": 0.41,
            "loss_after": 0.52,
            "loss_p_value": 0.2,
        },
        {
            "partition": 1,
            "rows_before": 5000,
            "arrived": 10,
            "gone": 0,
            "accuracy": None,
            "p_value": None,
            "beyond_before": None,
            "beyond_after": None,
            "beyond_p_value": None,
            "loss_before": None,
            "loss_after": 0.52,
            "loss_p_value": None,
        },
    ],
    "recommendation": {"action": "retrain", "partitions": [0], "reason": "its rows differ"},
}


def lines(content, width=100):
    """The table's lines as printed."""
    console = Console(file=io.StringIO(), width=width)
    console.print(drift_table(content))
    return console.file.getvalue().splitlines()


def cells(line):
    """The cells of a printed line."""
    return re.split(r"\s{2,}", line.strip())


def test_every_partition_has_a_line():
    """Counts, tests, shares and losses stand in one line; what is not known is a dash."""
    found = [cells(line) for line in lines(CONTENT) if "→" in line]

    assert found == [
        ["0", "7,000", "330", "2", "75.0 %", "0.00012", "0.1 % → 0.2 %", "0.410 → 0.520"],
        ["1", "5,000", "10", "0", "-", "-", "-", "- → 0.520"],
        ["all rows", "12,000", "340", "2", "51.2 %", "0.27", "0.1 % → 0.2 %", "-"],
    ]


def test_the_recommendation_stands_below():
    """The last line says what to do and why."""
    assert lines(CONTENT)[-1].strip() == "Retrain partition 0: its rows differ."


@pytest.mark.parametrize(
    ("action", "partitions", "text"),
    [
        ("keep", [], "Keep everything: so."),
        ("retrain", [1, 4], "Retrain partitions 1, 4: so."),
        ("refit", [1], "Refit the generation: so."),
    ],
)
def test_each_action_is_a_sentence(action, partitions, text):
    """A recommendation reads by itself."""
    assert advice_text({"action": action, "partitions": partitions, "reason": "so"}) == text


def test_a_narrow_terminal_shows_every_number():
    """In eighty columns nothing is cut, though a pair may take two lines."""
    shown = lines(CONTENT, width=80)

    assert max(map(len, shown)) <= 80
    words = set(" ".join(shown).split())
    assert {
        "12,000",
        "340",
        "51.2",
        "0.00012",
        "0.1",
        "0.2",
        "0.410",
        "0.520",
        "partition",
    } <= words


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


def test_the_terminal_counts_test_rows_and_their_units(metrics):
    """As many rows of so many groups; rows alone where each is its own."""
    grouped = metrics | {"units": {"kind": "group", "test": 42, "least": 6}}

    assert "Test rows: 1,078 of 42 groups. Partitions: 2." in printed(grouped)
    assert "Test rows: 1,078. Partitions: 2." in printed(metrics)


def test_a_usual_model_that_is_better_is_said_on_the_first_line(metrics):
    """Before the table, and the critical path in one line after it."""
    metrics["sentence"] = "The pool is worse than boosted trees: accuracy 0.9 against 0.95."
    metrics["against_usual"] = [{"contender": "boosted_trees", "worse": ["pool"]}]
    console = Console(file=io.StringIO(), width=80)
    console.print(verdict_table(metrics, "pool", "0" * 64))
    said = console.file.getvalue().splitlines()

    assert said[0].startswith("The pool is worse than boosted trees")
    assert "Critical path on 8 nodes, before the gate: 0.52 of the generalist's." in said
