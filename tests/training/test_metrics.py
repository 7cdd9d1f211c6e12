import numpy as np
import pytest
import sklearn.metrics

from shoal.errors import DataError, ModelError
from shoal.formats.scores import scores_of
from shoal.training.metrics import (
    LOWEST_PROBABILITY,
    calibration_error,
    measure,
    partition_scores,
    row_correct,
    row_log_loss,
    row_squared_error,
    row_values,
    score,
    worst_partition,
)

RNG = np.random.default_rng(0)
PROBABILITY = RNG.dirichlet(np.ones(4), size=300)
Y = RNG.integers(0, 4, size=300)


def scored(metric, prediction, y):
    """A score of predictions."""
    return score(metric, row_values(metric, prediction, y))


def test_accuracy_and_log_loss_are_scikit_learns():
    """On ordinary rows the numbers are those of the library everyone knows."""
    assert scored("accuracy", PROBABILITY, Y) == pytest.approx(
        sklearn.metrics.accuracy_score(Y, PROBABILITY.argmax(axis=1))
    )
    assert scored("log_loss", PROBABILITY, Y) == pytest.approx(
        sklearn.metrics.log_loss(Y, PROBABILITY)
    )


def test_rmse_is_scikit_learns():
    """The root is taken after the mean, and a trailing axis of one is no difference."""
    prediction = RNG.normal(size=300)
    expected = sklearn.metrics.root_mean_squared_error(Y, prediction)

    assert scored("rmse", prediction, Y) == pytest.approx(expected)
    assert scored("rmse", prediction[:, None], Y) == scored("rmse", prediction, Y)


def test_a_class_unseen_in_training_is_wrong_and_costs_the_floor():
    """Label -1 matches no class, the last one neither, and its loss is finite."""
    probability = np.array([[0.1, 0.9], [0.9, 0.1]])
    y = np.array([-1, 0])

    assert row_correct(probability, y).tolist() == [0.0, 1.0]
    assert row_log_loss(probability, y) == pytest.approx(
        [-np.log(LOWEST_PROBABILITY), -np.log(0.9)]
    )


def test_a_probability_of_zero_costs_the_floor():
    """One row that a model is wholly wrong about does not make the mean infinite."""
    assert scored("log_loss", np.array([[1.0, 0.0]]), np.array([1])) == pytest.approx(-np.log(1e-7))


def test_calibration_error_of_two_bins_by_hand():
    """Guo et al.'s formula: gaps of accuracy and confidence, weighted by rows."""
    probability = np.array([[0.6, 0.4], [0.6, 0.4], [0.9, 0.1], [0.9, 0.1]])
    y = np.array([0, 1, 0, 0])

    # bin (0.5, 0.75]: |1/2 - 0.6|; bin (0.75, 1]: |1 - 0.9|; half of the rows each
    assert calibration_error(probability, y, bins=4) == pytest.approx(0.5 * 0.1 + 0.5 * 0.1)


def test_calibration_error_lets_gaps_cancel_only_within_a_bin():
    """With one bin an over- and an under-confident group cancel; with two they do not."""
    probability = np.array([[0.6, 0.4], [0.9, 0.1]])
    y = np.array([0, 1])

    assert calibration_error(probability, y, bins=1) == pytest.approx(abs(0.5 - 0.75))
    assert calibration_error(probability, y, bins=4) == pytest.approx((0.4 + 0.9) / 2)


def test_calibration_bins_are_open_below_and_closed_above():
    """A confidence on an edge belongs to the lower bin, as in the paper; 0 and 1 have bins."""
    probability = np.array([[0.5, 0.5], [0.6, 0.4], [1.0, 0.0]])
    y = np.array([0, 1, 0])

    # With bins (0, 0.5] and (0.5, 1], 0.5 stands alone: |1 - 0.5|; the other two: |1 - 1.6|.
    assert calibration_error(probability, y, bins=2) == pytest.approx((0.5 + 0.6) / 3)


@pytest.mark.parametrize("bins", [5, 15])
def test_calibration_error_is_the_sum_over_bins(bins):
    """The one-line form agrees with the formula written out."""
    confidence = PROBABILITY.max(axis=1)
    correct = PROBABILITY.argmax(axis=1) == Y
    total = 0.0
    for m in range(1, bins + 1):
        inside = (confidence > (m - 1) / bins) & (confidence <= m / bins)
        if inside.any():
            total += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())

    assert calibration_error(PROBABILITY, Y, bins) == pytest.approx(total)


def test_score_of_no_rows_is_refused():
    """There is no accuracy of nothing."""
    with pytest.raises(ValueError, match="at least one row"):
        score("accuracy", np.array([]))
    with pytest.raises(ValueError, match="at least one row"):
        scored("log_loss", np.empty((0, 2)), np.empty(0, dtype=np.int64))


def test_worst_partition_is_lowest_accuracy_and_highest_rmse():
    """Which end is worst depends on the metric."""
    partition = np.repeat([4, 7], 20)
    per_row = np.repeat([0.0, 1.0], 20)

    counts = {"rows": 20, "units": 20}
    lowest, highest = {"partition": 4, "score": 0.0}, {"partition": 7, "score": 1.0}
    assert worst_partition("accuracy", per_row, partition) == lowest | counts
    assert worst_partition("rmse", per_row, partition) == highest | counts


