"""Where the rungs of a successive halving lie."""

from dataclasses import replace
from pathlib import Path

from shoal.plan.rungs import Rungs

RUNGS = Rungs(Path("first"), Path("later"), ("a", "b", "c", "d"), (4, 2, 1), "rows", "held-out")


def files(rungs, *, of=range(3)):
    """Files of all slots of some rungs."""
    return {path for rung in of for path in rungs.files(rung, "ledger.json")}


def test_every_slot_has_files_of_its_own():
    """4 + 2 + 1 slots and a ranking between two rungs, all accounted for."""
    rankings = {RUNGS.ranking(0), RUNGS.ranking(1)}

    assert len(files(RUNGS)) == 4 + 2 + 1
    assert len(RUNGS.candidates) == 1
    assert set(RUNGS.ledgers) == files(RUNGS) | rankings
    assert len(RUNGS.ledgers) == 7 + 2


def test_changed_validation_rows_move_all_but_the_first_rung():
    """What trains there is told by nothing but the points; later slots are filled by rankings."""
    other = replace(RUNGS, validation="other")

    assert files(other, of=[0]) == files(RUNGS, of=[0])
    assert files(other, of=[1, 2]).isdisjoint(files(RUNGS, of=[1, 2]))
    assert other.ranking(0) != RUNGS.ranking(0)


def test_another_point_leaves_the_others_on_the_first_rung_where_they_are():
    """A point is found by its id, not by its place."""
    more = replace(RUNGS, points=("e", "d", "c", "b", "a"), later=Path("other"))

    assert files(RUNGS, of=[0]) < files(more, of=[0])
