"""Where the trials of proposed grid points lie."""

from dataclasses import replace
from pathlib import Path

from shoal.plan.trials import Trials

TRIALS = Trials(Path("first"), Path("later"), ("a", "b"), (2, 2, 1), "rows", "held-out")


def files(trials, *, of=range(3)):
    """Files of all slots of some batches."""
    return {path for batch in of for path in trials.files(batch, "ledger.json")}


def test_every_slot_has_files_of_its_own():
    """2 + 2 + 1 slots, all of them candidates, and proposals in between, all accounted for."""
    proposals = {TRIALS.proposals(1), TRIALS.proposals(2)}

    assert len(files(TRIALS)) == len(set(TRIALS.candidates)) == 5
    assert set(TRIALS.ledgers) == files(TRIALS) | proposals
    assert len(TRIALS.ledgers) == 5 + 2


def test_changed_validation_rows_move_all_but_the_first_batch():
    """What trains there is told by nothing but the points; later slots follow from losses."""
    other = replace(TRIALS, validation="other")

    assert files(other, of=[0]) == files(TRIALS, of=[0])
    assert files(other, of=[1, 2]).isdisjoint(files(TRIALS, of=[1, 2]))
    assert other.proposals(1) != TRIALS.proposals(1)


def test_more_points_add_slots_and_move_none():
    """A last batch that was not full is filled, and others follow."""
    more = replace(TRIALS, slots=(2, 2, 2, 1))

    assert files(TRIALS) < files(more, of=range(4))
    assert set(TRIALS.candidates) < set(more.candidates)
