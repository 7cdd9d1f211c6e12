import numpy as np
import pytest

from shoal.errors import SourceError
from shoal.formats.kinds import OUTSIDE, TEST, TRAIN, VALIDATION
from shoal.split.folds import Basis, fit_table, fit_time, folds_of

FRACTIONS = {"train": 0.6, "validation": 0.2, "test": 0.2}


def some_keys(rows, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (rows, 16), dtype=np.uint8)


def basis(keys, **kwargs):
    return Basis(keys, "a.csv", 11, **kwargs)


def objects(*values):
    return np.array(values, dtype=object)


def counts(folds):
    return np.bincount(folds, minlength=3).tolist()


def test_hash_gives_each_fold_its_share(split_settings):
    """Shares of many rows are the fractions, within what chance allows."""
    shares = np.bincount(folds_of(split_settings(), {}, basis(some_keys(4000)))) / 4000

    assert shares == pytest.approx([0.6, 0.2, 0.2], abs=0.03)


@pytest.mark.parametrize(
    "method", ["hash", "random", "stratified", "group", "k_fold", "similarity"]
)
def test_a_fold_is_a_function_of_the_row(split_settings, method):
    """More rows, another order and other batches move no row."""
    keys, split = some_keys(40), split_settings(method)
    groups = objects(*(f"g{number % 9}" for number in range(40)))
    state = fit_table(keys[:30], None, FRACTIONS, 0)
    whole = folds_of(split, state, basis(keys, groups=groups))

    backwards = folds_of(split, state, basis(keys[::-1], groups=groups[::-1]))
    part = folds_of(split, state, basis(keys[:7], groups=groups[:7]))

    assert backwards.tolist() == whole[::-1].tolist()
    assert part.tolist() == whole[:7].tolist()


@pytest.mark.parametrize("method", ["hash", "k_fold"])
def test_the_seed_matters(split_settings, method):
    """Another seed is another split."""
    rows = basis(some_keys(50))

    one, other = (folds_of(split_settings(method, seed=seed), {}, rows) for seed in (0, 1))

    assert one.tolist() != other.tolist()


@pytest.mark.parametrize("folds", [3, 5, 8])
def test_the_test_folds_of_a_k_fold_partition_the_rows(split_settings, folds):
    """Every row is tested exactly once, and validates exactly once, over all folds."""
    keys = some_keys(600)

    runs = np.stack(
        [
            folds_of(split_settings("k_fold", folds=folds, fold=fold), {}, basis(keys))
            for fold in range(folds)
        ]
    )

    assert (runs == TEST).sum(axis=0).tolist() == [1] * 600
    assert (runs == VALIDATION).sum(axis=0).tolist() == [1] * 600
    assert (runs == TRAIN).sum(axis=0).tolist() == [folds - 2] * 600
    share = (runs == TEST).mean(axis=1)
    assert share == pytest.approx([1 / folds] * folds, abs=0.06)


def test_validation_is_the_fold_after_the_test_fold(split_settings):
    """What validates for one fold is tested by the next; after the last comes the first."""
    keys = some_keys(60)
    runs = [
        folds_of(split_settings("k_fold", folds=3, fold=fold), {}, basis(keys)) for fold in range(3)
    ]

    for fold in range(3):
        assert ((runs[fold] == VALIDATION) == (runs[(fold + 1) % 3] == TEST)).all()


def test_a_group_stays_together(split_settings):
    """Rows of a group share a fold whatever their keys are, and groups use all folds."""
    groups = objects(*(f"g{number % 50}" for number in range(200)))

    folds = folds_of(split_settings("group"), {}, basis(some_keys(200), groups=groups))

    assert all(len(set(folds[groups == name])) == 1 for name in set(groups.tolist()))
    assert set(folds.tolist()) == {TRAIN, VALIDATION, TEST}


def test_a_row_without_group_falls_by_its_key(split_settings):
    """Rows that lack a group are not one group."""
    keys = some_keys(30)
    groups = np.full(30, None, dtype=object)

    folds = folds_of(split_settings("group"), {}, basis(keys, groups=groups))

    assert folds.tolist() == folds_of(split_settings(), {}, basis(keys)).tolist()


def test_time_trains_on_the_earliest(split_settings):
    """Folds follow in time with their shares, and later rows are test."""
    times = np.array([5, 1, 4, 2, 3, 9, 6, 8, 7, 10], dtype=float)
    state = fit_time(times, FRACTIONS)

    folds = folds_of(split_settings("time"), state, basis(some_keys(10), times=times))

    assert folds[np.argsort(times)].tolist() == [0, 0, 0, 0, 0, 0, 1, 1, 2, 2]
    later = basis(some_keys(1), times=np.array([99.0]))
    assert folds_of(split_settings("time"), state, later).tolist() == [TEST]


def test_equal_times_share_a_fold(split_settings):
    """Rows of the time at a border go together to the later fold."""
    times = np.array([1, 1, 2, 2, 2, 2, 2, 3, 3, 4], dtype=float)
    state = fit_time(times, FRACTIONS)

    folds = folds_of(split_settings("time"), state, basis(some_keys(10), times=times))

    assert folds.tolist() == [0, 0, 1, 1, 1, 1, 1, 2, 2, 2]


def test_a_row_without_time_is_named(split_settings):
    """A split by time has no place for a row without one."""
    rows = basis(some_keys(2), times=np.array([1.0, np.nan]))

    with pytest.raises(SourceError, match=r"a\.csv: row 12 has no time"):
        folds_of(split_settings("time"), {"bounds": np.zeros(2)}, rows)


