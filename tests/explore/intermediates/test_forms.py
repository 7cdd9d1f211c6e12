"""What each form keeps, and how it comes back."""

import numpy as np
import pytest
from numcodecs import zstd

from shoal.errors import DataError, SettingsError
from shoal.explore.intermediates.forms import (
    FORMS,
    Kind,
    as_kept,
    check_form,
    frame,
    packed,
    unframed,
)


@pytest.fixture
def values():
    """Makes values ``(rows, …)`` after a ReLU: half of them are zero."""

    def make(*shape, dtype="float32"):
        return np.maximum(np.random.default_rng(0).normal(size=shape), 0).astype(dtype)

    return make


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_full_keeps_every_bit(values, dtype):
    """What is kept in full comes back as it was, whatever numbers it holds."""
    x = values(5, 2, 3, dtype=dtype)
    x[0, 0] = [np.nan, -0.0, np.inf]

    assert as_kept("full", x).tobytes() == x.tobytes()
    assert as_kept("full", x).dtype == x.dtype


def test_half_precision_is_near_and_never_overflows():
    """float16 is off by at most a 2048th part; what is too large becomes its largest number."""
    x = np.array([[1e-3, -3.14159, 70000.0, -1e30, np.inf]], np.float32)

    back = as_kept("float16", x)

    np.testing.assert_allclose(back[0, :2], x[0, :2], rtol=2**-11)
    assert back[0, 2:].tolist() == [65504.0, -65504.0, np.inf]


def test_few_different_values_are_exact_in_quantiles():
    """A block with at most 256 different values loses nothing in 8-bit quantiles."""
    x = np.random.default_rng(0).choice(np.linspace(-3, 9, 256).astype("f4"), size=(400, 7))

    assert np.array_equal(as_kept("quantile8", x), x)


def test_quantiles_move_a_value_within_its_bin(values):
    """Values keep their order, zeros stay zeros, and 256 bins hold about as many each."""
    x = values(500, 20)

    back = as_kept("quantile8", x)

    flat, order = back.ravel(), np.argsort(x.ravel(), kind="stable")
    assert (np.diff(flat[order]) >= 0).all()
    assert (back[x == 0] == 0).all()
    counts = np.unique(flat[flat > 0], return_counts=True)[1]
    assert counts.max() <= 2 * x.size / 256
    assert np.abs(back - x).mean() < 0.01


def test_quantiles_refuse_what_is_not_finite():
    """There is no bin for infinity, and the message says so."""
    x = np.full((2, 300), np.inf, np.float32)

    with pytest.raises(DataError, match=r"not finite.*quantile8"):
        as_kept("quantile8", x)


def test_pooling_takes_means(values):
    """Means over positions, with channels first or features last; of 4 neighbours of a vector."""
    images, vectors = values(3, 5, 4, 4), values(3, 10)

    np.testing.assert_allclose(as_kept("pooled", images), images.mean(axis=(2, 3)), rtol=1e-6)
    np.testing.assert_allclose(as_kept("pooled-last", images), images.mean(axis=(1, 2)), rtol=1e-6)
    parts = [vectors[:, :4], vectors[:, 4:8], vectors[:, 8:]]
    expected = np.stack([part.mean(axis=1) for part in parts], axis=1)
    np.testing.assert_allclose(as_kept("pooled", vectors), expected, rtol=1e-6)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(40,), (40, 10), (40, 3, 5), (40, 3, 4, 5)])
def test_a_frame_holds_what_the_form_keeps(values, form, shape):
    """What is stored gives the values that were never stored, for rows of any shape."""
    x = values(*shape)

    back = unframed(form, frame(form, x), len(x), Kind(shape[1:], "float32"))

    assert np.array_equal(back, as_kept(form, x))
    assert back.shape == (40, *Kind(shape[1:], "float32").in_form(form).shape)


def test_a_frame_of_another_size_is_refused(values):
    """A frame that would unpack to more than the rows need is an error, not memory."""
    bomb = zstd.compress(bytes(10_000_000), 1)

    with pytest.raises(ValueError, match=r".+"):
        unframed("full", bomb, 4, Kind((3,), "float32"))


def test_the_same_values_give_the_same_bytes(values):
    """Frames are content: equal blocks are equal bytes, and smaller than their values."""
    x = values(300, 30)

    assert frame("quantile8", x) == frame("quantile8", x.copy())
    assert len(frame("full", x)) < x.nbytes
    assert len(packed("quantile8", x)) == x.size + 1024


def test_an_unknown_form_is_named():
    """The message has the nearest form."""
    with pytest.raises(SettingsError, match="'float15': unknown; did you mean 'float16'"):
        check_form("float15")
