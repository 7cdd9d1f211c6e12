"""The paired tests by which specialists beat the generalist."""

import numpy as np
import pytest
from scipy.stats import t

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
    assert sum(each.estimate / each.error > 1.65 for each in found) < 20
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
    assert one.serves == (difference.mean() / error > t.ppf(0.95, 49))


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


def patients(seed, specialists=1, gain=0.0, count=42, rows=30):
    """Differences with an effect of each patient's own, who leads them, and whose they are."""
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(count), rows)
    lead = rng.integers(0, specialists, len(patient)).astype(np.int32)
    own = rng.normal(gain, 1.0, count)[patient]
    return own + rng.normal(0, 0.5, len(patient)), lead, patient.astype(np.uint64)


def test_units_of_one_row_change_nothing():
    """Where each row is its own unit, estimates and errors are those of the rows."""
    difference, lead = drawn([0.1, 0.0, 0.3, 0.2], 40)
    units = np.random.default_rng(1).permutation(len(lead)).astype(np.uint64)

    plain, own = compare(difference, lead, 0.95), compare(difference, lead, 0.95, units)

    for one, other in zip(plain, own, strict=True):
        assert (one.estimate, one.error) == pytest.approx((other.estimate, other.error))
        assert (one.rows, one.units, one.serves) == (other.rows, other.units, other.serves)


def test_many_rows_of_few_patients_do_not_open_the_gate():
    """1,260 rows of 42 patients look like a gain; the patients do not show it."""
    difference, lead, patient = patients(seed=6)
    assert serving(difference, lead) == [0]

    (one,) = compare(difference, lead, 0.95, patient)

    means = difference.reshape(42, 30).mean(axis=1)
    assert (one.rows, one.units, one.serves) == (1260, 42, False)
    assert one.error == pytest.approx(means.std(ddof=1) / 42**0.5)


@pytest.mark.parametrize("specialists", [1, 8])
def test_without_gain_units_are_let_through_as_rarely_as_asked(specialists):
    """Patients differ and specialists share them: by row a third pass, by patient one in twenty."""
    found = [patients(seed, specialists) for seed in range(200)]
    by_row = np.mean([len(serving(*each[:2])) for each in found]) / specialists
    by_unit = np.mean(
        [sum(one.serves for one in compare(*each[:2], 0.95, each[2])) for each in found]
    )

    assert by_row > 0.3
    assert by_unit / specialists < 0.1


def test_a_gain_that_patients_share_opens_the_gate():
    """The test by unit is no refusal."""
    difference, lead, patient = patients(seed=0, specialists=4, gain=1.0)

    assert all(one.serves for one in compare(difference, lead, 0.95, patient))


def test_too_few_units_let_no_specialist_through():
    """Four patients who all agree are too few at 0.95, the fifth makes enough."""
    rng = np.random.default_rng(0)
    unit = np.repeat(np.arange(5), 30).astype(np.uint64)
    difference, lead = 1 + rng.normal(0, 0.1, 150), np.zeros(150, np.int32)

    four = compare(difference[:120], lead[:120], 0.95, unit[:120])

    assert [one.serves for one in four] == [False]
    assert [one.serves for one in compare(difference, lead, 0.95, unit)] == [True]


def test_one_row_each_says_nothing_of_chance():
    """Where no specialist leads two rows, there is no error, and none serves."""
    found = compare(np.array([1.0, -1.0, 1.0]), np.array([0, 1, 2], dtype=np.int32), 0.95)

    assert [(each.error, each.serves) for each in found] == [(None, False)] * 3
