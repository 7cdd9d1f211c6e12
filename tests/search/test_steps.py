"""The steps of a search."""

from typing import Any

import pytest

from shoal.formats.json_file import read_json, write_json
from shoal.search.steps import Next, Steps, Tried
from shoal.settings.search import GridSampling, Halving, Range

SPACE = {"lr": Range(low=1e-4, high=0.1, log=True), "batch_size": [4, 8], "model.width": [[1], [2]]}


def steps(sampler="sobol", samples=10, rungs=1):
    sampling = GridSampling(sampler=sampler, samples=samples, batch=4, seed=0)
    return Steps(SPACE, sampling, Halving(rungs=rungs, reduction_factor=3))


def test_a_plain_grid_is_one_step_of_whole_trainings():
    """Nothing follows it, and no training is cut."""
    grid = steps()

    assert (grid.count, grid.slots(10), grid.tried(10), grid.trainings(10)) == (1, (10,), 10, 10)
    assert grid.divisors(0) == (1, None)
    assert not grid.drops


def test_halving_cuts_trainings_and_keeps_the_better_ones():
    """Each step ends later in the trainings, and fewer of them go on."""
    halved = steps(rungs=3)

    assert (halved.count, halved.slots(27), halved.tried(27)) == (3, (27, 9, 3), 27)
    assert [halved.divisors(step) for step in range(3)] == [(9, None), (3, 9), (1, 3)]
    assert halved.trainings(27) == pytest.approx(27 / 9 + 9 * 2 / 9 + 3 * 6 / 9)
    assert halved.drops


def test_proposals_are_batches_of_whole_trainings():
    """The first batch is known beforehand; the last one takes what is left."""
    proposed = steps("tpe")

    assert (proposed.count, proposed.slots(4), proposed.tried(4)) == (3, (4, 4, 2), 10)
    assert {proposed.divisors(step) for step in range(3)} == {(1, None)}
    assert proposed.trainings(4) == 10
    assert proposed.drops


def test_slots_go_on_with_the_best_from_where_it_ended():
    """Diverged ones come last, with the reason; equal ones in order of their points' ids."""
    tried = [
        Tried("a", {"lr": 1}, None, "its loss"),
        Tried("b", {"lr": 2}, 0.3, None),
        Tried("c", {"lr": 3}, 0.1, None),
    ]

    assert steps(rungs=2).after(tried) == [
        Next({"lr": 3}, "c"),
        Next({"lr": 2}, "b"),
        Next({"lr": 1}, "a", "its loss"),
    ]
    unknown = [Tried(name, {"lr": name}, None, None) for name in "abc"]
    order = [each.after for each in steps(rungs=2).after(unknown)]
    assert order == [each.after for each in steps(rungs=2).after(unknown[::-1])]


def test_proposed_slots_start_anew_at_other_points():
    """They go on from nothing."""
    proposed = steps("tpe")
    tried = [Tried("a", {"lr": 1}, None, "its loss")]

    following = proposed.after(tried)

    assert len(following) == 4
    assert {each.after for each in following} == {None}


@pytest.mark.parametrize("asked", [("sobol", 10, 1), ("tpe", 10, 1), ("sobol", 10, 3)])
def test_a_job_reads_the_steps_that_its_run_wrote(asked, tmp_path):
    """Lists stay lists and ranges ranges, in their order, on which draws depend."""
    write_json(tmp_path / "steps.json", steps(*asked).as_json())

    taken = Steps.from_json(read_json(tmp_path / "steps.json", dict[str, Any]))

    assert taken == steps(*asked)
    assert list(taken.space) == list(SPACE)


def test_more_samples_do_not_change_how_slots_are_filled():
    """So what there is of a search stays, and another seed moves it."""
    assert steps("tpe", 10).identity == steps("tpe", 12).identity != steps("gp", 10).identity
    assert steps(rungs=2).identity != steps(rungs=3).identity
    assert steps(samples=10).identity == steps(samples=12).identity
