"""Each column encoder: what training, missing and unseen values become."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtri

from shoal.encode.column import ColumnEncoder, ColumnSetting, Target
from shoal.encode.encoders import ENCODERS, make_encoder
from shoal.encode.named import Named
from shoal.errors import DataError, ModelError, SettingsError
from tests.encode.columns import fitted, numbers, words


def test_scale_is_standardisation():
    """Less the mean, over the standard deviation of training values."""
    encoder = fitted({"encoder": "scale"}, "numeric", numbers(1, 3, 1, 3))

    assert encoder.names == ["v"]
    assert encoder.encode(numbers(1, 2, 5)).tolist() == [[-1.0], [0.0], [3.0]]


def test_scale_of_a_constant_column_is_zero():
    """A column without spread is no error."""
    encoder = fitted({"encoder": "scale"}, "numeric", numbers(4, 4, 4, 4))

    assert encoder.encode(numbers(4, 5)).tolist() == [[0.0], [1.0]]


@pytest.mark.parametrize("name", ["scale", "quantile", "rank", "passthrough"])
def test_gaps_become_the_mean_and_are_marked_where_training_had_some(name):
    """A missing number is encoded as the training mean, with a feature that says so."""
    encoder = fitted({"encoder": name}, "numeric", numbers(1, np.nan, 3, np.nan))

    out = encoder.encode(numbers(np.nan, 2))

    assert encoder.names == ["v", "v (missing)"]
    assert out[:, 1].tolist() == [1.0, 0.0]
    assert out[0, 0] == out[1, 0]


def test_gaps_that_training_did_not_have_are_not_marked():
    """A gap first seen later becomes the mean, and no feature is added."""
    encoder = fitted({"encoder": "scale"}, "numeric", numbers(1, 3, 1, 3))

    assert encoder.encode(numbers(np.nan)).tolist() == [[0.0]]


def test_quantile_is_the_normal_deviate_of_the_rank():
    """The middle is 0, a quarter of the way is that quantile of the normal; ends are finite."""
    encoder = fitted({"encoder": "quantile"}, "numeric", numbers(0, 1, 10, 100, 1000))

    out = encoder.encode(numbers(10, 1, -5, 5000)).ravel()

    assert out[:2] == pytest.approx([0, ndtri(0.25)], abs=1e-6)
    assert out[2] == -out[3] == pytest.approx(-5.2, abs=0.01)


def test_rank_is_the_place_among_training_values():
    """From 0 to 1; equal values share a rank, between two is in proportion, beyond is the end."""
    encoder = fitted({"encoder": "rank"}, "numeric", numbers(1000, 1, 10, 10, 0))

    out = encoder.encode(numbers(0, 1, 10, 505, 1000, -5, 5000)).ravel()

    assert out.tolist() == [0, 0.25, 0.625, 0.875, 1, 0, 1]


def test_rank_uses_every_training_value():
    """More rows than any default of the library's are told apart."""
    values = np.random.default_rng(0).lognormal(sigma=3, size=3000)
    encoder = fitted({"encoder": "rank"}, "numeric", values)

    assert encoder.encode(np.sort(values)).ravel() == pytest.approx(np.linspace(0, 1, 3000))


def test_passthrough_is_the_value():
    """Numbers stay as they are."""
    encoder = fitted({"encoder": "passthrough"}, "numeric", numbers(1, 2, 3, 4))

    assert encoder.encode(numbers(-7.5)).tolist() == [[-7.5]]


@pytest.mark.parametrize("name", ["scale", "quantile", "rank", "passthrough"])
def test_a_column_without_any_value_is_refused(name):
    """Nothing can be fitted on a column of gaps."""
    with pytest.raises(DataError, match="column 'v' has no value in the 2 training"):
        fitted({"encoder": name}, "numeric", numbers(np.nan, np.nan))


def test_one_hot_has_a_category_for_missing_and_none_for_unseen():
    """Missing is a category where training had it; an unseen value is all 0."""
    encoder = fitted({"encoder": "one_hot"}, "categorical", words("b", None, "a", "b"))

    assert encoder.names == ["v=a", "v=b", "v (missing)"]
    out = encoder.encode(words("a", None, "z"))
    assert out.tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]


def test_one_hot_takes_a_new_gap_for_unseen():
    """A gap where training had none is all 0."""
    encoder = fitted({"encoder": "one_hot"}, "categorical", words("b", "a", "a", "b"))

    assert encoder.names == ["v=a", "v=b"]
    assert encoder.encode(words(None)).tolist() == [[0, 0]]


