"""Pool and generalist against the usual models of tables, which is said first where these win."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from shoal.evaluate.bootstrap import paired_bootstrap
from shoal.formats.kinds import BOOSTED, LINEAR
from shoal.formats.scores import SCORES
from shoal.formats.text import number_text, score_decimals

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from shoal.evaluate.bootstrap import Difference
    from shoal.formats.documents.judgement import AgainstUsual, Scores
    from shoal.formats.kinds import Metric
    from shoal.settings.learning import Evaluate

USUAL = {LINEAR: "a linear model", BOOSTED: "boosted trees"}
"""The usual models, in words."""


def against_usual(
    metric: Metric,
    measured: Mapping[str, Scores],
    per_row: Mapping[str, NDArray[np.float64]],
    shipped: str,
    settings: Evaluate,
    units: NDArray[np.uint64] | None,
) -> list[AgainstUsual]:
    """Compare pool and generalist with each usual model that scores better than the pool.

    Args:
        metric: The score.
        measured: Scores of each contender.
        per_row: Values of the metric by row of each contender, ``(rows, …)``.
        shipped: The contender that is the pool as it is shipped.
        settings: Resamples and seed of the paired bootstrap.
        units: Unit of each row; None where each is its own.

    Returns:
        Of each the differences, pool or generalist minus it; the best first.
    """
    sign = SCORES[metric].sign
    ahead = [n for n in USUAL if n in per_row and sign * _gap(measured, shipped, n) < 0]
    found: list[AgainstUsual] = []
    for name in sorted(ahead, key=lambda each: -sign * measured[each]["score"]):
        pool, generalist = (
            paired_bootstrap(
                per_row[own], per_row[name], metric, settings.bootstrap, settings.seed, units=units
            )
            for own in (shipped, "generalist")
        )
        both: dict[Literal["pool", "generalist"], Difference] = {
            "pool": pool,
            "generalist": generalist,
        }
        found.append(
            {
                "contender": name,
                "pool": pool.document,
                "generalist": generalist.document,
                "worse": [own for own, difference in both.items() if difference.sign == -sign],
            }
        )
    return found


def worse_than_usual(
    metric: Metric, measured: Mapping[str, Scores], shipped: str, found: list[AgainstUsual]
) -> str:
    """Sentences on the usual models than which the pool is clearly worse; empty without any."""
    said = []
    for each in found:
        if "pool" not in each["worse"]:
            continue
        own = [shipped, *(["generalist"] if "generalist" in each["worse"] else [])]
        scores = [measured[name]["score"] for name in (*own, each["contender"])]
        decimals = score_decimals(metric, scores)
        *worse, usual = (number_text(score, decimals) for score in scores)
        who, verb = ("Pool and generalist", "are") if len(own) > 1 else ("The pool", "is")
        said.append(
            f"{who} {verb} worse than {USUAL[each['contender']]}: {SCORES[metric].title} "
            f"{' and '.join(worse)} against {usual}. "
        )
    return "".join(said)


def _gap(measured: Mapping[str, Scores], name: str, other: str) -> float:
    return measured[name]["score"] - measured[other]["score"]
