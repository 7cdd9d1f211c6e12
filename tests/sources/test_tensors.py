"""Columns whose cells are arrays of numbers or pictures."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from shoal.errors import SourceError
from shoal.formats.tables import Columns, image_array, images
from shoal.settings.data import Images
from shoal.sources.columns import typed
from shoal.sources.inference import infer
from shoal.sources.tensors import kept_as

PIXELS = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
FORMS = {
    "fixed shape tensors": image_array(PIXELS),
    "nested lists of fixed length": pa.array(PIXELS.tolist(), pa.list_(pa.list_(pa.uint8(), 3), 2)),
    "nested lists": pa.array(PIXELS.tolist()),
    "flat lists": pa.array(PIXELS.reshape(2, 6).tolist()),
    "flat lists of floats": pa.array(PIXELS.reshape(2, 6).astype(float).tolist()),
}


def columns_of(kind: str, shape: list[int], element: str) -> Columns:
    return Columns({"c": kind, "y": "label"}, "classification", {"c": shape}, {"c": element}, {})


def read(values: pa.Array, kind: str, shape: list[int], element: str) -> np.ndarray:
    table = typed(pa.table({"c": values}), columns_of(kind, shape, element), "a.parquet", 1, ["c"])
    return images(table, "c")


def inferred(values: pa.Array, declared: str | None = None) -> Columns:
    head = pa.table({"c": values, "y": ["a"] * len(values)})
    kinds = {"y": "label"} | ({"c": declared} if declared else {})
    none = Images(size=None, channels=None)
    return infer({"a.parquet": head}, kinds, "classification", images=none)


@pytest.mark.parametrize("form", FORMS)
def test_images_are_the_same_in_every_form(form):
    """However another program stored them, nested or flat, the pixels are equal."""
    assert read(FORMS[form], "image", [2, 3], "uint8").tolist() == PIXELS.tolist()


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ([[[1, 2, 3], [4, 5, 6]], [[1, 2], [3, 4]]], r"row 2, .*2 numbers where 3 belong"),
        ([[[1, 2, 3], [4, 5, 6]], [[1, 2, 3]]], r"row 2, .*1 numbers where 2 belong"),
        ([[1, 2, 3, 4, 5]], r"row 1, .*5 numbers where 6 belong"),
        ([[[[1, 2, 3]]]], "holds lists nested 3 deep"),
        ([[[1, 2, 3], [4, None, 6]]], "row 1, .*the image holds a missing value"),
        ([[[1, 2, 3], None]], "row 1, .*the image holds a missing value"),
        ([[[1, 2, 3], [4, 5, 6]], None], "row 2, .*the image is missing"),
    ],
)
def test_arrays_of_another_shape_are_named_with_their_row(values, problem):
    """Lists that are too short, too deep or incomplete are an error in one line."""
    with pytest.raises(SourceError, match=problem):
        read(pa.array(values), "image", [2, 3], "float32")


def test_a_matrix_is_a_vector_per_row():
    """An array of one axis is no image: each of its features is scaled by itself."""
    columns = inferred(image_array(kept_as(np.ones((5, 3)))))

    assert (columns.kinds["c"], columns.inferred["c"]) == ("vector", "it holds vectors")
    assert (columns.image_shapes["c"], columns.image_types["c"]) == ([3], "float64")


def test_vectors_keep_every_digit():
    """Seconds since 1970 differ by less than a 32-bit float tells apart."""
    seconds = np.array([[1.7e9, 0.0], [1.7e9 + 1, 1.0]])

    found = read(image_array(kept_as(seconds)), "vector", [2], "float64")

    assert found.tolist() == seconds.tolist()


def test_lists_of_one_length_are_vectors():
    """Embeddings are stored as lists by other programs."""
    columns = inferred(pa.array([[0.1, 0.2], [0.3, 0.4]]))

    assert (columns.kinds["c"], columns.image_shapes["c"]) == ("vector", [2])


def test_arrays_whose_entries_range_apart_are_no_images():
    """A table saved with an axis too many is refused, since pixels share one scale."""
    rng = np.random.default_rng(0)
    table = rng.normal(size=(50, 2, 3)) * [[1, 1, 1], [1, 1, 1e6]]

    with pytest.raises(SourceError, match=r"column 'c' .* ranges \S+ times as far as others"):
        inferred(image_array(kept_as(table)))

    assert inferred(image_array(kept_as(table)), "image").kinds["c"] == "image"


def test_images_with_rare_pixels_are_images():
    """Pixels at the border that are nearly always black have a small range beside the others."""
    rng = np.random.default_rng(0)
    pixels = rng.random((50, 4, 4)).astype(np.float32)
    pixels[:, 0] = 0
    pixels[7, 0, 0] = 1e-6

    assert inferred(image_array(pixels)).kinds["c"] == "image"


GREY = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
COLOURS = np.stack([GREY, GREY.T.reshape(3, 4), 255 - GREY], axis=-1)


def encoded(pixels: np.ndarray, form: str = "PNG", **options) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, form, **options)
    return out.getvalue()


def read_pictures(
    cells, *, size=None, channels=None, declared=None, source="a.parquet"
) -> np.ndarray:
    """The pictures of a column whose kind is inferred, or declared."""
    table = pa.table({"c": cells, "y": ["a"] * len(cells)})
    kinds = {"y": "label"} | ({"c": declared} if declared else {})
    how = Images(size=size, channels=channels)
    columns = infer({source: table}, kinds, "classification", images=how)
    assert columns.kinds["c"] == "image"
    return images(typed(table, columns, source, 1, ["c"]), "c")


def test_bytes_become_pixels():
    """Grey pictures are (height, width), coloured ones have their channels first."""
    assert read_pictures([encoded(GREY)]).tolist() == [GREY.tolist()]
    assert read_pictures([encoded(COLOURS)]).tolist() == [COLOURS.transpose(2, 0, 1).tolist()]


def test_jpeg_is_close():
    """A lossy picture has about the pixels that went into it."""
    smooth = np.full((16, 16), 100, np.uint8)

    found = read_pictures([encoded(smooth, "JPEG", quality=95)])

    assert np.abs(found[0].astype(int) - 100).max() <= 2


def test_dataset_hubs_store_bytes_beside_a_path():
    """The bytes are taken where there are any."""
    cells = pa.array([{"bytes": encoded(GREY), "path": "gone.png"}])

    assert read_pictures(cells).tolist() == [GREY.tolist()]


def test_paths_begin_at_the_folder_of_their_file(tmp_path):
    """A declared column of strings names files beside the table."""
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "one.png").write_bytes(encoded(GREY))

    found = read_pictures(["p/one.png"], declared="image", source=str(tmp_path / "a.csv"))

    assert found.tolist() == [GREY.tolist()]


def test_pictures_of_different_sizes_are_resized_to_the_declared_one():
    """Without a declared size, one of another size is named with its row."""
    cells = [encoded(GREY), encoded(np.full((9, 5), 7, np.uint8))]

    assert read_pictures(cells, size=(2, 2)).shape == (2, 2, 2)
    assert read_pictures(cells, size=(2, 2))[1].tolist() == [[7, 7], [7, 7]]
    with pytest.raises(SourceError, match=r"row 2, .* 9 x 5 pixels, others of 3 x 4; declare"):
        read_pictures(cells)


def test_channels_can_be_declared():
    """Grey and coloured pictures in one column become what is declared."""
    cells = [encoded(GREY), encoded(COLOURS)]

    assert read_pictures(cells, channels=1).shape == (2, 3, 4)
    assert read_pictures(cells, channels=3).shape == (2, 3, 3, 4)


def test_pictures_stand_upright():
    """A camera's note on how it was held is followed."""
    turned = Image.Exif()
    turned[0x0112] = 6
    out = io.BytesIO()
    Image.fromarray(GREY).save(out, "PNG", exif=turned)

    assert read_pictures([out.getvalue()]).shape == (1, 4, 3)


@pytest.mark.parametrize(
    ("cell", "problem"),
    [
        (b"not really", "row 2, .*not a picture that Pillow reads"),
        (encoded(GREY)[:45], "row 2, .*the picture does not decode"),
        (None, "row 2, .*the image is missing"),
        (encoded(GREY.astype(np.uint16)), "row 2, .*a picture of mode I;16, not of 8 bits"),
    ],
)
def test_what_is_no_picture_is_named_with_its_row(cell, problem):
    """A cell that does not decode is an error in one line."""
    with pytest.raises(SourceError, match=problem) as caught:
        read_pictures([encoded(GREY), cell])

    assert "\n" not in str(caught.value)


def test_a_picture_of_too_many_pixels_is_refused(monkeypatch):
    """A small file that stands for gigabytes of pixels is not decoded."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)

    with pytest.raises(SourceError, match="a picture of too many pixels"):
        read_pictures([encoded(GREY)])


def test_a_path_to_nothing_is_named():
    """The message says where paths begin."""
    with pytest.raises(SourceError, match=r"row 1, .*'gone.png': no such file; paths begin at"):
        read_pictures(["gone.png"], declared="image")
