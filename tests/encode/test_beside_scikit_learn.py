"""Encoders that scikit-learn fits give what scikit-learn would, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import preprocessing

from shoal.encode.column import Target
from tests.encode.columns import fitted

DRAW = np.random.default_rng(0)
NUMBERS = np.concatenate([DRAW.lognormal(sigma=2, size=1500), DRAW.integers(5, size=500), [1e100]])
SEEN = np.concatenate([NUMBERS, NUMBERS + 1e-8, DRAW.normal(size=200), [-1e9, 1e9]])
WORDS = np.array([None, "a", "b", "Ä", "cc"], dtype=object)[DRAW.integers(5, size=300)]
OTHERS = np.array([*WORDS, "z", None], dtype=object)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("scale", preprocessing.StandardScaler()),
        ("rank", preprocessing.QuantileTransformer(n_quantiles=len(NUMBERS), subsample=None)),
        (
            "quantile",
            preprocessing.QuantileTransformer(
                n_quantiles=1000, output_distribution="normal", subsample=None
            ),
        ),
    ],
)
def test_numbers(name, theirs):
    """Forward and back, beyond the training values too."""
    encoder = fitted({"encoder": name}, "numeric", NUMBERS)
    theirs.fit(NUMBERS[:, np.newaxis])

    with np.errstate(over="ignore"):
        expected = theirs.transform(SEEN[:, np.newaxis]).astype(np.float32)
    encoded = encoder.encode(SEEN)

    assert encoded.tobytes() == expected.tobytes()
    back = theirs.inverse_transform(encoded.astype(np.float64))[:, 0]
    assert encoder.decode(encoded).tobytes() == back.tobytes()


@pytest.mark.parametrize("classes", [None, 2, 4])
def test_categories(classes):
    """One feature per category, and the label's means."""
    y = DRAW.normal(size=300) if classes is None else DRAW.integers(classes, size=300)
    target = Target(y, None if classes is None else list("pqrs"[:classes]))
    kind = {None: "continuous", 2: "binary", 4: "multiclass"}[classes]
    rivals = {
        "one_hot": preprocessing.OneHotEncoder(handle_unknown="ignore", sparse_output=False),
        "target": preprocessing.TargetEncoder(target_type=kind),
    }
    for name, theirs in rivals.items():
        encoder = fitted({"encoder": name}, "categorical", WORDS, target)
        theirs.fit(WORDS[:, np.newaxis], y)

        expected = theirs.transform(OTHERS[:, np.newaxis]).astype(np.float32)

        assert encoder.encode(OTHERS).tobytes() == expected.tobytes()
