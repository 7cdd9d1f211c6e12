"""What a search chose, and the evidence that the report gives for it."""

import pytest

from shoal.report.choices import made_choices
from shoal.report.evaluation import Candidate
from tests.documents import gate_summary

BUDGET = {"train_flops": 1e10, "hours": None, "flops_per_second": 1e9}
SETTINGS = {
    "sources": {"task": "regression", "columns": {"price": "label"}},
    "split": {"method": "time"},
    "search": {"budget": BUDGET},
}


def variant(name, pool, embed, patience):
    """A variant of an embedding and of early stopping."""
    changes = {"embed": embed, "train_specialists.patience": patience}
    costs = {"generalist": 0.5, "pool_flops": 1.0, "generalist_flops": 1.0}
    return {"variant": name, "changes": changes, "pool": pool, "error": 0.004} | costs


SEARCH = {
    "rows": 60,
    "units": 60,
    "pool": "b",
    "generalist": "a",
    "variants": [
        variant("a", 0.7, "pca", None),
        variant("b", 0.9, "pca", 5),
        variant("c", 0.8, "identity", None),
        variant("d", 0.6, "identity", 5),
    ],
    "pools_flops": 1.0,
    "generalists_flops": 1.0,
    "spent": 6e9,
}


def said(gate=None, candidates=(), found=None, **changes):
    """Way and evidence by choice."""
    gate = gate or gate_summary()
    rows = made_choices(SEARCH, gate, candidates, 8, SETTINGS | changes, found or {})
    return {each["choice"]: (each["taken"], each["evidence"]) for each in rows}


def test_each_setting_that_varies_has_its_best_score_and_that_of_each_other_value():
    """The chosen pool's score with its error; beside it the best pool with another value."""
    found = said()

    assert found["embedding"] == ("pca", "validation 0.9000 ± 0.0040; identity 0.8000")
    taken, evidence = found["early stopping"]
    assert taken == "after 5 passes without gain"
    assert evidence == "validation 0.9000 ± 0.0040; none 0.8000"


def test_what_was_found_in_the_files_says_why():
    """Settings by name, and columns by theirs."""
    reasons = {"sources.task": "it holds numbers", "sources.columns.price": "label, by its name"}

    found = said(found=reasons | {"split.method": "'day' is of kind time"})

    assert found["sources.task"] == ("regression", "it holds numbers")
    assert found["sources.columns.price"] == ("label", "label, by its name")
    assert found["split.method"][0] == "time"


@pytest.mark.parametrize(
    ("changes", "gate", "mixing"),
    [
        ({}, "closed", "one specialist per row"),
        ({"serving": 1, "softness": 2.0}, "open", "two specialists per row"),
    ],
)
def test_gate_and_mixing_say_which_way_and_on_how_many_rows(changes, gate, mixing):
    """As the gate decided them."""
    found = said(gate_summary(**changes))

    assert found["gate"][0] == gate
    assert "of 1 specialists share in answers, by 60 rows of validation" in found["gate"][1]
    assert found["mixing"][0] == mixing


def test_probes_and_budget_are_said_where_there_are_some():
    """Losses by number of partitions; what was spent and what is left."""
    probes = [Candidate(1, 0.5, 0.0, 0.0, taken=False), Candidate(8, 0.4, 0.1, 0.01, taken=True)]

    found = said(candidates=probes, changes={"grow": "auto"})

    assert found["partitions"][0] == "8"
    assert found["partitions"][1].endswith("1: 0.5000, 8: 0.4000")
    assert found["growing"][0] == "by itself"
    assert found["budget"][0] == "10.0 GFLOP"
    assert found["budget"][1].startswith("6.00 GFLOP spent by 4 variants")
    assert found["budget"][1].endswith("4.00 GFLOP left")
    assert "partitions" not in said()