def test_worst_partition_leaves_out_small_ones_and_rows_of_none():
    """Nineteen rows are too few to be called the worst, and -1 is no partition."""
    partition = np.repeat([0, 1, -1], [19, 20, 30])
    per_row = np.repeat([0.0, 1.0, 0.0], [19, 20, 30])

    worst = worst_partition("accuracy", per_row, partition)

    assert worst == {"partition": 1, "score": 1.0, "rows": 20, "units": 20}
    assert worst_partition("accuracy", per_row[:19], partition[:19]) is None


def test_partition_scores_are_over_each_partitions_rows():
    """The root is taken within a partition."""
    found = partition_scores("rmse", np.array([4.0, 1.0, 9.0, 16.0]), np.array([1, 0, 1, 3]))

    assert found == {0: 1.0, 1: pytest.approx(6.5**0.5), 3: 4.0}


def test_measure_of_numbers_has_neither_log_loss_nor_calibration():
    """What regression does not define is None, so that JSON says null."""
    y = np.arange(20.0)
    numbers, errors = measure("rmse", y + 2, y, np.zeros(20, dtype=int), bins=10)

    assert errors.tolist() == [4.0] * 20
    assert numbers == {
        "score": 2.0,
        "scores": {"rmse": 2.0, "mae": 2.0, "r2": pytest.approx(1 - 4 / 33.25)},
        "log_loss": None,
        "calibration_error": None,
        "worst_partition": {"partition": 0, "score": 2.0, "rows": 20, "units": 20},
    }


def test_measure_of_classes_has_all_numbers():
    """The parts are those of the single functions."""
    numbers, correct = measure("accuracy", PROBABILITY, Y, Y, bins=15)

    assert correct.mean() == numbers["score"] == scored("accuracy", PROBABILITY, Y)
    assert (
        numbers["log_loss"] == numbers["scores"]["log_loss"] == scored("log_loss", PROBABILITY, Y)
    )
    assert list(numbers["scores"]) == scores_of("classification")
    assert numbers["calibration_error"] == calibration_error(PROBABILITY, Y, 15)


def test_a_prediction_that_is_not_finite_names_its_row():
    """A model that answers NaN is a mistake of the user's model, told in one line."""
    with pytest.raises(ModelError, match=r"row 2 of 3 is nan"):
        row_squared_error(np.array([0.0, np.nan, 1.0]), np.zeros(3))
    with pytest.raises(ModelError, match="row 1 of 1"):
        row_correct(np.array([[np.inf, 0.0]]), np.array([0]))


@pytest.mark.parametrize("y", [[2], [-2]])
def test_a_label_out_of_range_is_refused(y):
    """A code that no class has is a mistake of the caller."""
    with pytest.raises(ValueError, match="labels reach from"):
        row_correct(np.array([[0.5, 0.5]]), np.array(y))


def test_shapes_that_disagree_are_refused():
    """Nothing is broadcast silently."""
    with pytest.raises(ValueError, match="do not match labels"):
        row_squared_error(np.zeros((3, 3)), np.zeros(3))
    with pytest.raises(ValueError, match="do not match labels"):
        row_correct(np.zeros((3, 2)), np.zeros(2, dtype=int))
    with pytest.raises(ValueError, match="do not match partitions"):
        partition_scores("rmse", np.zeros(3), np.zeros(2, dtype=int))


def test_scores_of_classes_are_means_over_classes_as_scikit_learns():
    """Each class counts alike, however many rows it has; AUROC is one class against the others."""
    said, one_hot = PROBABILITY.argmax(axis=1), np.eye(4)[Y]
    known = sklearn.metrics
    expected = {
        "balanced_accuracy": known.balanced_accuracy_score(Y, said),
        "f1": known.f1_score(Y, said, average="macro"),
        "auroc": known.roc_auc_score(Y, PROBABILITY, multi_class="ovr", average="macro"),
        "average_precision": known.average_precision_score(one_hot, PROBABILITY, average="macro"),
    }

    for metric, value in expected.items():
        assert score(metric, row_values(metric, PROBABILITY, Y)) == pytest.approx(value), metric


def test_a_row_that_counts_twice_is_as_two_rows():
    """So resamples need not copy rows, whatever the score."""
    times = RNG.integers(0, 3, size=300)
    copies = np.repeat(np.arange(300), times)
    numbers = RNG.normal(size=300)

    for metric in ("balanced_accuracy", "f1", "auroc", "average_precision", "log_loss"):
        values = row_values(metric, PROBABILITY, Y)
        assert score(metric, values, times) == pytest.approx(score(metric, values[copies]))
    values = row_values("r2", numbers, Y.astype(float))
    assert score("r2", values, times) == pytest.approx(score("r2", values[copies]))


def test_a_score_that_rows_do_not_define_is_left_out_or_refused():
    """AUROC of one class: None beside others, no worst partition; where it decides, an error."""
    one = np.zeros(300, dtype=int)

    numbers, _ = measure("accuracy", PROBABILITY, one, one, bins=10)

    assert numbers["scores"]["auroc"] is None
    assert numbers["scores"]["accuracy"] == scored("accuracy", PROBABILITY, one)
    assert partition_scores("auroc", row_values("auroc", PROBABILITY, one), one) == {}
    with pytest.raises(
        DataError, match=r"evaluate\.metric: 'auroc' is not defined on the test fold"
    ):
        measure("auroc", PROBABILITY, one, one, bins=10)