@pytest.mark.parametrize("training", [("b", "a", "c"), ("b", None, "a", "c")])
def test_ordinal_counts_sorted_categories(training):
    """Unseen is -1 and missing -2, whether training had gaps or not."""
    encoder = fitted({"encoder": "ordinal"}, "categorical", words(*training))

    assert encoder.encode(words("a", "c", "z", None)).tolist() == [[0], [2], [-1], [-2]]


def test_ordinal_of_gaps_alone_is_refused():
    """A column of gaps has no categories."""
    with pytest.raises(DataError, match="column 'v' has no value"):
        fitted({"encoder": "ordinal"}, "categorical", words(None, None))


def test_target_is_between_the_category_and_the_overall_mean():
    """Micci-Barreca's shrinkage: a category's mean moves towards the mean of all rows."""
    target = Target(np.array([1.0, 3.0, 5.0, 11.0], np.float32), None)
    encoder = fitted({"encoder": "target"}, "categorical", words("a", "a", "b", "b"), target)

    low, high, unseen, missing = encoder.encode(words("a", "b", "z", None)).ravel()

    assert encoder.names == ["v (mean label)"]
    assert unseen == missing == 5.0
    # scikit-learn's empirical Bayes weight: n / (n + variance within / variance of all).
    assert low == pytest.approx(5 + 2 / (2 + 1 / 14) * (2 - 5))
    assert high == pytest.approx(5 + 2 / (2 + 9 / 14) * (8 - 5))


def test_target_of_two_classes_is_one_feature():
    """The share of the second class."""
    encoder = fitted({"encoder": "target"}, "categorical", words("a", "b", "b", "a"))

    assert encoder.names == ["v (share of yes)"]
    assert encoder.encode(words("b", "z")).tolist() == [[1.0], [0.5]]


def test_target_of_more_classes_is_one_feature_a_class():
    """Shares of the classes that the sample holds; a gap is a category of its own."""
    target = Target(np.array([0, 2, 3, 3]), ["p", "q", "r", "s"])
    encoder = fitted({"encoder": "target"}, "categorical", words("a", None, "b", "b"), target)

    assert encoder.names == [f"v (share of {name})" for name in ("p", "r", "s")]
    assert encoder.encode(words("b", "z")).tolist() == [[0, 0, 1], [0.25, 0.25, 0.5]]
    assert encoder.encode(words(None))[0, 1] > 0.5


def test_target_needs_two_classes_in_its_sample():
    """A sample of one class says what to change."""
    with pytest.raises(DataError, match=r"column 'v': .* one class only; raise encode\.fit_rows"):
        fitted({"encoder": "target"}, "categorical", words("a"), Target(np.array([1]), ["n", "y"]))


NGRAMS = {"encoder": "ngrams", "analyzer": "word", "ngram_range": [1, 1], "features": 64}


def test_ngrams_have_length_one_and_missing_text_is_zero():
    """Counts are signed and scaled to length 1; words are told apart, their case is not."""
    encoder = fitted(NGRAMS, "text", words("x"))

    out = encoder.encode(words("red blue", "Blue RED", "green", "", None))

    assert out.shape == (5, 64)
    assert np.linalg.norm(out, axis=1).tolist() == pytest.approx([1, 1, 1, 0, 0])
    assert np.abs(out[0]).max() == pytest.approx(0.5**0.5)
    assert (out[0] == out[1]).all()
    assert out[0] @ out[2] == 0


def test_ngram_range_is_checked():
    """The shortest n-gram comes first."""
    with pytest.raises(SettingsError, match=r"encode\.columns\.v: .*the shortest comes first"):
        fitted(NGRAMS | {"ngram_range": [3, 2]}, "text", words("x"))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_image_is_standardised_and_keeps_its_shape(dtype):
    """All training pixels together have mean 0 and deviation 1, whatever their range."""
    picture = np.array([[[0, 4], [8, 16]], [[1, 2], [3, 4]]], dtype=dtype)

    encoder = fitted({"encoder": "image"}, "image", picture)
    encoded = encoder.encode(picture)

    assert encoded.shape == (2, 2, 2)
    assert encoded.mean() == pytest.approx(0, abs=1e-6)
    assert encoded.std() == pytest.approx(1, abs=1e-6)


def test_a_constant_image_is_zero():
    """Pixels that are all alike are no division by zero."""
    picture = np.full((3, 2, 2), 7, np.uint8)

    assert not fitted({"encoder": "image"}, "image", picture).encode(picture).any()


