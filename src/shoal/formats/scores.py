"""Facts about scores, by their names in settings and files."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from shoal.formats.kinds import Metric


class ScoreFacts(NamedTuple):
    """Facts about a score.

    Attributes:
        title: Its name as people read it.
        sign: 1 where higher is better, -1 where lower is.
        constant: Words for the answer that is the same for every row; None where there is none.
    """

    title: str
    sign: int
    constant: str | None


SCORES: dict[Metric, ScoreFacts] = {
    "accuracy": ScoreFacts("accuracy", 1, "the most frequent class"),
    "rmse": ScoreFacts("RMSE", -1, "the mean"),
    "loss": ScoreFacts("loss", -1, None),
}
