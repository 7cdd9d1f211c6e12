"""What drift looks like in a terminal."""

import io
import re

import pytest
from rich.console import Console

from shoal.evaluate.drift_table import advice_text, drift_table

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
