"""Text letter by letter over an alphabet."""

import numpy as np
import pytest

from shoal.encode.column import ColumnSetting, Target
from shoal.encode.encoders import make_encoder
from shoal.errors import DataError, SettingsError

ANY = Target(np.array([0, 1]), ["no", "yes"])


def words(*values):
    return np.array(values, dtype=object)


def fitted(values, name="sequence_one_hot", **options):
    spec = {"encoder": name, "alphabet": "dna", **options}
    encoder = make_encoder(spec, ColumnSetting("v", "text", "encode.columns.v", 0))
    encoder.fit(values, ANY)
    return encoder


def test_one_hot_has_a_place_a_letter_and_zeros_for_others():
    """Each place has one feature a letter; N is none of DNA's letters, and so all 0."""
    encoder = fitted(words("ACG", "T"))

    out = encoder.encode(words("CaN"))

    assert encoder.shape == (3, 4)
    assert encoder.names[4:8] == ["v[1]=A", "v[1]=C", "v[1]=G", "v[1]=T"]
    assert out.tolist() == [[[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]]


def test_integers_tell_padding_letters_and_others_apart():
    """0 beyond the end, 1 to 4 for A, C, G, T, and 5 for any other letter."""
    encoder = fitted(words("ACGTACGT"), "sequence_integer")

    assert encoder.names[0] == "v[0]"
    assert encoder.encode(words("TGCAN", None)).tolist() == [[4, 3, 2, 1, 5, 0, 0, 0], [0] * 8]


@pytest.mark.parametrize("name", ["sequence_one_hot", "sequence_integer"])
def test_the_length_is_that_of_the_longest_training_text(name):
    """Longer texts are cut and shorter ones filled up, later as in training."""
    encoder = fitted(words("A", "ACG", None), name)

    short, long, cut = encoder.encode(words("AC", "ACGT", "ACGA"))

    assert encoder.shape[0] == 3
    assert not short[2].any()
    assert (long == cut).all()


def test_a_given_length_stands():
    """It may be more, or less, than what training held."""
    assert fitted(words("ACGT"), length=2).shape == (2, 4)
    assert fitted(words("ACGT"), length=9).shape == (9, 4)


def test_an_alphabet_may_be_spelt_out():
    """Its letters are taken as they stand: here a capital is another letter."""
    encoder = fitted(words("ab"), "sequence_integer", alphabet="baB")

    assert encoder.encode(words("aB", "A")).tolist() == [[2, 3], [4, 0]]


def test_protein_has_twenty_letters():
    """Letters that stand for several amino acids, such as X, are none of them."""
    encoder = fitted(words("MKWY"), alphabet="protein")

    assert encoder.shape == (4, 20)
    assert encoder.encode(words("MKXY")).sum() == 3


@pytest.mark.parametrize("name", ["sequence_one_hot", "sequence_integer"])
def test_decoding_gives_the_text_back(name):
    """Capitals, cut to the length; other letters are a question mark."""
    encoder = fitted(words("ACGTT"), name)

    back = encoder.decode(encoder.encode(words("ACG", "NNt", "ACGTTA", None)))

    assert back.tolist() == ["ACG", "??T", "ACGTT", ""]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alphabet": "ABA"}, "'ABA' names a letter twice; known names: dna, protein"),
        ({"alphabet": ""}, r"columns\.v\.alphabet"),
        ({"length": 0}, r"columns\.v\.length: .* greater than 0, not 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    """An alphabet has letters, each once; a length is at least one."""
    with pytest.raises(SettingsError, match=message):
        fitted(words("A"), **options)


def test_a_column_of_empty_texts_is_refused():
    """There is no length to learn."""
    with pytest.raises(DataError, match="column 'v' has no value in the 2 training rows"):
        fitted(words("", None))
