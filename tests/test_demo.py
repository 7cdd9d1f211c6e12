import numpy as np
import pyarrow.parquet as pq
import pytest

from shoal.demo import DEMO_SHARDS, orientation_of, write_demo


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The demo's source files."""
    return write_demo(tmp_path_factory.mktemp("demo"))


def columns(path):
    table = pq.read_table(path)
    images = table["image"].combine_chunks().to_numpy_ndarray()
    return np.array(table["id"].to_pylist()), images, table["label"].to_numpy()


def test_files_and_columns(demo):
    """Eight files hold every digit in four orientations, each row once; no column says which."""
    assert [path.stem for path in demo] == list(DEMO_SHARDS)
    ids = np.concatenate([columns(path)[0] for path in demo])

    assert len(ids) == len(set(ids.tolist())) == 4 * 1797
    assert pq.read_schema(demo[0]).names == ["id", "image", "label"]
    assert pq.read_schema(demo[0]).field("image").type.shape == [8, 8]


def test_labels_depend_on_digit_and_orientation(demo):
    """A label is the digit plus three for each quarter turn, and the picture is turned."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    for path in demo:
        ids, images, labels = columns(path)
        turns = orientation_of(ids)
        numbers = np.array([int(identity[:4]) for identity in ids])
        assert (labels == (digits.target[numbers] + 3 * turns) % 10).all()
        for row in (0, 1, 2, 3):
            assert (images[row] == np.rot90(digits.images[numbers[row]], turns[row])).all()


def test_every_file_holds_every_kind(demo):
    """Each file has all four orientations and all ten labels."""
    for path in demo:
        ids, _, labels = columns(path)
        assert set(orientation_of(ids).tolist()) == {0, 1, 2, 3}
        assert len(set(labels.tolist())) == 10


def test_the_demo_is_the_same_bytes(demo, tmp_path):
    """Written twice, the files are equal to the byte."""
    again = write_demo(tmp_path)

    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in demo]
