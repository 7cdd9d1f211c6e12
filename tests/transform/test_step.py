"""The sample that steps and encoders are fitted on."""

from __future__ import annotations

from shoal.transform.step import smallest_draws, training_rows


def test_sample_is_the_same_in_any_order_and_cut(columns, rows):
    """Which rows are sampled, and their order, depends on their keys alone."""
    kinds = columns(x="numeric", y="label")
    names = list("abcdefghij")
    table = rows(kinds, names, [0] * 10, x=range(10), y=names)

    whole = smallest_draws([table], 4, ["y"], 7)
    pieces = [table.slice(6, 4), table.slice(0, 1), table.slice(1, 5)]
    cut = smallest_draws(pieces, 4, ["y"], 7)
    single = smallest_draws([table.slice(row, 1) for row in range(10)], 4, ["y"], 7)

    assert len(whole) == 4
    assert cut.equals(whole)
    assert single.equals(whole)


def test_sample_changes_with_the_salt(columns, rows):
    """Another seed samples other rows."""
    kinds = columns(x="numeric", y="label")
    table = rows(kinds, range(40), [0] * 40, x=range(40), y=["a"] * 40)

    first = smallest_draws([table], 5, ["y"], 1)
    second = smallest_draws([table], 5, ["y"], 2)

    assert not first.equals(second)


def test_sample_of_equal_keys_is_ordered_by_label(columns, rows):
    """Rows that share a key are told apart by their label, not by their place."""
    kinds = columns(x="numeric", y="label")
    table = rows(kinds, ["k", "k"], [0, 0], x=[1, 1], y=["b", "a"])

    for order in ([0, 1], [1, 0]):
        assert smallest_draws([table.take(order)], 1, ["y"], 0)["y"].to_pylist() == ["a"]


def test_sample_of_nothing_is_none():
    """No rows give no sample."""
    assert smallest_draws([], 3, ["y"], 0) is None


def test_training_rows_know_their_places(columns, rows, shard, monkeypatch):
    """Training rows keep the place that they have in their shard, other folds left out."""
    monkeypatch.setattr("shoal.transform.step.block_rows", lambda _: 3)
    kinds = columns(x="numeric", y="label")
    table = rows(kinds, range(4), [1, 0, 3, 0], x=range(4), y=["a"] * 4)

    first, second = training_rows({"s": shard(table)})

    assert first.positions.tolist() == [1]
    assert second.positions.tolist() == [3]
    assert second.place(0, "x") == "s: row 4, column 'x'"
