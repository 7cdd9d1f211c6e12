"""The paired tests by which specialists beat the generalist."""

import numpy as np
import pytest
from scipy.stats import norm

from shoal.gate.paired import compare


def drawn(means, rows, seed=0, spread=0.5):
    """Differences of ``rows`` rows around each specialist's mean, and who leads them."""
    rng = np.random.default_rng(seed)
    lead = np.repeat(np.arange(len(means)), rows).astype(np.int32)
    return np.asarray(means)[lead] + rng.normal(0, spread, len(lead)), lead


def serving(difference, lead, confidence=0.95):
    return [each.expert for each in compare(difference, lead, confidence) if each.serves]


def test_only_specialists_that_are_better_serve():
    """Of a better, an equal and a worse specialist, on many rows, the better one serves."""
    assert serving(*drawn([0.2, 0.0, -0.2], 2000)) == [0]


def test_few_rows_borrow_strength_from_the_others():
    """What 20 rows do not show by themselves they show where eight specialists agree."""
    difference, lead = drawn([0.15] * 8, 20)
    alone = [serving(difference[lead == number], lead[lead == number]) for number in range(8)]
    assert sum(map(len, alone)) < 5
    assert serving(difference, lead) == list(range(8))


def test_a_pool_that_is_better_leaves_out_only_those_that_look_worse():
    """Of 32 with a dozen rows each, few pass alone; once all together do, an estimate decides."""
    difference, lead = drawn([0.25] * 28 + [-0.6] * 4, 12)
    found = compare(difference, lead, 0.95)
    assert sum(each.estimate / each.error > norm.ppf(0.95) for each in found) < 20
    assert [each.expert for each in found if each.serves] == [
        each.expert for each in found if each.estimate > 0
    ]
    assert not {28, 29, 30, 31} & {each.expert for each in found if each.serves}


def test_a_pool_without_gain_is_let_through_as_rarely_as_asked():
    """Where no specialist is better, at most about five in a hundred are said to be."""
    passed = [len(serving(*drawn([0.0] * 8, 60, seed))) for seed in range(200)]
    assert np.mean(passed) / 8 < 0.07


def test_one_specialist_alone_is_an_ordinary_paired_test():
    """Its estimate is the mean, its error that of the mean."""
    difference, lead = drawn([0.1], 50)
    (one,) = compare(difference, lead, 0.95)
    error = difference.std(ddof=1) / np.sqrt(50)
    assert (one.rows, one.difference, one.estimate) == (50, difference.mean(), difference.mean())
    assert one.error == pytest.approx(error)
    assert one.serves == (difference.mean() / error > norm.ppf(0.95))


@pytest.mark.parametrize("difference", [[], [1.0], [0.0, 0.0, 0.0]])
def test_what_cannot_be_told_does_not_serve(difference):
    """No row, a single row, or rows without any difference let no specialist through."""
    lead = np.zeros(len(difference), dtype=np.int32)
    assert serving(np.array(difference), lead) == []


def test_the_order_of_rows_does_not_matter():
    """Shuffled rows give the same verdicts."""
    difference, lead = drawn([0.1, 0.0, 0.3], 40)
    order = np.random.default_rng(1).permutation(len(lead))
    assert serving(difference, lead) == serving(difference[order], lead[order])
