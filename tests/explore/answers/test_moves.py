"""How winners moved between two releases."""

from shoal.explore.answers.gather import moves


def winner(partition, train, validation, point):
    """What a release's record says of a partition."""
    return {
        "partition": partition,
        "train": train,
        "validation": validation,
        "point": {"id": point, "values": {"lr": point}},
    }


def test_only_partitions_with_other_rows_can_have_moved():
    """Unchanged rows are said to be so; other training or validation rows may move the winner."""
    before = [
        winner(0, "t", "v", "a"),
        winner(1, "t", "v", "a"),
        winner(2, "t", "v", "a"),
        winner(3, "t", "v", "a"),
    ]
    after = [
        winner(0, "t", "v", "a"),
        winner(1, "other", "v", "a"),
        winner(2, "t", "other", "b"),
        winner(4, "t", "v", "b"),
    ]

    found = {each.partition: each for each in moves(before, after)}

    assert {number: each.what for number, each in found.items()} == {
        0: "same rows",
        1: "kept",
        2: "moved",
        3: "gone",
        4: "new",
    }
    assert (found[2].before, found[2].after) == ({"lr": "a"}, {"lr": "b"})
    assert (found[3].after, found[4].before) == (None, None)
