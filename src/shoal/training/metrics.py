"""Scores of predictions on rows, of classes, numbers and a model's own loss; calibration."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from shoal.errors import DataError, ModelError
from shoal.formats.scores import SCORES, scores_of
from shoal.formats.units import least_units, numbered

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from shoal.formats.kinds import Metric

    Array = NDArray[Any]
    Floats = NDArray[np.float64]

LOWEST_PROBABILITY = 1e-7
"""Floor of a probability in the log-loss, and the probability of a class unseen in training."""
UNSEEN = -1
"""Label code of a class that the training fold did not hold."""
WORST_ROWS = 20
"""Fewest test rows that a partition needs to be called the worst."""
WORST_UNITS = least_units(0.025)
"""Fewest units that these rows must be of."""


class WorstPartition(TypedDict):
    """A partition, its score, and how many rows and units that is of."""

    partition: int
    score: float
    rows: int
    units: int


class ContenderScores(TypedDict):
    """Numbers about a contender: the score that decides, all of the task's, and more of classes."""

    score: float
    scores: dict[str, float | None]
    log_loss: float | None
    calibration_error: float | None
    worst_partition: WorstPartition | None


def row_correct(probability: Array, y: Array) -> Floats:
    """1.0 where the likeliest class is the label, else 0.0.

    Args:
        probability: ``(rows, classes)``; ties go to the lowest class.
        y: Class codes, integers ``(rows,)`` in ``[-1, classes)``. :data:`UNSEEN` is always wrong.

    Returns:
        float64 ``(rows,)``.

    Raises:
        ValueError: The shapes disagree, or a code is out of range.
        ModelError: A probability is not finite.
    """
    _check_classes(probability, y)
    return np.asarray(probability.argmax(axis=1) == y, dtype=np.float64)


def row_log_loss(probability: Array, y: Array) -> Floats:
    """Negative natural logarithm of the label's probability, in nats.

    Probabilities below :data:`LOWEST_PROBABILITY` count as that, so that one row's loss is at
    most 16.1; a class unseen in training has that probability.

    Args and errors are those of :func:`row_correct`.
    """
    _check_classes(probability, y)
    given = probability[np.arange(len(y)), y].astype(np.float64)
    given[y == UNSEEN] = 0.0
    return -np.log(np.clip(given, LOWEST_PROBABILITY, 1.0))


def row_squared_error(prediction: Array, y: Array) -> Floats:
    """Squared difference of prediction and label, in the label's units squared.

    Args:
        prediction: ``(rows,)`` or ``(rows, 1)``.
        y: Labels ``(rows,)``.

    Returns:
        float64 ``(rows,)``.

    Raises:
        ValueError: The shapes disagree.
        ModelError: A prediction is not finite.
    """
    if prediction.shape not in ((len(y),), (len(y), 1)) or y.ndim != 1:
        raise ValueError(f"predictions {prediction.shape} do not match labels {y.shape}")
    _check_finite(prediction)
    flat = prediction.reshape(-1).astype(np.float64)
    return np.asarray((flat - y.astype(np.float64)) ** 2)


def row_loss(losses: Array) -> Floats:
    """Losses that a model says itself, float64 ``(rows,)``.

    Raises:
        ModelError: One is not finite.
    """
    _check_finite(losses)
    return np.asarray(losses, dtype=np.float64)


def row_absolute_error(prediction: Array, y: Array) -> Floats:
    """Absolute difference of prediction and label, in the label's unit.

    Args and errors are those of :func:`row_squared_error`.
    """
    return np.sqrt(row_squared_error(prediction, y))


def row_values(metric: Metric, prediction: Array, y: Array) -> Floats:
    """Values of rows that a score is a function of.

    Args:
        metric: The score.
        prediction: Probabilities ``(rows, classes)``, or numbers or losses ``(rows,)``.
        y: Labels ``(rows,)``.

    Returns:
        float64: values ``(rows,)`` of which the score is the mean, or of ``rmse`` its root; of
        other scores predictions with the label behind them, ``(rows, …)``.
    """
    if metric in _MEANS:
        return _MEANS[metric](prediction, y)
    if metric == "r2":
        _check_finite(prediction)
    else:
        _check_classes(prediction, y)
    said = prediction
    if metric in ("balanced_accuracy", "f1"):
        said = prediction.argmax(axis=1)
    return np.column_stack([said, y]).astype(np.float64)


