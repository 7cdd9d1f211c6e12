"""Encoders that are classes by name."""

from __future__ import annotations

import numpy as np
import pytest

from shoal.encode.column import ColumnSetting, Target
from shoal.encode.encoders import make_encoder
from shoal.encode.named import rows_at_once
from shoal.errors import ModelError
from shoal.settings.targets import import_target
from tests.encode.columns import fitted, numbers, words


def test_a_scikit_learn_class_by_name():
    """Any transformer gets the column without gaps; its features and the mark come out."""
    spec = {"_target_": "sklearn.preprocessing.PolynomialFeatures", "degree": 2}
    encoder = fitted(spec, "numeric", numbers(1, 3, np.nan, np.nan))

    assert encoder.names == ["v#0", "v#1", "v#2", "v (missing)"]
    assert encoder.encode(numbers(3, np.nan)).tolist() == [[1, 3, 9, 0], [1, 2, 4, 1]]


@pytest.mark.parametrize(
    ("target", "kind", "values"),
    [
        ("sklearn.feature_extraction.text.TfidfVectorizer", "text", words("ab cd", "cd ef", None)),
        ("sklearn.preprocessing.OneHotEncoder", "categorical", words("a", "b", "a")),
        ("sklearn.decomposition.PCA", "image", np.arange(12, dtype=np.uint8).reshape(3, 2, 2)),
    ],
)
def test_a_class_by_name_gets_what_its_kind_looks_like(target, kind, values):
    """Texts come as a list, categories as a column, images flat; sparse results are filled."""
    encoder = fitted({"_target_": target}, kind, values, Target(np.array([0, 1, 1]), ["n", "y"]))

    out = encoder.encode(values)

    assert out.dtype == np.float32
    assert out.shape == (3, len(encoder.names))
    assert len(np.unique(out, axis=0)) > 1


def test_a_class_that_draws_takes_the_seed():
    """A random_state that is not given is the seed."""
    spec = {"_target_": "sklearn.random_projection.GaussianRandomProjection", "n_components": 2}
    place = ColumnSetting("v", "image", "encode.columns.v", 5)
    values = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)

    encoder = make_encoder(spec, place)
    encoder.fit(values, Target(np.zeros(3), None))

    assert encoder.fitted["estimator"].random_state == 5


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("sklearn.preprocessing.StandardScalar", "did you mean 'StandardScaler'"),
        ("sklearn.nothing.Here", "there is no module 'sklearn.nothing'"),
        ("sklearn.decomposition.NMF", "cannot be fitted on column 'v': ValueError: Negative"),
        ("sklearn.linear_model.LinearRegression", "encoder is a class with fit and transform"),
    ],
)
def test_a_class_that_does_not_work_is_one_line(target, message):
    """An exception of a named class is told in one line, with setting and column."""
    with pytest.raises(ModelError, match=message) as caught:
        fitted({"_target_": target}, "numeric", numbers(-1, 2, 3, 4))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "spec",
    [
        {"_target_": "sklearn.decomposition.PCA", "n_components": 3},
        {"_target_": "sklearn.decomposition.PCA", "n_components": 3, "whiten": True},
        {"_target_": "sklearn.decomposition.IncrementalPCA", "n_components": 2},
        {"_target_": "sklearn.decomposition.TruncatedSVD", "n_components": 2},
        {"_target_": "sklearn.random_projection.GaussianRandomProjection", "n_components": 2},
        {"_target_": "sklearn.random_projection.SparseRandomProjection", "n_components": 2},
    ],
    ids=lambda spec: f"{spec['_target_'].rpartition('.')[2]}{' whitened' * ('whiten' in spec)}",
)
def test_exact_projections_are_those_of_scikit_learn(spec):
    """An exact product gives what the class itself gives, but for rounding."""
    pixels = np.random.default_rng(0).integers(0, 255, (40, 3, 4)).astype(np.uint8)
    encoder = fitted(spec, "image", pixels, Target(np.arange(40) % 2, ["n", "y"]))

    expected = encoder.fitted["estimator"].transform(pixels.reshape(40, -1).astype(np.float64))

    np.testing.assert_allclose(encoder.encode(pixels), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("target", "rows"),
    [
        ("sklearn.preprocessing.PolynomialFeatures", 256),
        ("sklearn.preprocessing.FunctionTransformer", 1),
        ("sklearn.cluster.KMeans", 1),
    ],
)
def test_what_may_multiply_matrices_sees_one_row_at_a_time(target, rows):
    """Only classes known to multiply none are given several rows together."""
    assert rows_at_once(import_target(target, "encoder")()) == rows
