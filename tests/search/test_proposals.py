"""Points that Optuna's samplers propose."""

import math
from types import SimpleNamespace

import pytest

from shoal.formats.hashing import settings_id
from shoal.search.proposals import propose
from shoal.search.space import drawn
from shoal.search.steps import Tried
from shoal.settings.search import GridSampling, Range, space_size
from shoal.settings.section import parse
from shoal.training.determinism import deterministic

SPACE = {
    "lr": Range(low=1e-4, high=0.1, log=True),
    "batch_size": Range(low=4, high=64),
    "weight_decay": [0.0, 0.01, 0.1],
}


def proposer(sampler="tpe", space=SPACE, **changes):
    asked = {"sampler": sampler, "samples": 12 if sampler == "tpe" else 6, "batch": 4, "seed": 0}
    asked |= changes
    sampling = parse(GridSampling, asked, "search.grid")
    return SimpleNamespace(
        space=space,
        sampling=sampling,
        batches=sampling.batches(space_size(space)),
        propose=lambda told: propose(space, sampling, told),
    )


def told_of(point, loss, diverged=None):
    return Tried("", point, loss, diverged)


def loss(point):
    return abs(math.log10(point["lr"]) + 2) + point["weight_decay"] + point["batch_size"] / 64


def searched(own, tell=lambda point: told_of(point, loss(point))):
    """All that was told until the last batch."""
    told = [tell(point) for point in drawn(own.space, own.sampling.drawn(own.sampling.batch))]
    for count in own.batches[1:]:
        told += [tell(point) for point in own.propose(told)[:count]]
    return told


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_proposals_are_a_function_of_what_is_told(sampler):
    """Equal seeds and losses give equal points, another seed others; none is tried twice."""
    pytest.importorskip("optuna", reason="needs pip install 'shoal[optuna]'")
    deterministic(1)
    own = proposer(sampler)
    first = searched(own)

    assert searched(proposer(sampler)) == first
    assert searched(proposer(sampler, seed=1)) != first
    assert len({settings_id(each.point) for each in first}) == len(first) == own.sampling.samples


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_proposed_values_are_those_of_the_space(sampler):
    """Whole numbers between whole ends, four digits between others, a list's own values."""
    pytest.importorskip("optuna", reason="needs pip install 'shoal[optuna]'")
    for each in searched(proposer(sampler)):
        point = each.point
        assert list(point) == list(SPACE)
        assert 1e-4 <= point["lr"] == float(f"{point['lr']:.4g}") <= 0.1
        assert isinstance(point["batch_size"], int)
        assert 4 <= point["batch_size"] <= 64
        assert point["weight_decay"] in SPACE["weight_decay"]


def test_losses_decide_what_is_proposed():
    """The same points with other losses are followed by others."""
    pytest.importorskip("optuna", reason="needs pip install 'shoal[optuna]'")
    told = [told_of(point, loss(point)) for point in drawn(SPACE, proposer().sampling.drawn(8))]
    other = [told_of(each.point, -each.loss) for each in told]

    assert proposer().propose(told) != proposer().propose(other)


def test_a_point_that_diverged_counts_as_the_worst():
    """What is proposed is the same as if it had lost as much as the worst that did not."""
    pytest.importorskip("optuna", reason="needs pip install 'shoal[optuna]'")
    points = drawn(SPACE, proposer().sampling.drawn(4))
    told = [told_of(point, loss(point)) for point in points[:3]]
    worst = max(each.loss for each in told)

    diverged = proposer().propose([*told, told_of(points[3], None, "not finite")])

    assert diverged == proposer().propose([*told, told_of(points[3], worst)])


def test_where_nothing_is_known_the_drawn_points_follow():
    """Without rows to tell, or where all diverged, the search is a Sobol sample."""
    blind = searched(proposer(), lambda point: told_of(point, None, "not finite"))

    assert [each.point for each in blind] == drawn(SPACE, proposer().sampling.drawn(12))


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_a_space_that_is_nearly_used_up_gives_what_is_left(sampler):
    """Of ten points nine are taken in batches of four, each of them once."""
    pytest.importorskip("optuna", reason="needs pip install 'shoal[optuna]'")
    own = proposer(sampler, {"lr": [n / 10 for n in range(1, 11)]}, samples=9)

    told = searched(own, lambda point: told_of(point, point["lr"]))

    assert own.batches == (4, 4, 1)
    assert len({each.point["lr"] for each in told}) == 9
    assert len(own.propose(told[:8])) == 2


def test_a_larger_number_of_points_begins_with_the_same():
    """So one more point in the settings trains one more."""
    pytest.importorskip("optuna", reason="needs pip install 'shoal[optuna]'")

    assert searched(proposer(samples=10)) == searched(proposer())[:10]


def test_a_space_has_as_many_points_as_its_values_make():
    """Ranges of whole numbers are counted, others hold any number; all taken is no search."""
    assert space_size({"a": [1, 2, 3], "b": Range(low=1, high=4)}) == 12
    assert space_size(SPACE) == math.inf
    assert proposer().sampling.batches(12) == ()
    assert proposer().sampling.batches(13) == (4, 4, 4)