def score(metric: Metric, per_row: Array, weights: Array | None = None) -> float:
    """A score from its values by row.

    Args:
        metric: The score; of several classes the mean of the classes' own.
        per_row: As :func:`row_values` gives them.
        weights: How often each row counts ``(rows,)``; once by default.

    Returns:
        NaN where the rows do not define it, as AUROC of rows of one class.

    Raises:
        ValueError: There are no rows.
    """
    if len(per_row) == 0:
        raise ValueError("a score needs at least one row")
    if metric in _MEANS:
        mean = float(np.average(per_row.astype(np.float64), weights=weights))
        return mean**0.5 if metric == "rmse" else mean
    if weights is not None:
        per_row, weights = per_row[weights > 0], weights[weights > 0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes that some rows lack
        return float(_WHOLE[metric](per_row[:, :-1], per_row[:, -1], weights))


def is_mean(metric: Metric) -> bool:
    """Whether a score is a mean of values by row, or a function of it."""
    return metric in _MEANS


def _balanced_accuracy(said: Array, y: Array, weights: Array | None) -> float:
    from sklearn.metrics import balanced_accuracy_score

    return float(balanced_accuracy_score(y, said[:, 0], sample_weight=weights))


def _f1(said: Array, y: Array, weights: Array | None) -> float:
    from sklearn.metrics import f1_score

    labels = np.unique(y)
    return float(f1_score(y, said[:, 0], labels=labels, average="macro", sample_weight=weights))


def _auroc(said: Array, y: Array, weights: Array | None) -> float:
    from sklearn.metrics import roc_auc_score

    return _by_class(roc_auc_score, said, y, weights)


def _average_precision(said: Array, y: Array, weights: Array | None) -> float:
    from sklearn.metrics import average_precision_score

    return _by_class(average_precision_score, said, y, weights)


def _by_class(
    function: Callable[..., float], said: Array, y: Array, weights: Array | None
) -> float:
    """Mean over the classes of rows, each against all others; NaN where there is one class."""
    own = [place for place in np.unique(y).astype(np.int64).tolist() if place != UNSEEN]
    if len(np.unique(y)) < 2:
        return np.nan
    found = [function(y == place, said[:, place], sample_weight=weights) for place in own]
    return float(np.mean(found))


def _r2(said: Array, y: Array, weights: Array | None) -> float:
    from sklearn.metrics import r2_score

    return float(r2_score(y, said[:, 0], sample_weight=weights)) if np.ptp(y) else np.nan


def calibration_error(probability: Array, y: Array, bins: int) -> float:
    """Expected calibration error: distance of confidence from accuracy, weighted by rows.

    Args:
        probability: ``(rows, classes)``; a row's confidence is its largest.
        y: Class codes ``(rows,)``, -1 where the class is unseen in training.
        bins: Bins of equal width; bin m holds confidences in ``((m - 1) / bins, m / bins]``.

    Returns:
        A number in [0, 1]; 0 is calibrated.

    Source:
        Guo et al. 2017, equation 3.
    """
    correct = row_correct(probability, y)
    confidence = probability.max(axis=1).astype(np.float64)
    edges = np.linspace(0, 1, bins + 1)
    binned = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    # |sum of confidences - sum of hits| of a bin is its rows times its gap.
    gaps = np.bincount(binned, weights=confidence - correct, minlength=bins)
    return float(np.abs(gaps).sum() / len(y))


def partition_scores(metric: Metric, per_row: Array, partition: Array) -> dict[int, float]:
    """Score of each partition's rows, for partitions whose rows define it, ascending."""
    if per_row.shape[:1] != partition.shape:
        raise ValueError(f"values {per_row.shape} do not match partitions {partition.shape}")
    scores = {int(p): score(metric, per_row[partition == p]) for p in np.unique(partition)}
    return {number: value for number, value in scores.items() if not math.isnan(value)}


def worst_partition(
    metric: Metric, per_row: Array, partition: Array, units: Array | None = None
) -> WorstPartition | None:
    """The partition with the worst score among those with rows enough to say so.

    That is :data:`WORST_ROWS` rows, and :data:`WORST_UNITS` units.

    Args:
        metric: Where higher is better the lowest is worst, else the highest.
        per_row: As :func:`score` takes them.
        partition: Partition of each row, integers ``(rows,)``; rows of none have a negative one
            and are left out.
        units: Unit of each row ``(rows,)``; None where each is its own.

    Returns:
        The lowest partition where scores tie; None where none has enough rows and units.
    """
    held = partition_units(partition, units)
    numbers, counts = np.unique(partition, return_counts=True)
    scores = partition_scores(metric, per_row, partition)
    rows = {
        number: count
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True)
        if number in scores and number >= 0 and count >= WORST_ROWS and held[number] >= WORST_UNITS
    }
    if not rows:
        return None
    sign = SCORES[metric].sign
    worst = min(rows, key=lambda p: (sign * scores[p], p))
    return WorstPartition(partition=worst, score=scores[worst], rows=rows[worst], units=held[worst])


