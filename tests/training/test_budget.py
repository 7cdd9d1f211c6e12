"""A budget in FLOPs: what is left for specialists once all else is known."""

from pathlib import Path

import pytest

from shoal.errors import SettingsError
from shoal.settings.compose import compose
from shoal.training.budget import Budget

TRAINING = compose(Path(__file__).parents[2] / "config", "demo", []).train_specialists
BASE = {"flops": 300.0 * 90, "unspent": 0.0, "rows_seen": 90, "seconds": 1.0}


def of_flops(flops, patience=None):
    """A base took 27,000 FLOPs for 90 rows; 100 rows train, and of 20 for validation 9 choose."""
    changes = {"flops": flops, "base_share": 0.3, "batch_size": 4, "patience": patience}
    return Budget.of_flops(TRAINING.model_copy(update=changes), 100, BASE, 20, 9)


@pytest.mark.parametrize(("patience", "answers"), [(None, 9), (2, 27)])
def test_specialists_have_what_base_fits_and_routing_leave(patience, answers):
    """Base, fits, specialists and the most that the rest takes add up to the budget."""
    budget, fits, placing, parts, slots = of_flops(9e5, patience), 4e5, 10.0, 5, 2

    left = budget.after(fits, placing, parts, slots, 2.0)

    rest = placing * 140 + 100 * answers * slots + 300 * 4 * slots * (parts + 1)
    trained = left.specialist_rows(100) * 300 * slots
    assert 27_000 + fits + rest + trained == pytest.approx(9e5, rel=0.01)


def test_a_budget_that_is_spent_before_specialists_is_refused():
    """The message says what took it, and how much would be needed."""
    with pytest.raises(SettingsError, match=r"nothing is left .* base took 2\.7e\+04, .* more"):
        of_flops(1e5).after(9e4, 10.0, 5, 2, 2.0)


def test_rows_and_epochs_know_nothing_of_it():
    """Without FLOPs the budget stays as the base has it."""
    budget = Budget(rows_seen=1000, base_share=0.4, training_rows=300)

    assert budget.after(1e12, 10.0, 5, 2, 2.0) is budget
