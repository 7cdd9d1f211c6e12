"""Where the rungs of a successive halving lie."""

from dataclasses import replace
from pathlib import Path

from shoal.plan.rungs import RUNG_FILES, Rungs

RUNGS = Rungs(Path("first"), Path("later"), ("a", "b", "c", "d"), (4, 2, 1), "rows", "held-out")


def files(rungs, *, of=range(3)):
    """Files of all slots of some rungs."""
    return {path for rung in of for name in RUNG_FILES for path in rungs.files(rung, name)}


def test_every_slot_has_files_of_its_own():
    """4 + 2 + 1 slots with three files each, and a ranking between two rungs."""
    jobs = list(RUNGS.jobs(0))

    outputs = [path for job in jobs for path in job.outputs]
    assert len(outputs) == len(set(outputs)) == 3 * 7 + 2
    assert [job.rule for job in jobs].count("train_rank") == 2
    assert len({job.about for job in jobs}) == len(jobs)
    assert len(RUNGS.candidates) == 1


def test_all_slots_and_rankings_are_accounted_for():
    """Every job leaves one ledger."""
    assert len(RUNGS.ledgers) == len(list(RUNGS.jobs(0)))
    assert {p for job in RUNGS.jobs(0) for p in job.outputs if p.suffix == ".json"} == set(
        RUNGS.ledgers
    )


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
