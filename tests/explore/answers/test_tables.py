"""The tables of what choices did."""

import numpy as np
import pytest
from scipy import stats

from shoal.explore.answers import tables
from shoal.training.model import margin
from tests.explore.answers.conftest import variant, winner


def test_validation_chooses_and_test_does_not():
    """The first row is the variant with the best validation score, whatever its test score."""
    found = [variant("a", {"seed": 0}, 0.7, test=0.9), variant("b", {"seed": 1}, 0.8, test=0.6)]

    rows = tables.variants_table(found)

    assert [row["variant"] for row in rows] == ["b", "a"]
    assert (rows[0]["test"], rows[0]["low"], rows[0]["high"]) == pytest.approx((0.6, 0.55, 0.65))


def searched(*, splits=("random",), seeds=(0, 1, 2)):
    """Two widths for each split and seed: of one the pool is chosen, of one the generalist."""
    found = []
    for number, split in enumerate(splits):
        for seed in seeds:
            names = [f"{split}-{seed}-{width}" for width in (16, 32)]
            gap = 0.02 * (seed + 1) - 0.1 * number
            for name, width in zip(names, (16, 32), strict=True):
                changes = {"seed": seed, "split": split, "model.width": width}
                score = 0.9 - width / 1000
                found.append(variant(name, changes, score, chosen=names, gap=gap))
    return found


def test_the_chosen_alone_have_a_test_score():
    """Validation scores are of all; the row of the chosen pool has the chosen generalist's too."""
    rows = {row["variant"]: row for row in tables.variants_table(searched(seeds=(0,)))}

    pool, other = rows["random-0-16"], rows["random-0-32"]
    assert (pool["test"], pool["generalist"]) == pytest.approx((0.8, 0.78))
    assert (other["test"], other["low"], other["generalist"]) == (None, None, None)
    assert (pool["pool_chosen"], pool["generalist_chosen"]) == (True, False)
    assert (other["pool_chosen"], other["generalist_chosen"]) == (False, True)
    assert other["verdict"] == "not chosen"


def test_seeds_give_one_choice_each_and_an_interval_over_them():
    """The difference is a mean over seeds, with the interval of t that scipy finds."""
    found = searched()

    rows, (row,) = tables.questions_table(found), tables.splits_table(found)

    assert [(one["pool"], one["generalist"]) for one in rows] == [
        (f"random-{seed}-16", f"random-{seed}-32") for seed in (0, 1, 2)
    ]
    assert [one["variants"] for one in rows] == [2, 2, 2]
    expected = stats.ttest_1samp([0.02, 0.04, 0.06], 0).confidence_interval(0.95)
    assert (row["n"], row["value"]) == (3, pytest.approx(0.04))
    assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high))
    assert (row["pool"], row["generalist"]) == ("3 in model.width 16", "3 in model.width 32")


def test_splits_stand_side_by_side_without_a_choice_among_them():
    """Each has a row of its own; of one seed its interval is that of its test rows."""
    rows = tables.splits_table(searched(splits=("random", "group"), seeds=(0,)))

    assert [row["split"] for row in rows] == ["random", "group"]
    assert [row["value"] for row in rows] == pytest.approx([0.02, -0.08])
    assert (rows[1]["low"], rows[1]["high"]) == pytest.approx((-0.13, -0.03))


def test_replicates_over_seeds_are_summarised_with_their_spread():
    """Variants that differ in their seed alone become one row: mean, deviation and n."""
    found = [
        variant("a", {"seed": 0, "cluster.partitions": 2}, 0.6),
        variant("b", {"seed": 1, "cluster.partitions": 2}, 0.8),
        variant("c", {"seed": 0, "cluster.partitions": 3}, 0.5),
    ]

    first, second = tables.replicates_table(found)

    assert (first["cluster.partitions"], first["n"]) == ("2", 2)
    assert first["validation_mean"] == pytest.approx(0.7)
    assert first["validation_deviation"] == pytest.approx(np.std([0.6, 0.8], ddof=1))
    assert (second["n"], second["validation_deviation"]) == (1, None)


def test_replicates_of_what_was_not_always_chosen_have_no_test_score():
    """A mean over the seeds in which it was chosen would be of chosen seeds."""
    for row in tables.replicates_table(searched()):
        chosen = row["model.width"] == "16"
        assert (row["test_mean"] is not None) == chosen
        assert row["validation_mean"] is not None


def test_the_margins_interval_is_that_of_a_paired_t_test():
    """From what is stored of a choice follows the interval that scipy finds from all rows."""
    a, b = np.random.default_rng(0).normal([0.3, 0.5], 0.2, size=(40, 2)).T
    stored = margin({"a": a, "b": b}, "a")
    one = winner(0, {0.01: a.mean(), 0.03: b.mean()}, stored["error"], rows=40)

    (row,) = tables.winners_table([variant("v", {}, 0.8, winners=[one])])

    expected = stats.ttest_rel(b, a).confidence_interval(0.95)
    assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high))
    assert row["margin"] == pytest.approx(stored["value"])
    assert (row["point"], row["next"]) == ("lr 0.01", "lr 0.03")


def test_a_partitions_own_level_explains_nothing_of_its_grid_points():
    """Hard and easy partitions in which the same rate is better by as much leave no rest."""
    ones = [winner(n, {0.01: level, 0.03: level + 0.1}) for n, level in enumerate((0.1, 0.9, 5.0))]
    found = [variant("v", {}, 0.8, winners=ones)]

    rows = tables.losses_table(found)
    parts = tables.losses_explained(rows, ["lr"])

    assert [each.share for each in parts.shares] == pytest.approx([1.0])


def test_partitions_that_want_different_rates_are_left_to_the_rest():
    """Where each partition has a winner of its own, no rate explains the losses."""
    ones = [winner(0, {0.01: 0.1, 0.03: 0.3}), winner(1, {0.01: 0.3, 0.03: 0.1})]
    found = [variant("v", {}, 0.8, winners=ones)]

    parts = tables.losses_explained(tables.losses_table(found), ["lr"])

    assert parts.shares[0].share == pytest.approx(0)
    assert parts.rest == pytest.approx(1)


def test_wins_are_counted_and_told_from_clear_ones():
    """A win counts as clear only where the interval of its margin leaves out zero."""
    ones = [
        winner(0, {0.01: 0.1, 0.03: 0.5}, error=0.01),
        winner(1, {0.01: 0.1, 0.03: 0.2}, error=0.5),
        winner(2, {0.01: 0.4, 0.03: 0.1}, error=0.01),
    ]

    rows = tables.wins_table([variant("v", {}, 0.8, winners=ones)])

    assert rows == [
        {"point": "lr 0.01", "won": 2, "clearly": 1, "of": 3},
        {"point": "lr 0.03", "won": 1, "clearly": 1, "of": 3},
    ]
