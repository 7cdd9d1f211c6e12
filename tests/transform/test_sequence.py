"""A piece of a text, and the other strand."""

from __future__ import annotations

import pytest

from shoal.errors import SettingsError, SourceError
from shoal.transform.pipeline import fit_pipeline


@pytest.fixture
def applied(columns, rows, shard, settings):
    """Fits one step on rows of one text column and applies it to them; the texts."""

    def apply(step, options, folds, texts, kind="text"):
        kinds = columns(t=kind, y="label")
        table = rows(kinds, range(len(folds)), folds, t=texts, y=["a"] * len(folds))
        pipeline = fit_pipeline(settings((step, ["t"], options)), kinds, {"s": shard(table)})
        return pipeline.shard("s").apply(table)["t"].to_pylist()

    return apply


@pytest.mark.parametrize(("place", "piece"), [("start", "abc"), ("end", "hij")])
def test_chunk_keeps_one_end_in_every_fold(applied, place, piece):
    """From either end rows of all folds keep as many characters; shorter and missing ones stay."""
    texts = ["abcdefghij", "abcdefghij", "xy", None]

    out = applied("chunk", {"length": 3, "place": place}, [0, 2, 1, 0], texts)

    assert out == [piece, piece, "xy", None]


def test_a_random_chunk_lies_elsewhere_in_each_training_row(applied):
    """Training rows keep pieces from all over, each a piece of the text."""
    text = "abcdefghij"

    out = applied("chunk", {"length": 4, "place": "random"}, [0] * 100, [text] * 100)

    assert {piece in text and len(piece) for piece in out} == {4}
    assert {text.index(piece) for piece in out} == set(range(7))


def test_a_random_chunk_is_the_middle_in_other_folds(applied):
    """Validation, test and outside are cut to the same length, without chance."""
    texts = ["abcdefghij", "abcdefghij", "abcdefghi"]

    out = applied("chunk", {"length": 4, "place": "random"}, [1, 2, 3], texts)

    assert out == ["defg", "defg", "cdef"]


def test_reverse_complement_turns_all_rows(applied):
    """Without a share every row of every fold is turned; lower case, gaps and N stay such."""
    texts = ["AACGT", "acgtn", "NRYK-*", None, ""]

    out = applied("reverse_complement", {}, [0, 1, 2, 3, 0], texts)

    assert out == ["ACGTT", "nacgt", "*-MRYN", None, ""]


def test_reverse_complement_twice_is_the_sequence(columns, rows, shard, settings):
    """The other strand of the other strand is the first one, for every letter but U."""
    kinds = columns(t="text", y="label")
    table = rows(kinds, [0], [0], t=["ACGTRYSWKMBDHVN-*acgt"], y=["a"])
    turn = ("reverse_complement", ["t"], {})

    pipeline = fit_pipeline(settings(turn, turn), kinds, {"s": shard(table)})

    assert pipeline.shard("s").apply(table).equals(table)


def test_reverse_complement_of_a_share_is_for_training_rows(applied):
    """With a share about as many training rows are turned, and no others."""
    out = applied("reverse_complement", {"share": 0.3}, [0] * 500 + [1, 2, 3], ["AAC"] * 503)

    assert out[500:] == ["AAC"] * 3
    assert 120 < out.count("GTT") < 180


def test_what_is_no_dna_is_named_by_its_place(applied):
    """Another letter is told with file, row, column and character."""
    problem = r"s: row 2, column 't': character 3, 'X', is no letter of DNA"

    with pytest.raises(SourceError, match=problem):
        applied("reverse_complement", {}, [0, 0], ["ACG", "ACX"])


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
def test_bad_options_are_one_line(applied, step, options, message):
    """An option that does not fit is refused when the step is fitted, in one line."""
    with pytest.raises(SettingsError, match=message) as caught:
        applied(step, options, [0], ["A"])
    assert "\n" not in str(caught.value)
