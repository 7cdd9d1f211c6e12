"""Variants as they would be gathered from what is published of them."""

import itertools

import numpy as np
import pytest

from shoal.explore.answers.gather import Known, Winner, point_text

RATES = ({"lr": 0.01}, {"lr": 0.03})


def winner(partition, losses, error=0.01, rows=50):
    """A partition that chose the point with the lowest of ``losses``, given by learning rate."""
    points = {point_text({"lr": rate}): {"lr": rate} for rate in losses}
    by_text = dict(zip(points, losses.values(), strict=True))
    best, second = sorted(by_text, key=by_text.__getitem__)[:2]
    value = by_text[second] - by_text[best]
    margin = {"point": second, "value": value, "error": error}
    digests = {"train": f"t{partition}", "validation": f"v{partition}"}
    point = points[best]
    return Winner(
        partition, **digests, point=point, losses=by_text, points=points, rows=rows, margin=margin
    )


def variant(
    name, changes, validation, test=0.8, winners=(), moves=(), partitions=2, chosen=None, gap=0.1
):
    """A variant with scores; ``chosen`` names those whose pool and generalist its search took."""
    judged = {"metric": "accuracy", "verdict": "helps"}
    if chosen is not None:
        judged["search"] = {"pool": chosen[0], "generalist": chosen[1]}
    metrics = judged | {
        "shipped": "pool_top1",
        "pool_top1": {"score": test, "interval": {"low": test - 0.05, "high": test + 0.05}},
        "generalist": {"score": test - gap},
        "difference": {"value": gap, "low": gap - 0.05, "high": gap + 0.05},
    }
    is_scored = chosen is None or chosen[0] == name
    since = "r0" if moves else None
    split = {key: value for key, value in changes.items() if key in ("seed", "split")}
    return Known(
        "tiny",
        name,
        str(split),
        changes,
        f"r-{name}",
        partitions,
        validation,
        validation - 0.1,
        60,
        judged if is_scored else judged | {"verdict": "not chosen"},
        metrics if is_scored else None,
        winners,
        since,
        moves,
    )


@pytest.fixture
def many():
    """200 variants of 8 partitions and 4 grid points: 5 noise levels, 4 encoders, 10 seeds."""
    rng = np.random.default_rng(0)
    grid = itertools.product(
        [0.0, 0.1, 0.3, 1.0, 3.0], ["pca", "scarf", "vicreg", "none"], range(10)
    )
    found = []
    for number, (noise, embed, seed) in enumerate(grid):
        changes = {"seed": seed, "transform.steps.0.options.sd": noise, "embed": embed}
        winners = [
            winner(
                part, dict(zip([0.001, 0.003, 0.01, 0.03], rng.normal(0.4, 0.05, 4), strict=True))
            )
            for part in range(8)
        ]
        score = 0.8 - 0.05 * noise + rng.normal(0, 0.02)
        found.append(
            variant(
                f"{number:010x}", changes, score, score + rng.normal(0, 0.02), winners, partitions=8
            )
        )
    return found
