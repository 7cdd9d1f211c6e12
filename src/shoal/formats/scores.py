"""Facts about scores, by their names in settings and files."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from shoal.formats.kinds import Metric


class ScoreFacts(NamedTuple):
    """Facts about a score.

    Attributes:
        title: Its name as people read it.
        task: The task that it is for.
        sign: 1 where higher is better, -1 where lower is.
        is_share: Whether it is at most 1, so that it is shown with three decimals.
        constant: Words for the answer that is the same for every row; None where there is none.
    """

    title: str
    task: str
    sign: int
    is_share: bool
    constant: str | None


_CLASS, _NUMBER = "classification", "regression"
_SHARES = "the share of each class"

SCORES: dict[Metric, ScoreFacts] = {
    "accuracy": ScoreFacts("accuracy", _CLASS, 1, True, "the most frequent class"),
    "balanced_accuracy": ScoreFacts(
        "balanced accuracy", _CLASS, 1, True, "the most frequent class"
    ),
    "f1": ScoreFacts("F1", _CLASS, 1, True, "the most frequent class"),
    "auroc": ScoreFacts("AUROC", _CLASS, 1, True, _SHARES),
    "average_precision": ScoreFacts("average precision", _CLASS, 1, True, _SHARES),
    "log_loss": ScoreFacts("log-loss", _CLASS, -1, False, _SHARES),
    "rmse": ScoreFacts("RMSE", _NUMBER, -1, False, "the mean"),
    "mae": ScoreFacts("MAE", _NUMBER, -1, False, "the mean"),
    "r2": ScoreFacts("R²", _NUMBER, 1, True, "the mean"),
    "loss": ScoreFacts("loss", "own", -1, False, None),
}
"""All scores; of each task those that the report shows, in order."""


def scores_of(task: str) -> list[Metric]:
    """Names of a task's scores."""
    return [name for name, facts in SCORES.items() if facts.task == task]
