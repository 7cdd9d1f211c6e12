"""Steps that mask, swap, cut or reverse values and texts."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from shoal.errors import SettingsError, SourceError
from shoal.transform.augment import swapped
from shoal.transform.pipeline import fit_pipeline

KINDS = {"x": "numeric", "z": "numeric", "c": "categorical", "d": "categorical", "t": "text"}


@pytest.fixture
def applied(columns, rows, shard, settings):
    """Fits one step on a table and applies it to it."""

    def apply(step, names, options, folds, seed=0, **values):
        kinds = columns(**{name: KINDS[name] for name in values}, y="label")
        count = len(folds)
        table = rows(kinds, range(count), folds, y=["a"] * count, **values)
        steps = settings((step, names, options), seed=seed)
        pipeline = fit_pipeline(steps, kinds, {"s": shard(table)})
        return pipeline.shard("s").apply(table)

    return apply


def masked_places(texts, mark="*"):
    return [{place for place, letter in enumerate(text) if letter == mark} for text in texts]


def test_mask_hides_a_share_of_numbers_and_categories(applied):
    """About the share of the values goes missing, in each column on its own."""
    count = 2000

    out = applied("mask", ["x", "c"], {"share": 0.2}, [0] * count, x=[1.0] * count, c=["u"] * count)

    gone = [np.array([value is None for value in out[name].to_pylist()]) for name in ("x", "c")]
    assert [part.mean() for part in gone] == pytest.approx([0.2, 0.2], abs=0.03)
    assert (gone[0] & gone[1]).mean() == pytest.approx(0.04, abs=0.015)


def test_mask_replaces_a_share_of_the_characters_of_a_text(applied):
    """About the share of the letters becomes the character; length and missing texts stay."""
    texts = ["ACGT" * 25] * 40 + [None]

    out = applied("mask", ["t"], {"share": 0.1, "character": "N"}, [0] * 41, t=texts)

    *found, last = out["t"].to_pylist()
    assert last is None
    assert {len(text) for text in found} == {100}
    share = np.mean([text.count("N") / 100 for text in found])
    assert share == pytest.approx(0.1, abs=0.02)
    places = masked_places(found, "N")
    kept = [
        [letter for place, letter in enumerate(text) if place not in hidden]
        for text, hidden in zip(found, places, strict=True)
    ]
    whole = [
        [letter for place, letter in enumerate(texts[0]) if place not in hidden]
        for hidden in places
    ]
    assert kept == whole


def test_not_every_row_is_masked_at_the_same_position(applied):
    """Rows with the same text have characters hidden in other places."""
    out = applied("mask", ["t"], {"share": 0.2}, [0] * 50, t=["A" * 30] * 50)

    places = masked_places(out["t"].to_pylist())
    assert len({frozenset(each) for each in places}) > 45
    counts = Counter(place for each in places for place in each)
    assert len(counts) == 30
    assert max(counts.values()) < 30


def test_another_seed_masks_other_places(applied):
    """Draws depend on the seed."""
    one, other = (
        applied("mask", ["t"], {"share": 0.2}, [0] * 5, seed=seed, t=["A" * 30] * 5)
        for seed in (0, 1)
    )

    assert one["t"].to_pylist() != other["t"].to_pylist()


def test_swap_mixes_up_the_characters_of_a_text(applied):
    """Letters change places within their text, other ones in each row."""
    text = "abcdefghijklmnopqrstuvwxyz"

    out = applied("swap", ["t"], {"share": 0.1}, [0] * 40 + [0], t=[text] * 40 + [None])

    *found, last = out["t"].to_pylist()
    assert last is None
    assert all(sorted(each) == list(text) for each in found)
    assert len(set(found)) > 30
    moved = np.mean([sum(a != b for a, b in zip(each, text, strict=True)) / 26 for each in found])
    assert 0.1 < moved < 0.25


def test_swap_of_words_leaves_words_and_spaces_whole(applied):
    """By words, a text keeps its words and its white space."""
    text = "please  book a\ttable for two"

    out = applied("swap", ["t"], {"share": 1, "unit": "word"}, [0] * 10, t=[text] * 10)

    found = out["t"].to_pylist()
    assert all(sorted(each.split()) == sorted(text.split()) for each in found)
    spaces = [[letter for letter in each if letter.isspace()] for each in found]
    assert all(each == ["\x20", "\x20", "\x20", "\t", "\x20", "\x20"] for each in spaces)
    assert len(set(found)) > 5


def test_swap_of_columns_stays_within_a_row(applied):
    """Values of several columns change places, missing ones too, and none leaves its row."""
    x, z = list(range(40)), [None, *range(101, 140)]

    out = applied("swap", ["x", "z"], {"share": 0.5}, [0] * 40, x=x, z=z)

    pairs = list(zip(out["x"].to_pylist(), out["z"].to_pylist(), strict=True))
    before = list(zip(map(float, x), [None, *map(float, z[1:])], strict=True))
    assert all(pair in (row, row[::-1]) for pair, row in zip(pairs, before, strict=True))
    assert 5 < sum(pair != row for pair, row in zip(pairs, before, strict=True)) < 35


def test_swapped_is_an_order_and_moves_nothing_alone():
    """Each thing stays once; one thing, or a share that nothing draws, stays where it is."""
    draws = np.random.default_rng(0).random((50, 14))

    assert all(sorted(swapped(each, 0.7)) == list(range(7)) for each in draws)
    assert swapped(np.array([0.0, 0.0]), 1) == [0]
    assert swapped(np.array([0.9, 0.9, 0.1, 0.1]), 0.5) == [0, 1]
    assert swapped(np.array([0.1, 0.9, 0.1, 0.1]), 0.5) == [1, 0]


@pytest.mark.parametrize(
    ("step", "names", "options", "message"),
    [
        ("mask", ["x"], {}, "options.share: setting is missing"),
        ("mask", ["x"], {"share": 0}, "options.share: Input should be greater than 0, not 0"),
        ("mask", ["x"], {"share": 1}, "options.share: Input should be less than 1, not 1"),
        ("mask", ["t"], {"share": 0.1, "character": "NN"}, "options.character: String should"),
        ("mask", ["t"], {"share": 0.1, "charcter": "N"}, "did you mean 'character'"),
        ("mask", ["y"], {"share": 0.1}, "column 'y' is label"),
        ("swap", ["x"], {"share": 0.1}, r"at least two numeric .*; x is numeric"),
        ("swap", ["x", "c"], {"share": 0.1}, "x, c is categorical and numeric"),
        ("swap", ["t"], {"share": 2}, "options.share: Input should be less than or equal to 1"),
        ("swap", ["t"], {"share": 0.5, "unit": "letter"}, "options.unit: .*not 'letter'"),
    ],
)
def test_bad_options_are_one_line(applied, step, names, options, message):
    """An option that does not fit is refused when the step is fitted, in one line."""
    with pytest.raises(SettingsError, match=message) as caught:
        applied(step, names, options, [0], x=[1.0], c=["u"], t=["text"])
    assert "\n" not in str(caught.value)


@pytest.fixture
def applied_sequence(columns, rows, shard, settings):
    """Fits one step on rows of one text column and applies it to them; the texts."""

    def apply(step, options, folds, texts, kind="text"):
        kinds = columns(t=kind, y="label")
        table = rows(kinds, range(len(folds)), folds, t=texts, y=["a"] * len(folds))
        pipeline = fit_pipeline(settings((step, ["t"], options)), kinds, {"s": shard(table)})
        return pipeline.shard("s").apply(table)["t"].to_pylist()

    return apply


@pytest.mark.parametrize(("place", "piece"), [("start", "abc"), ("end", "hij")])
def test_chunk_keeps_one_end_in_every_fold(applied_sequence, place, piece):
    """From either end rows of all folds keep as many characters; shorter and missing ones stay."""
    texts = ["abcdefghij", "abcdefghij", "xy", None]

    out = applied_sequence("chunk", {"length": 3, "place": place}, [0, 2, 1, 0], texts)

    assert out == [piece, piece, "xy", None]


def test_a_random_chunk_lies_elsewhere_in_each_training_row(applied_sequence):
    """Training rows keep pieces from all over, each a piece of the text."""
    text = "abcdefghij"

    out = applied_sequence("chunk", {"length": 4, "place": "random"}, [0] * 100, [text] * 100)

    assert {piece in text and len(piece) for piece in out} == {4}
    assert {text.index(piece) for piece in out} == set(range(7))


def test_a_random_chunk_is_the_middle_in_other_folds(applied_sequence):
    """Validation, test and outside are cut to the same length, without chance."""
    texts = ["abcdefghij", "abcdefghij", "abcdefghi"]

    out = applied_sequence("chunk", {"length": 4, "place": "random"}, [1, 2, 3], texts)

    assert out == ["defg", "defg", "cdef"]


def test_reverse_complement_turns_all_rows(applied_sequence):
    """Without a share every row of every fold is turned; lower case, gaps and N stay such."""
    texts = ["AACGT", "acgtn", "NRYK-*", None, ""]

    out = applied_sequence("reverse_complement", {}, [0, 1, 2, 3, 0], texts)

    assert out == ["ACGTT", "nacgt", "*-MRYN", None, ""]


def test_reverse_complement_twice_is_the_sequence(columns, rows, shard, settings):
    """The other strand of the other strand is the first one, for every letter but U."""
    kinds = columns(t="text", y="label")
    table = rows(kinds, [0], [0], t=["ACGTRYSWKMBDHVN-*acgt"], y=["a"])
    turn = ("reverse_complement", ["t"], {})

    pipeline = fit_pipeline(settings(turn, turn), kinds, {"s": shard(table)})

    assert pipeline.shard("s").apply(table).equals(table)


def test_reverse_complement_of_a_share_is_for_training_rows(applied_sequence):
    """With a share about as many training rows are turned, and no others."""
    out = applied_sequence(
        "reverse_complement", {"share": 0.3}, [0] * 500 + [1, 2, 3], ["AAC"] * 503
    )

    assert out[500:] == ["AAC"] * 3
    assert 120 < out.count("GTT") < 180


def test_what_is_no_dna_is_named_by_its_place(applied_sequence):
    """Another letter is told with file, row, column and character."""
    problem = r"s: row 2, column 't': character 3, 'X', is no letter of DNA"

    with pytest.raises(SourceError, match=problem):
        applied_sequence("reverse_complement", {}, [0, 0], ["ACG", "ACX"])


@pytest.mark.parametrize(
    ("step", "options", "message"),
    [
        ("chunk", {}, "options.length: setting is missing"),
        ("chunk", {"length": 0}, "options.length: Input should be greater than 0"),
        ("chunk", {"length": 3, "place": "middle"}, "options.place: .*not 'middle'"),
        ("reverse_complement", {"share": 0}, "options.share: Input should be greater than 0"),
        ("reverse_complement", {"shares": 1}, "did you mean 'share'"),
    ],
)
def test_bad_options_of_sequence_steps_are_one_line(applied_sequence, step, options, message):
    """An option that does not fit is refused when the step is fitted, in one line."""
    with pytest.raises(SettingsError, match=message) as caught:
        applied_sequence(step, options, [0], ["A"])
    assert "\n" not in str(caught.value)
