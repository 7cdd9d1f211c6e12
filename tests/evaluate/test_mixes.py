"""Which mix is gone on by, of what is known of them."""

from __future__ import annotations

from shoal.evaluate.mixes import compared
from shoal.report.words import mixes_text

HISTORIES = (1.2, 0.0)


def found(losses, earlier=None):
    """What is known after a release."""
    return compared(HISTORIES, losses, earlier)


def test_the_mix_of_the_lower_loss_is_gone_on_by():
    assert found({1.2: 0.5, 0.0: 0.4})["history"] == 0.0
    assert found({1.2: 0.4, 0.0: 0.5})["history"] == 1.2


def test_of_equal_mixes_the_one_with_history_is():
    assert found({1.2: 0.5, 0.0: 0.5})["history"] == 1.2


def test_a_release_before_counts_half():
    earlier = found({1.2: 0.1, 0.0: 0.5})
    assert [each["recent"] for each in found({1.2: 0.6, 0.0: 0.5}, earlier)["mixes"]] == [
        0.65,
        0.75,
    ]
    assert found({1.2: 0.6, 0.0: 0.5}, earlier)["history"] == 1.2
    assert found({1.2: 0.8, 0.0: 0.5}, earlier)["history"] == 0.0


def test_where_nothing_is_compared_the_last_choice_stays():
    earlier = found({1.2: 0.5, 0.0: 0.4})
    later = found({}, earlier)
    assert later["history"] == 0.0
    assert [each["recent"] for each in later["mixes"]] == [0.5, 0.4]


def test_at_first_models_continue_with_history():
    assert found({})["history"] == 1.2


def test_a_mix_that_diverges_is_not_gone_on_by():
    earlier = found({1.2: 0.9, 0.0: 0.1})
    assert found({1.2: 0.9, 0.0: None}, earlier)["history"] == 1.2
    assert found({1.2: None, 0.0: None})["history"] == 1.2


def test_a_plan_says_which_mix_was_better_and_by_how_much():
    told = found({1.2: 0.5, 0.0: 0.4}) | {"rows": 1200, "spent": 0.0, "reason": None}
    assert mixes_text(told) == (
        "Models continue by new rows alone: mean loss 0.4 on 1,200 rows that arrived, "
        "0.5 with 1.2 rows of history for each new row"
    )
    none = found({}) | {"rows": 0, "spent": 0.0, "reason": "no training row arrived"}
    assert mixes_text(none) == (
        "Models continue with 1.2 rows of history for each new row; mixes were not compared: no "
        "training row arrived"
    )