def partition_units(partition: Array, units: Array | None) -> dict[int, int]:
    """Units of each partition's rows, ascending by partition; see :mod:`shoal.formats.units`."""
    unit = numbered(units, len(partition))[0]
    pairs = np.unique(np.stack([partition.astype(np.int64), unit]), axis=1)
    numbers, counts = np.unique(pairs[0], return_counts=True)
    return dict(zip(numbers.tolist(), counts.tolist(), strict=True))


def measure(
    metric: Metric,
    prediction: Array,
    y: Array,
    partition: Array,
    bins: int,
    units: Array | None = None,
) -> tuple[ContenderScores, Floats]:
    """All numbers about one contender's predictions.

    Args:
        metric: The score that decides, one of the task's.
        prediction: Probabilities ``(rows, classes)``, or numbers or losses ``(rows,)``.
        y: Labels ``(rows,)``.
        partition: Partition of each row ``(rows,)``.
        bins: Bins of the calibration error.
        units: Unit of each row ``(rows,)``; None where each is its own.

    Returns:
        The numbers, and the values by row of the metric for the bootstrap.

    Raises:
        DataError: The rows do not define the metric.
    """
    per_row = row_values(metric, prediction, y)
    task = SCORES[metric].task
    scores = {name: score(name, row_values(name, prediction, y)) for name in scores_of(task)}
    if math.isnan(scores[metric]):
        raise DataError(
            f"evaluate.metric: {metric!r} is not defined on the test fold, whose labels are all "
            f"the same; choose another, or another split"
        )
    numbers = ContenderScores(
        score=scores[metric],
        scores={name: None if math.isnan(value) else value for name, value in scores.items()},
        log_loss=scores.get("log_loss"),
        calibration_error=calibration_error(prediction, y, bins)
        if task == "classification"
        else None,
        worst_partition=worst_partition(metric, per_row, partition, units),
    )
    return numbers, per_row


_MEANS: dict[Metric, Callable[[Array, Array], Floats]] = {
    "accuracy": row_correct,
    "log_loss": row_log_loss,
    "rmse": row_squared_error,
    "mae": row_absolute_error,
    "loss": lambda losses, _: row_loss(losses),
}
_WHOLE: dict[Metric, Callable[[Array, Array, Array | None], float]] = {
    "balanced_accuracy": _balanced_accuracy,
    "f1": _f1,
    "auroc": _auroc,
    "average_precision": _average_precision,
    "r2": _r2,
}


def _check_classes(probability: Array, y: Array) -> None:
    if probability.ndim != 2 or y.shape != (len(probability),):
        raise ValueError(f"probabilities {probability.shape} do not match labels {y.shape}")
    if len(y) == 0:
        raise ValueError("a score needs at least one row")
    if y.min() < UNSEEN or y.max() >= probability.shape[1]:
        raise ValueError(f"labels reach from {y.min()} to {y.max()}, not -1 to classes - 1")
    _check_finite(probability)


def _check_finite(prediction: Array) -> None:
    wrong = ~np.isfinite(prediction.reshape(len(prediction), -1)).all(axis=1)
    if wrong.any():
        row = int(wrong.argmax())
        raise ModelError(
            f"the prediction for row {row + 1} of {len(prediction)} is {prediction[row]}, "
            f"which is not finite; look for extreme values in the inputs or weights"
        )
