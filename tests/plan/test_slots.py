"""Where the slots and decisions of a search lie."""

from dataclasses import replace
from pathlib import Path

import pytest

from shoal.plan.slots import LEDGER, STATE, WEIGHTS, Slots

HALVED = Slots(Path("g1"), "first", "halved", ("a", "b", "c", "d"), (4, 2, 1), True, "rows", "held")
PROPOSED = Slots(Path("g1"), "first", "tpe", ("a", "b"), (2, 2, 1), False, "rows", "held")
GRID = Slots(Path("g1"), "first", "grid", ("a", "b"), (2,), False, "rows", "held")
ALL = (HALVED, PROPOSED, GRID)


def files(search, *, of=range(3)):
    """Files of all slots of some steps."""
    names = (WEIGHTS, LEDGER, STATE)
    return {path for step in of for name in names for path in search.files(step, name)}


@pytest.mark.parametrize(("search", "slots"), [(HALVED, 7), (PROPOSED, 5), (GRID, 2)])
def test_every_slot_and_every_decision_lies_apart(search, slots):
    """As many slots as the steps count, and a decision after each step."""
    steps = range(search.count)
    weights = [path for step in steps for path in search.files(step, WEIGHTS)]

    assert len(weights) == len(set(weights)) == slots
    assert len({search.decision(step) for step in steps}) == search.count


@pytest.mark.parametrize("search", ALL)
def test_all_slots_and_decisions_are_accounted_for(search):
    """Every job leaves one ledger; the last decision's is the choice."""
    steps = range(search.count)
    slots = [path for step in steps for path in search.files(step, LEDGER)]

    found = [*search.ledgers, search.choice]

    assert sorted(found) == sorted([*slots, *(search.decision(step) for step in steps)])


def test_a_decision_compares_a_rung_or_all_trials():
    """Under halving the losses of whole trainings are compared with each other alone."""
    assert [len(HALVED.compared(step)) for step in range(3)] == [4, 2, 1]
    assert [len(PROPOSED.compared(step)) for step in range(3)] == [2, 4, 5]
    assert list(PROPOSED.candidates) == PROPOSED.compared(2)
    names = [path.parent.name for path in PROPOSED.candidates]
    assert PROPOSED.names_compared(2) == names


def test_a_slot_takes_the_decision_before_it_and_states_where_it_goes_on():
    """The first step takes neither."""
    assert HALVED.before(0) == PROPOSED.before(0) == ([], {})
    states = dict(zip(HALVED.names(0), HALVED.files(0, STATE), strict=True))
    assert HALVED.before(1) == ([HALVED.decision(0)], states)
    assert PROPOSED.before(2) == ([PROPOSED.decision(1)], {})


@pytest.mark.parametrize("search", [HALVED, PROPOSED])
def test_changed_validation_rows_move_all_but_the_first_step(search):
    """What trains there is told by nothing but the points; later slots are filled by losses."""
    other = replace(search, validation="other")

    assert files(other, of=[0]) == files(search, of=[0])
    assert files(other, of=[1, 2]).isdisjoint(files(search, of=[1, 2]))
    assert other.decision(0) != search.decision(0)


@pytest.mark.parametrize("search", [HALVED, GRID])
def test_another_point_leaves_the_others_where_they_are(search):
    """A point is found by its id, not by its place; what follows is decided anew."""
    more = replace(search, points=("e", *reversed(search.points)), counts=(5, *search.counts[1:]))

    assert files(search, of=[0]) < files(more, of=[0])
    assert more.decision(0) != search.decision(0)


def test_more_proposed_points_add_slots_and_move_none():
    """A last batch that was not full is filled, and others follow; the choice is another."""
    more = replace(PROPOSED, counts=(2, 2, 2, 1))

    assert files(PROPOSED) < files(more, of=range(4))
    assert [PROPOSED.decision(step) for step in (0, 1)] == [more.decision(step) for step in (0, 1)]
    assert len({PROPOSED.choice, more.decision(2), more.choice}) == 3


def test_how_slots_are_filled_is_part_of_every_decision():
    """And the first step's own identity of all that follows."""
    for other in (replace(HALVED, search="other"), replace(HALVED, specialists="other")):
        assert all(other.decision(step) != HALVED.decision(step) for step in range(3))
    assert files(replace(HALVED, search="other"), of=[0]) == files(HALVED, of=[0])


def test_a_point_that_failed_leaves_the_search_of_the_others():
    """As that of a grid without it: its decision, and what this one fills."""
    without = replace(GRID, left_out=frozenset({"first/rows/0/a", "first/others/0/b"}))
    smaller = replace(GRID, points=("b",), counts=(1,))

    assert without.lacks == ["first/rows/0/a"]
    assert without.candidates == smaller.candidates
    assert without.choice == smaller.choice


def test_a_later_slot_that_failed_moves_what_is_decided_after_it():
    """The slots beside it and before it stay where they are."""
    failed = HALVED.full_name(1, "held-0")
    without = replace(HALVED, left_out=frozenset({failed}))

    assert without.has(failed)
    assert without.lacks == [failed]
    assert without.names(1) == ("held-1",)
    assert files(without, of=[0, 1]) < files(HALVED, of=[0, 1])
    assert without.decision(0) == HALVED.decision(0)
    assert without.decision(1) != HALVED.decision(1)
    assert files(without, of=[2]).isdisjoint(files(HALVED, of=[2]))


def test_without_any_slot_of_a_rung_there_is_no_candidate():
    """Nothing can go on from it."""
    names = [f"first/rows/0/{point}" for point in HALVED.points]

    assert replace(HALVED, left_out=frozenset(names)).candidates == ()
    assert replace(PROPOSED, left_out=frozenset(names[:2])).candidates == ()
    assert len(replace(HALVED, left_out=frozenset(names[:3])).candidates) == 1
