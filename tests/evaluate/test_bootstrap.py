import numpy as np
import pytest

from shoal.evaluate import bootstrap
from shoal.evaluate.bootstrap import paired_bootstrap

RNG = np.random.default_rng(3)
A = (RNG.random(400) < 0.8).astype(float)
B = (RNG.random(400) < 0.7).astype(float)


def test_value_is_the_difference_on_the_rows_themselves():
    """The middle is not a bootstrap mean; RMSE takes the roots before the difference."""
    assert paired_bootstrap(A, B, "accuracy", 50, 0).value == pytest.approx(A.mean() - B.mean())
    errors = paired_bootstrap(np.full(6, 9.0), np.full(6, 4.0), "rmse", 50, 0)
    assert errors == (1.0, 1.0, 1.0)


def test_interval_of_a_mean_is_the_normal_one():
    """For a mean of many rows the percentiles are near the textbook's 1.96 standard errors."""
    value, low, high = paired_bootstrap(A, B, "accuracy", 4000, 1)
    error = (A - B).std() / len(A) ** 0.5

    assert low == pytest.approx(value - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(value + 1.96 * error, abs=0.15 * error)


def test_more_confidence_is_a_wider_interval():
    """The ends of 99 % are the normal's 2.58 standard errors away."""
    value, low, high = paired_bootstrap(A, B, "accuracy", 8000, 1, 0.99)
    error = (A - B).std() / len(A) ** 0.5

    assert low == pytest.approx(value - 2.58 * error, abs=0.2 * error)
    assert high == pytest.approx(value + 2.58 * error, abs=0.2 * error)


def test_interval_of_rmse_is_the_delta_methods():
    """The root's interval is near its first-order approximation, a factor 1 / (2 RMSE)."""
    a, b = RNG.normal(0, 1.0, 500) ** 2, RNG.normal(0, 1.2, 500) ** 2
    value, low, high = paired_bootstrap(a, b, "rmse", 4000, 1)
    influence = a / (2 * a.mean() ** 0.5) - b / (2 * b.mean() ** 0.5)
    error = influence.std() / 500**0.5

    assert value == pytest.approx(a.mean() ** 0.5 - b.mean() ** 0.5)
    assert low == pytest.approx(value - 1.96 * error, abs=0.2 * error)
    assert high == pytest.approx(value + 1.96 * error, abs=0.2 * error)


def test_rows_are_drawn_in_pairs():
    """A constant gain on rows of any difficulty leaves no doubt, as it would if drawn apart."""
    hard = RNG.random(200)

    found = paired_bootstrap(hard + 0.1, hard, "accuracy", 200, 0)

    assert found == pytest.approx((0.1, 0.1, 0.1))


def test_equal_models_have_no_difference():
    """The same predictions give exactly zero, not a small number."""
    assert paired_bootstrap(A, A, "accuracy", 100, 0) == (0.0, 0.0, 0.0)


def test_order_of_rows_has_no_influence():
    """Rows may come from shards in any order."""
    order = RNG.permutation(len(A))

    again = paired_bootstrap(A[order], B[order], "accuracy", 100, 5)

    assert again == paired_bootstrap(A, B, "accuracy", 100, 5)


def test_block_size_has_no_influence(monkeypatch):
    """How many resamples are held at a time is a matter of memory alone."""
    a, b = RNG.random(37), RNG.random(37)
    whole = paired_bootstrap(a, b, "rmse", 101, 5)

    monkeypatch.setattr(bootstrap, "_BLOCK_DRAWS", 37 * 3)

    assert paired_bootstrap(a, b, "rmse", 101, 5) == whole


def test_seed_decides_the_draws():
    """The same seed gives the same interval, another gives another."""
    first = paired_bootstrap(A, B, "accuracy", 100, 5)

    assert paired_bootstrap(A, B, "accuracy", 100, 5) == first
    assert paired_bootstrap(A, B, "accuracy", 100, 6) != first


@pytest.mark.parametrize(("a", "b"), [([], []), ([1.0], [1.0, 0.0]), ([[1.0]], [[1.0]])])
def test_arrays_that_do_not_pair_are_refused(a, b):
    """Without rows, or with different ones, there is nothing to resample."""
    with pytest.raises(ValueError, match="two arrays over the same rows"):
        paired_bootstrap(np.array(a), np.array(b), "accuracy", 10, 0)


def test_units_of_one_row_are_rows():
    """Where each row is its own unit, the interval is that of rows, to the bit."""
    units = RNG.permutation(len(A)).astype(np.uint64)

    assert paired_bootstrap(A, B, "rmse", 100, 5, units=units) == paired_bootstrap(
        A, B, "rmse", 100, 5
    )


def test_copies_of_a_unit_make_no_interval_narrower():
    """Thirty equal rows of a patient are one piece of evidence."""
    a, b = RNG.random((2, 40))
    units = np.repeat(np.arange(40), 30).astype(np.uint64)

    found = paired_bootstrap(np.repeat(a, 30), np.repeat(b, 30), "accuracy", 500, 1, units=units)

    assert found == pytest.approx(paired_bootstrap(a, b, "accuracy", 500, 1))


def test_large_units_count_by_their_rows():
    """The score stays that of rows: a unit of three rows weighs three times one of one row."""
    a, b = np.array([1.0, 1, 1, 0, 0, 0, 0, 0]), np.zeros(8)
    units = np.array([0, 0, 0, 1, 2, 3, 4, 5], np.uint64)

    assert paired_bootstrap(a, b, "accuracy", 50, 0, units=units).value == 3 / 8


@pytest.mark.parametrize("patients", [8, 42])
def test_without_difference_units_are_told_apart_as_rarely_as_asked(patients):
    """Patients have errors of their own: by row most intervals leave out zero, by patient few."""
    unit = np.repeat(np.arange(patients), 30).astype(np.uint64)
    told = {"row": 0, "unit": 0}
    for seed in range(150):
        rng = np.random.default_rng(seed)
        gain = rng.normal(0, 0.5, patients).repeat(30) + rng.normal(0, 0.2, len(unit))
        b = np.full(len(unit), 9.0)
        for name, units in (("row", None), ("unit", unit)):
            found = paired_bootstrap(b + gain, b, "rmse", 300, seed, units=units)
            told[name] += found.sign != 0

    assert told["row"] > 0.5 * 150
    assert told["unit"] < 0.1 * 150


@pytest.mark.parametrize(("patients", "known"), [(1, False), (5, False), (6, True)])
def test_too_few_units_have_no_interval(patients, known):
    """The difference is there, its ends are not; with one unit they would have been equal."""
    units = np.repeat(np.arange(patients), 20).astype(np.uint64)
    a, b = RNG.random((2, len(units)))

    found = paired_bootstrap(a, b, "rmse", 50, 0, units=units)

    assert found.value == pytest.approx(a.mean() ** 0.5 - b.mean() ** 0.5)
    assert (found.low is not None, found.high is not None) == (known, known)


@pytest.mark.parametrize("grouped", [False, True])
def test_units_that_are_alike_are_drawn_together_as_if_one_by_one(monkeypatch, grouped):
    """Few kinds of units give the interval that draws of single units give."""
    rng = np.random.default_rng(0)
    a, b = (rng.random(4000) < share for share in (0.8, 0.75))
    units = np.arange(4000, dtype=np.uint64) // 2 if grouped else None

    def interval() -> list[float]:
        pair = a.astype(float), b.astype(float)
        return paired_bootstrap(*pair, "accuracy", 4000, seed=1, units=units).ends

    together = interval()
    monkeypatch.setattr(bootstrap, "_BINOMIAL_COST", np.inf)
    one_by_one = interval()

    assert together != one_by_one
    assert together == pytest.approx(one_by_one, abs=0.003)


def test_a_score_that_is_no_mean_is_scored_anew_in_each_resample():
    """R² is a function of means too, so its interval is that of resampled sums."""
    rng = np.random.default_rng(5)
    y = rng.normal(size=200)
    a, b = (np.stack([y + rng.normal(0, sd, 200), y], axis=1) for sd in (0.3, 0.6))

    found = paired_bootstrap(a, b, "r2", 400, 1)
    again = paired_bootstrap(a, b, "r2", 400, 1)

    errors = [(values[:, 0] - y) ** 2 for values in (a, b)]
    spread = ((y - y.mean()) ** 2).mean()
    gain = errors[1] - errors[0]
    assert found.value == pytest.approx(gain.mean() / spread)
    assert found == again
    assert 0.7 < (found.high - found.low) / (4 * gain.std() / spread / 200**0.5) < 1.4
    assert paired_bootstrap(a, None, "r2", 50, 1).value == pytest.approx(
        1 - errors[0].mean() / spread
    )


def test_rows_of_a_unit_are_drawn_together_whatever_the_score():
    """Ten copies of a row in a unit say no more than the row."""
    rng = np.random.default_rng(5)
    y = rng.integers(0, 2, size=60)
    values = np.stack([rng.integers(0, 2, size=60), y], axis=1).astype(float)
    unit = np.arange(60, dtype=np.uint64)

    single = paired_bootstrap(values, None, "f1", 100, 1)
    copied = paired_bootstrap(values.repeat(10, axis=0), None, "f1", 100, 1, units=unit.repeat(10))

    assert copied == pytest.approx(single)
