"""Answers as text."""

import io
import json
from datetime import UTC, datetime

import pytest
from rich.console import Console

from shoal.explore.query import output
from shoal.explore.query.database import Answer

VALUES = [
    (None, "", None),
    (1.5, "1.5", 1.5),
    (float("nan"), "", None),
    (True, "true", True),
    ([1, float("inf")], '"[1, null]"', [1, None]),
    ({"lr": 0.1}, '"{""lr"": 0.1}"', {"lr": 0.1}),
    (b"\x00\xff", "00ff", "00ff"),
    (datetime(2026, 1, 2, 3, 4, tzinfo=UTC).replace(tzinfo=None), "2026-01-02 03:04:00", None),
    ("a,b", '"a,b"', "a,b"),
]


@pytest.mark.parametrize(("value", "in_csv", "in_json"), VALUES)
def test_every_kind_of_value_has_a_text(capsys, value, in_csv, in_json):
    """What is null or no number is empty in CSV and null in JSON; lists and structs are JSON."""
    output.write_csv(Answer(["a", "b"], iter([("x", value)])))
    (found,) = json.loads(output.as_json(Answer(["a"], iter([(value,)]))))

    assert capsys.readouterr().out == f"a,b\nx,{in_csv}\n"
    assert found["a"] == (in_csv if isinstance(value, datetime) else in_json)


def test_people_see_a_table():
    """Names above, numbers to the right and short, and brackets as they are."""
    answer = Answer(["name", "error"], iter([("[bold]", 0.123456), ("b", None)]))
    console = Console(width=60, file=io.StringIO(), record=True)

    console.print(output.table(answer))

    lines = [line.rstrip() for line in console.export_text().splitlines() if "─" not in line]
    assert [line for line in lines if line] == [" name     error", " [bold]  0.1235", " b"]
