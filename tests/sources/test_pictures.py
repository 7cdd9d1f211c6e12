"""Columns whose cells are encoded pictures, as bytes or as paths."""

import io

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from shoal.errors import SourceError
from shoal.formats.tables import images
from shoal.settings.data import Images
from shoal.sources.columns import typed
from shoal.sources.inference import infer

GREY = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
COLOURS = np.stack([GREY, GREY.T.reshape(3, 4), 255 - GREY], axis=-1)


def encoded(pixels: np.ndarray, form: str = "PNG", **options) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, form, **options)
    return out.getvalue()


def read(cells, *, size=None, channels=None, declared=None, source="a.parquet") -> np.ndarray:
    """The pictures of a column whose kind is inferred, or declared."""
    table = pa.table({"c": cells, "y": ["a"] * len(cells)})
    kinds = {"y": "label"} | ({"c": declared} if declared else {})
    how = Images(size=size, channels=channels)
    columns = infer({source: table}, kinds, "classification", images=how)
    assert columns.kinds["c"] == "image"
    return images(typed(table, columns, source, 1, ["c"]), "c")


def test_bytes_become_pixels():
    """Grey pictures are (height, width), coloured ones have their channels first."""
    assert read([encoded(GREY)]).tolist() == [GREY.tolist()]
    assert read([encoded(COLOURS)]).tolist() == [COLOURS.transpose(2, 0, 1).tolist()]


def test_jpeg_is_close():
    """A lossy picture has about the pixels that went into it."""
    smooth = np.full((16, 16), 100, np.uint8)

    found = read([encoded(smooth, "JPEG", quality=95)])

    assert np.abs(found[0].astype(int) - 100).max() <= 2


def test_dataset_hubs_store_bytes_beside_a_path():
    """The bytes are taken where there are any."""
    cells = pa.array([{"bytes": encoded(GREY), "path": "gone.png"}])

    assert read(cells).tolist() == [GREY.tolist()]


def test_paths_begin_at_the_folder_of_their_file(tmp_path):
    """A declared column of strings names files beside the table."""
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "one.png").write_bytes(encoded(GREY))

    found = read(["p/one.png"], declared="image", source=str(tmp_path / "a.csv"))

    assert found.tolist() == [GREY.tolist()]


def test_pictures_of_different_sizes_are_resized_to_the_declared_one():
    """Without a declared size, one of another size is named with its row."""
    cells = [encoded(GREY), encoded(np.full((9, 5), 7, np.uint8))]

    assert read(cells, size=(2, 2)).shape == (2, 2, 2)
    assert read(cells, size=(2, 2))[1].tolist() == [[7, 7], [7, 7]]
    with pytest.raises(SourceError, match=r"row 2, .* 9 x 5 pixels, others of 3 x 4; declare"):
        read(cells)


def test_channels_can_be_declared():
    """Grey and coloured pictures in one column become what is declared."""
    cells = [encoded(GREY), encoded(COLOURS)]

    assert read(cells, channels=1).shape == (2, 3, 4)
    assert read(cells, channels=3).shape == (2, 3, 3, 4)


def test_pictures_stand_upright():
    """A camera's note on how it was held is followed."""
    turned = Image.Exif()
    turned[0x0112] = 6
    out = io.BytesIO()
    Image.fromarray(GREY).save(out, "PNG", exif=turned)

    assert read([out.getvalue()]).shape == (1, 4, 3)


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
        read([encoded(GREY), cell])

    assert "\n" not in str(caught.value)


def test_a_picture_of_too_many_pixels_is_refused(monkeypatch):
    """A small file that stands for gigabytes of pixels is not decoded."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)

    with pytest.raises(SourceError, match="a picture of too many pixels"):
        read([encoded(GREY)])


def test_a_path_to_nothing_is_named():
    """The message says where paths begin."""
    with pytest.raises(SourceError, match=r"row 1, .*'gone.png': no such file; paths begin at"):
        read(["gone.png"], declared="image")
