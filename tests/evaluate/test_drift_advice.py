"""What is recommended about drift."""

from dataclasses import asdict, replace

import numpy as np
import pytest

from shoal.evaluate.drift import Change, PartitionChange, Sample, compare, recommend

LEVEL = 0.01
ALL = Change(
    rows_before=900,
    arrived=300,
    gone=0,
    compared_before=900,
    compared_after=300,
    accuracy=0.5,
    p_value=0.5,
    beyond_before=0.01,
    beyond_after=0.01,
    beyond_p_value=0.6,
)


def part(number, p_value=0.5, loss=(0.5, 0.5, 0.5)):
    """A partition's change; quiet unless said otherwise."""
    losses = dict(zip(("loss_before", "loss_after", "loss_p_value"), loss, strict=True))
    change = asdict(replace(ALL, p_value=p_value))
    return PartitionChange(**change, partition=number, **losses)


def test_quiet_rows_keep_everything():
    """Where no test rejects there is nothing to do."""
    advice = recommend(ALL, [part(0), part(1)], LEVEL)

    assert advice == (
        "keep",
        [],
        "no test tells the rows that arrived from those that the generation was fitted on",
    )


def test_nothing_arrived_keeps_everything():
    """Without new rows the reason says so."""
    nothing = replace(
        ALL, arrived=0, accuracy=None, p_value=None, beyond_after=None, beyond_p_value=None
    )

    advice = recommend(nothing, [part(0, None, (0.5, 0.9, None))], LEVEL)

    assert advice == ("keep", [], "nothing has arrived since the generation was fitted")


def test_too_few_rows_keep_everything():
    """Where nothing could be tested the reason does not claim that it was."""
    few = replace(ALL, arrived=5, accuracy=None, p_value=None, beyond_p_value=None)

    advice = recommend(few, [part(0, None, (None, None, None))], LEVEL)

    assert advice == ("keep", [], "too few rows for a test, which takes 20 a side")


def test_partitions_whose_rows_differ_are_retrained():
    """They are named, and no others."""
    advice = recommend(ALL, [part(0), part(3, 1e-5), part(5, 1e-6)], LEVEL)

    reason = "the rows that arrived in partitions 3, 5 differ from those before"
    assert advice == ("retrain", [3, 5], reason)


def test_a_partition_whose_loss_rose_is_retrained():
    """A rise of the validation loss is reason enough, beside rows that differ."""
    advice = recommend(ALL, [part(0, 1e-5), part(1), part(2, loss=(0.5, 0.7, 1e-5))], LEVEL)

    assert advice == (
        "retrain",
        [0, 2],
        "the rows that arrived in partition 0 differ from those before; "
        "the validation loss of partition 2 rose",
    )


@pytest.mark.parametrize("losses", [(0.5, 0.54), (0.002, 0.008)])
def test_a_small_rise_of_the_loss_is_no_reason(losses):
    """However sure it is: a rise below a tenth or below 0.01 is not worth a training."""
    assert recommend(ALL, [part(0, loss=(*losses, 1e-9))], LEVEL).action == "keep"


def test_many_tests_share_one_level():
    """A p-value below the level alone does not count when it is the smallest of many."""
    alone = recommend(ALL, [part(0, 0.004, (None, None, None))], LEVEL)
    among_many = recommend(ALL, [part(0, 0.004), part(1), part(2)], LEVEL)

    assert alone.action == "retrain"
    assert among_many.action == "keep"


def test_rows_that_the_assigner_does_not_cover_ask_for_a_refit():
    """A share that has grown for sure is told; the partitions that differ are named with it."""
    grown = replace(ALL, p_value=0.3, beyond_after=0.12, beyond_p_value=1e-8)

    advice = recommend(grown, [part(0), part(1, 1e-6)], LEVEL)

    assert advice == (
        "refit",
        [1],
        "the assigner does not cover 12.0 % of the rows that arrived; before, 1.0 %",
    )


def test_a_share_that_has_not_doubled_asks_for_no_refit():
    """However sure the growth is."""
    grown = replace(ALL, beyond_before=0.05, beyond_after=0.08, beyond_p_value=1e-8)

    assert recommend(grown, [part(0)], LEVEL).action == "keep"


def test_an_overall_difference_alone_keeps_everything_and_says_so():
    """Rows that only fall to the partitions in other shares make no specialist stale."""
    advice = recommend(replace(ALL, p_value=1e-6), [part(0), part(1)], LEVEL)

    assert advice.action == "keep"
    assert advice.reason.startswith("the rows that arrived differ overall (p = 1e-06), but not")


def made_world(seed, arrived):
    """The change of all rows and of four partitions, one normal distribution each."""
    rng = np.random.default_rng(seed)

    def sample(rows):
        far = np.linalg.norm(rows, axis=1) > 4.2  # 1 % of the rows of a partition
        return Sample(rows.astype(np.float32), far)

    def joined(samples):
        columns = zip(*((each.embedding, each.beyond) for each in samples), strict=True)
        return Sample(*map(np.concatenate, columns))

    before = [sample(rng.normal(size=(80, 6))) for _ in range(4)]
    after = [sample(arrived(number, rng.normal(size=(80, 6)))) for number in range(4)]
    parts = []
    for number, sides in enumerate(zip(before, after, strict=True)):
        change = asdict(compare((80, 80, 0), *sides, seed))
        none = dict.fromkeys(("loss_before", "loss_after", "loss_p_value"))
        parts.append(PartitionChange(**change, partition=number, **none))
    return compare((320, 320, 0), joined(before), joined(after), seed), parts


def test_false_alarms_keep_the_level():
    """Where nothing drifts, at most a share of the level of all runs recommends a change."""
    actions = [
        recommend(*made_world(seed, lambda _, rows: rows), 0.1).action for seed in range(100)
    ]

    assert 0 < len(actions) - actions.count("keep") <= 10


def test_one_partition_that_changed_is_found():
    """One partition's rows that draw together retrain that partition alone."""
    for seed in range(10):
        advice = recommend(*made_world(seed, lambda n, rows: rows * (0.5 if n == 2 else 1)), LEVEL)

        assert advice[:2] == ("retrain", [2])


def test_a_new_cluster_is_found():
    """A tenth of the rows far from all others asks for a refit, every time."""

    def arrived(number, rows):
        rows[:8] += 5
        return rows

    for seed in range(10):
        assert recommend(*made_world(seed, arrived), LEVEL).action == "refit"