@pytest.mark.parametrize(
    ("spec", "kind", "message"),
    [
        ({}, "numeric", r"encode\.columns\.v: name an 'encoder' or a class"),
        ({"encoder": "scale", "_target_": "a.B"}, "numeric", "name an 'encoder' or a class"),
        ({"encoder": "scal"}, "numeric", "there is no encoder 'scal'; did you mean 'scale'"),
        ({"encoder": "scale", "mean": 1}, "numeric", r"columns\.v\.mean: unknown setting"),
        ({"encoder": "scale"}, "text", "'scale' works on numeric, but column 'v' is text"),
        ({"encoder": "ngrams"}, "text", r"columns\.v\.features: setting is missing"),
    ],
)
def test_specifications_that_do_not_fit_are_refused(spec, kind, message):
    """An unknown encoder, option or kind names the setting and the nearest known one."""
    with pytest.raises(SettingsError, match=message):
        make_encoder(spec, ColumnSetting("v", kind, "encode.columns.v", 0))


SEQUENCE = {"alphabet": "abcdefg wors"}
NEEDED = {"ngrams": NGRAMS, "sequence_one_hot": SEQUENCE, "sequence_integer": SEQUENCE}


def contract_cases():
    """Every encoder there is, and classes by name, each with values of its kind."""
    draw = np.random.default_rng(0)
    some = draw.normal(size=700)
    some[::7] = np.nan
    named = np.array([None, *"abcdefg"], dtype=object)[draw.integers(8, size=700)]
    pixels = draw.integers(256, size=(700, 4, 4)).astype(np.uint8)
    texts = np.array([f"{a} {b} words" for a, b in zip(named, some.round(2))], dtype=object)  # noqa: B905
    vectors = draw.normal(size=(700, 5)) * [1, 10, 1e3, 1e-3, 1e6]
    values = {"numeric": some, "categorical": named, "text": texts}
    values |= {"image": pixels, "vector": vectors}
    for name, encoder in ENCODERS.items():
        kind = encoder.kinds[0]
        yield {"encoder": name, **NEEDED.get(name, {})}, kind, values[kind]
    yield {"encoder": "ngrams", "analyzer": "char_wb", "features": 50}, "text", texts
    yield {"_target_": "sklearn.decomposition.PCA", "whiten": True}, "image", pixels
    yield {"_target_": "sklearn.kernel_approximation.RBFSampler"}, "numeric", some


INVERTIBLE = [
    (spec, kind, values)
    for spec, kind, values in contract_cases()
    if kind != "text" and ENCODERS.get(spec.get("encoder"), Named).decode != ColumnEncoder.decode
]


@pytest.mark.parametrize(("spec", "kind", "values"), INVERTIBLE)
def test_decoding_gives_training_values_back(spec, kind, values):
    """Contract: what an invertible encoder was fitted on comes back, gaps as gaps."""
    encoder = fitted(spec, kind, values)

    back = encoder.decode(encoder.encode(values))

    assert back.shape == values.shape
    if kind == "categorical":
        assert back.tolist() == values.tolist()
    else:
        assert back == pytest.approx(values.astype(np.float64), rel=1e-3, abs=1e-4, nan_ok=True)


def test_categories_that_training_did_not_have_decode_to_none():
    """A code says only what was known when it was fitted."""
    for name in ("one_hot", "ordinal"):
        encoder = fitted({"encoder": name}, "categorical", words("b", "a"))

        assert encoder.decode(encoder.encode(words("a", "z", None))).tolist() == ["a", None, None]


def test_an_encoder_without_an_inverse_says_so():
    """Counts of n-grams are not the text."""
    encoder = fitted(NGRAMS, "text", words("x"))

    with pytest.raises(ModelError, match="encoder 'ngrams' of column 'v' has no inverse"):
        encoder.decode(encoder.encode(words("x")))


@pytest.mark.parametrize(("spec", "kind", "values"), list(contract_cases()))
def test_a_row_does_not_depend_on_its_batch(spec, kind, values):
    """Contract: any batch size and any order give the same bits for a row."""
    y = np.random.default_rng(1).integers(3, size=len(values))
    encoder = fitted(spec, kind, values, Target(y, ["p", "q", "r"]))
    whole = encoder.encode(values)
    order = np.random.default_rng(2).permutation(len(values))

    assert whole.dtype == (np.float32 if encoder.vocabulary is None else np.int64)
    assert whole.shape == (len(values), *encoder.shape)
    assert np.prod(encoder.shape) == len(encoder.names)
    for size in (1, 3, 255, 256, 257):
        starts = range(0, len(values), size) if size > 3 else range(0, 40, size)
        parts = np.concatenate([encoder.encode(values[s : s + size]) for s in starts])
        assert parts.tobytes() == whole[: len(parts)].tobytes()
    assert encoder.encode(values[order]).tobytes() == whole[order].tobytes()
