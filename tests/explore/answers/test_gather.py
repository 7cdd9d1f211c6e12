"""Which earlier release winners are compared with."""

from shoal.explore.answers.gather import _before


def release(name, index, choices="c", generation="g1", left_out=(), **more):
    """A record, as far as it matters here."""
    layout = {"generation": generation, "made": {"choices": choices}, "index_id": index}
    return {"release": name, "layout": layout | {"left_out": list(left_out)}, "winners": []} | more


def test_winners_are_compared_with_the_last_release_of_other_rows():
    """Of the same settings, code and generation, and made with the same specialists left out."""
    now = release("now", "rows 3")
    entries = [
        release("old", "rows 1"),
        release("before", "rows 2"),
        release("other settings", "rows 2", choices="d"),
        release("other generation", "rows 2", generation="g2"),
        release("one failed", "rows 2", left_out=["a/b"]),
        release("scored anew", "rows 3"),
        now,
    ]

    found = _before(now, entries)

    assert found is not None
    assert found["release"] == "before"


def test_a_release_that_kept_no_winners_is_not_compared():
    """Releases of earlier versions of Shoal have none."""
    now = release("now", "rows 2")
    earlier = release("old", "rows 1")
    del earlier["winners"]

    assert _before(now, [earlier, now]) is None
