"""The decomposition of scores, on grids whose parts are known."""

import itertools

import numpy as np
import pytest

from shoal.explore.answers.anova import ABSENT, explained

NOISE, EMBED, SEEDS = (0.1, 1, 3), ("pca", "scarf"), (0, 1, 2, 3)


def grid():
    """A complete grid: main effects, one interaction, an effect of the seed, and no noise."""
    rows = list(itertools.product(NOISE, EMBED, SEEDS))
    first = dict(zip(NOISE, (1.0, 0.0, -1.0), strict=True))
    second = dict(zip(EMBED, (0.5, -0.5), strict=True))
    third = dict(zip(SEEDS, (0.3, -0.1, 0.1, -0.3), strict=True))
    scores = [first[a] + second[b] + 0.8 * first[a] * second[b] + third[c] for a, b, c in rows]
    noise, embed, seed = (list(values) for values in zip(*rows, strict=True))
    return scores, {"noise": noise, "embed": embed, "seed": seed}


PARTS = {"noise": 2 / 3, "embed": 0.25, "noise × embed": 0.64 * 0.25 * 2 / 3, "seed": 0.05}
"""Variances of the effects of :func:`grid`, worked out by hand."""


def test_the_parts_of_a_complete_grid_are_exact():
    """Main effects and the interaction have the share of the variance that they were made with."""
    found = explained(*grid())

    whole = sum(PARTS.values())
    shares = {each.term: each.share for each in found.shares}
    assert found.complete
    for term, variance in PARTS.items():
        assert shares.pop(term) == pytest.approx(variance / whole)
    assert all(share == pytest.approx(0, abs=1e-12) for share in shares.values())
    assert found.rest == pytest.approx(0, abs=1e-12)


def test_part_of_a_grid_gives_the_main_effects_nearly():
    """With two thirds of the points, over ten draws, each main effect is right within 0.08."""
    scores, factors = grid()
    rng = np.random.default_rng(0)
    shares: dict[str, list[float]] = {name: [] for name in factors}

    for _ in range(10):
        drawn = rng.permutation(len(scores))[:16]
        some = {name: [values[n] for n in drawn] for name, values in factors.items()}
        found = explained([scores[n] for n in drawn], some)
        assert not found.complete
        for each in found.shares:
            shares[each.term].append(each.share)

    for name, values in shares.items():
        assert np.mean(values) == pytest.approx(PARTS[name] / sum(PARTS.values()), abs=0.08)


def test_lists_that_advance_together_are_one_choice():
    """What no score tells apart gets one share under both names, not the same share twice."""
    scores, factors = grid()
    factors["fare"] = [10 * noise for noise in factors["noise"]]

    found = explained(scores, factors)

    terms = [each.term for each in found.shares]
    assert terms[:3] == ["embed", "seed", "noise, fare"]
    assert sum(each.share for each in found.shares) + found.rest == pytest.approx(1)


def test_an_alternative_and_its_own_options_are_one_choice():
    """Options that only one alternative has are not taken for an effect of their own."""
    scores, factors = grid()
    dims = [
        ABSENT if embed == "pca" else seed % 2
        for embed, seed in zip(factors["embed"], factors["seed"], strict=True)
    ]

    found = explained(scores, {"embed": factors["embed"], "embed.dims": dims})

    assert [each.term for each in found.shares] == ["embed, embed.dims"]


def test_numbers_drawn_by_a_sampler_count_by_their_quarter():
    """A hyperparameter of which each score has another value still explains what it explains."""
    rng = np.random.default_rng(0)
    rate, other = rng.random((2, 400))

    found = explained(
        (rate + 0.01 * other).tolist(), {"rate": rate.tolist(), "other": other.tolist()}
    )

    shares = {each.term: each.share for each in found.shares}
    assert shares["rate"] > 0.9
    assert shares["other"] < 0.02


def test_the_part_of_chance_is_what_random_scores_give():
    """Over many random scores the mean share is the one that is said to be chance's."""
    rng = np.random.default_rng(0)
    factors = {"a": [0, 1, 2, 3] * 4, "b": [0] * 8 + [1] * 8}

    drawn = [explained(rng.normal(size=16).tolist(), factors).shares[0] for _ in range(300)]

    assert drawn[0].chance == pytest.approx(3 / 15)
    assert np.mean([each.share for each in drawn]) == pytest.approx(3 / 15, abs=0.02)


@pytest.mark.parametrize(
    ("scores", "factors", "reason"),
    [
        ([1.0, 2.0], {"a": [0, 1]}, "2 are too few for a"),
        ([1.0, 1.0, 1.0], {"a": [0, 1, 1]}, "all of them are the same"),
        ([1.0, 2.0, 3.0], {"a": [0, 0, 0]}, "nothing varies"),
        ([], {}, "nothing varies"),
        (
            [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0],
            {"a": [0, 0, 1, 1, 2, 2, 3, 3], "b": [0, 1, 0, 1, 2, 3, 2, 3]},
            "they do not tell a, b apart",
        ),
    ],
)
def test_scores_that_cannot_be_decomposed_say_why(scores, factors, reason):
    """Too few scores, equal ones, or nothing that varies give a reason instead of numbers."""
    found = explained(scores, factors)

    assert reason in found.reason
    assert found.shares == ()
