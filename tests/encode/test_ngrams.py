"""Hashed n-grams, beside scikit-learn's, which hashes the same ones in another way."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.feature_extraction.text import HashingVectorizer

from tests.encode.columns import fitted, words

TEXTS = [
    "The quick brown fox jumps over the lazy dog",
    "a",
    "of an",
    "  two   spaces\tand\n\na tab ",
    "Überstraße naïve 日本語テキスト 🐟🐟 I'm_x",
    "aaaa aaaa aaaa",
    "",
    "   ",
    "?",
    "x" * 40,
]
MANY = 1 << 20
ANALYZERS = [
    (analyzer, span)
    for analyzer in ("char", "char_wb", "word")
    for span in ((1, 1), (3, 5), (2, 3), (6, 9))
]


def encoder(features, analyzer="char_wb", span=(3, 5)):
    spec = {"encoder": "ngrams", "analyzer": analyzer, "ngram_range": span, "features": features}
    return fitted(spec, "text", words("x"))


@pytest.mark.parametrize(("analyzer", "span"), ANALYZERS)
def test_ngrams_are_those_of_scikit_learn(analyzer, span):
    """With so many features that hardly two n-grams share one, counts of a text are the same."""
    theirs = HashingVectorizer(analyzer=analyzer, ngram_range=span, n_features=MANY)
    expected = theirs.transform(TEXTS)

    for text, row in zip(TEXTS, expected, strict=True):
        (own,) = encoder(MANY, analyzer, span).encode(words(text))
        found = np.sort(abs(own[own != 0]))
        np.testing.assert_allclose(found, np.sort(abs(row.data)).astype(np.float32), rtol=1e-6)


def vocabulary():
    """Words of up to six letters that differ by a letter, as forms of a word do."""
    letters = "etaoinshrdlu"
    ends = [a + b + c for a in letters for b in letters for c in letters]
    return [start + end for start in ("", "re", "con") for end in ends]


@pytest.mark.parametrize("features", [500, 512])
@pytest.mark.parametrize("analyzer", ["word", "char"])
def test_similar_ngrams_fall_anywhere(analyzer, features):
    """Each feature gets about as many as chance gives it, with either sign."""
    texts = vocabulary()
    span = (1, 1) if analyzer == "word" else (len(texts[0]),) * 2
    texts = [text for text in texts if analyzer == "word" or len(text) == span[0]]
    rows = encoder(features, analyzer, span).encode(words(*texts))

    number, at = len(texts), abs(rows).argmax(axis=1)
    hits = np.bincount(at, minlength=features)
    signs = rows[np.arange(number), at]

    assert (abs(signs) == 1).all()
    assert abs(signs.sum()) < 4 * number**0.5
    chance = ((hits - number / features) ** 2).sum() / (number / features)
    assert abs(chance - features) < 5 * (2 * features) ** 0.5


def test_texts_are_hashed_a_few_at_a_time(monkeypatch):
    """Which ones together changes no bit."""
    texts = words(*TEXTS, *vocabulary()[:200])
    whole = encoder(64).encode(texts)

    monkeypatch.setattr("shoal.encode.ngrams._LETTERS", 7)

    assert encoder(64).encode(texts).tobytes() == whole.tobytes()


def test_encoding_imports_no_scikit_learn():
    """Its import takes longer than most shards' texts."""
    script = """
import sys
import numpy as np
from shoal.encode.column import ColumnSetting
from shoal.encode.encoders import make_encoder
made = make_encoder({"encoder": "ngrams", "features": 9}, ColumnSetting("v", "text", "v", 0))
print(made.encode(np.array(["some text"], dtype=object)).any(), *sys.modules)
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert done.stdout.startswith("True ")
    assert "sklearn" not in done.stdout.split()
    assert "scipy" not in done.stdout.split()