@pytest.fixture
def by_column(split_settings):
    """A split by the column `part`."""
    values = {"tr": "train", "va": "validation", "te": "test"}
    return split_settings("column", column="part", values=values, outside=["oos"])


def test_a_column_may_name_the_fold(by_column):
    """Values map to folds, and those outside are kept out of all."""
    rows = basis(some_keys(4), named=objects("te", "tr", "oos", "va"))

    assert folds_of(by_column, {}, rows).tolist() == [TEST, TRAIN, OUTSIDE, VALIDATION]


def test_an_unknown_fold_is_named_with_the_nearest(by_column):
    """A value without a fold is an error with its place and the likeliest meant."""
    problem = r"a\.csv: row 12, column 'part': 'tess' is neither .*did you mean 'te'"

    with pytest.raises(SourceError, match=problem):
        folds_of(by_column, {}, basis(some_keys(2), named=objects("te", "tess")))
    with pytest.raises(SourceError, match=r"row 11, column 'part': .* is missing"):
        folds_of(by_column, {}, basis(some_keys(2), named=objects(None, "te")))


def table_folds(state, keys, split):
    return folds_of(split, state, basis(keys))


def test_random_counts_are_exact(split_settings):
    """A fitted random split has the counts of its fractions to the row."""
    keys = some_keys(50)

    folds = table_folds(fit_table(keys, None, FRACTIONS, 0), keys, split_settings("random"))

    assert counts(folds) == [30, 10, 10]


def test_a_fitted_table_is_independent_of_order():
    """Rows in another order, as from other shards, fit the same table."""
    keys = np.repeat(some_keys(15), 2, axis=0)
    labels = objects(*("ab"[number % 2] for number in range(30)))

    one = fit_table(keys, labels, FRACTIONS, 0)
    other = fit_table(keys[::-1], labels[::-1], FRACTIONS, 0)

    assert one["keys"].tobytes() == other["keys"].tobytes()
    assert one["folds"].tobytes() == other["folds"].tobytes()


def test_keys_that_end_in_zero_bytes_are_found(split_settings):
    """A key is all of its bytes, trailing zeros included."""
    keys = np.zeros((40, 16), dtype=np.uint8)
    keys[:, 0] = np.arange(40)
    state = fit_table(keys, None, FRACTIONS, 0)

    assert state["keys"].tolist() == keys.tolist()
    assert counts(table_folds(state, keys, split_settings("random"))) == [24, 8, 8]


def test_stratified_counts_are_exact_in_each_class(split_settings):
    """Each class is split by the fractions, and so are all rows together."""
    keys = some_keys(60)
    labels = objects(*(["a"] * 10 + ["b"] * 20 + ["c"] * 30))

    state = fit_table(keys, labels, FRACTIONS, 0)
    folds = table_folds(state, keys, split_settings("stratified"))

    for name, expected in (("a", [6, 2, 2]), ("b", [12, 4, 4]), ("c", [18, 6, 6])):
        assert counts(folds[labels == name]) == expected


def test_small_classes_round_to_the_right_sum(split_settings):
    """Rounding is carried on: many small classes still give validation and test their shares."""
    keys = some_keys(280)
    labels = objects(*(f"c{number % 40:02d}" for number in range(280)))

    state = fit_table(keys, labels, FRACTIONS, 0)
    folds = table_folds(state, keys, split_settings("stratified"))

    assert counts(folds) == [168, 56, 56]
    assert all(1 <= (folds[labels == name] == TEST).sum() <= 2 for name in set(labels.tolist()))


def test_a_class_of_one_row_is_for_training(split_settings):
    """No class is unknown to training."""
    keys = some_keys(20)
    labels = objects(*(f"c{number:02d}" for number in range(20)))

    state = fit_table(keys, labels, FRACTIONS, 0)

    assert counts(table_folds(state, keys, split_settings("stratified"))) == [20, 0, 0]


def test_numbers_are_stratified_by_tenths(split_settings):
    """In regression each tenth of the labels is split by the fractions."""
    keys = some_keys(100)
    labels = np.random.default_rng(1).permutation(100).astype(float)

    state = fit_table(keys, labels, FRACTIONS, 0)
    folds = table_folds(state, keys, split_settings("stratified"))

    for low in range(0, 100, 10):
        assert counts(folds[(labels >= low) & (labels < low + 10)]) == [6, 2, 2]


def test_equal_keys_share_a_fold(split_settings):
    """Copies of a row, even of two labels, are never on both sides of a border."""
    keys = np.repeat(some_keys(30), 3, axis=0)
    labels = objects(*("ab"[number % 2] for number in range(90)))

    state = fit_table(keys, labels, FRACTIONS, 0)
    folds = table_folds(state, keys, split_settings("stratified")).reshape(30, 3)

    assert (folds == folds[:, :1]).all()
    assert len(state["keys"]) == 30
    assert counts(folds.ravel())[0] == pytest.approx(54, abs=3)


def test_unknown_keys_fall_by_hash(split_settings):
    """Rows that come after the fit fall as in a split by hash."""
    state = fit_table(some_keys(10), None, FRACTIONS, 0)
    new = some_keys(30, seed=5)

    folds = table_folds(state, new, split_settings("random"))

    assert folds.tolist() == folds_of(split_settings(), {}, basis(new)).tolist()
