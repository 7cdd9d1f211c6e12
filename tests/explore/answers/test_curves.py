"""The plot of variants' validation scores against FLOPs."""

from __future__ import annotations

import re

from shoal.explore.answers.curves import Costs, curves
from shoal.explore.answers.tables import compare
from tests.explore.answers.conftest import variant


def cost(pool: float, generalist: float, flops: float) -> Costs:
    scores = {"pool": pool, "ungated": pool - 0.01, "generalist": generalist}
    training = {"pool": 2 * flops, "ungated": flops, "generalist": flops}
    return Costs(scores, training, dict.fromkeys(scores, flops / 1e6))


def test_the_best_of_each_contender_is_full_and_the_test_score_is_beside_it() -> None:
    """Of two widths the wide pool and the narrow generalist are best."""
    found = [variant("a", {"model.width": 16}, 0.7), variant("b", {"model.width": 32}, 0.8)]
    costs = {"a": cost(0.7, 0.75, 1e9), "b": cost(0.8, 0.72, 4e9)}

    plot = curves(costs, compare(found))

    circles = re.findall(r"<circle([^>]*)>\s*<title>([^<]+)", plot)
    hollow = [title for start, title in circles if "hollow" in start]
    names = ["Pool, as shipped", "Pool, ungated", "Generalist"]
    assert sorted(hollow) == sorted(2 * names)
    assert [title for _, title in circles].count("Chosen pool, test score") == 2
    assert plot.count("<polyline") == 2 * 2  # the wide generalist is worse than the narrow one
    assert plot.count('class="range"') == 2


def test_one_variant_has_no_curve() -> None:
    """There is nothing to join."""
    assert curves({"": cost(0.7, 0.75, 1e9)}, compare([variant("", {}, 0.7)])) == ""
