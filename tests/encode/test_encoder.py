"""All columns together, and their commands."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from shoal.encode.command import encode, encode_fit
from shoal.encode.encoder import Encoder
from shoal.errors import DataError, SettingsError
from shoal.formats import tables
from shoal.formats.row_store import ShardRows
from shoal.formats.tables import UNIT
from tests.encode.columns import OWN


def test_columns_are_joined_in_order(kinds, table, shard, settings):
    """Features of all columns lie side by side, named, whatever the shard's other rows."""
    encoder = Encoder.fit(settings(), kinds, {"s": shard(table)})

    x = encoder.encode(table)

    assert encoder.feature_names[:6] == ["n", "n (missing)", "c=u", "c=v", "c (missing)", "t#0"]
    assert encoder.x_shape == (5 + 32,)
    assert x.shape == (6, 37)
    assert x.dtype == np.float32
    assert x[4, 2:5].tolist() == [0, 0, 0]
    assert encoder.labels(table).tolist() == [1, 0, 1, 0, 1, -1]
    assert (encoder.classes, encoder.outputs, encoder.training_rows) == (["p", "q"], 2, 4)


def test_other_folds_change_no_fitted_state(kinds, table, shard, settings, tmp_path):
    """Only training rows are fitted on."""
    Encoder.fit(settings(), kinds, {"s": shard(table)}).save(tmp_path / "all")
    Encoder.fit(settings(), kinds, {"s": shard(table.slice(0, 4))}).save(tmp_path / "training")

    assert (tmp_path / "all").read_bytes() == (tmp_path / "training").read_bytes()


def test_one_image_keeps_its_shape(columns, rows, shard, settings):
    """A single image column gives tensors of the image's shape."""
    kinds = columns(i="image", y="label")
    table = rows(kinds, "ab", [0, 0], i=[[[9, 9], [9, 9]], [[5, 9], [5, 5]]], y=["p", "q"])

    encoder = Encoder.fit(settings(), kinds, {"s": shard(table)})
    encoded = encoder.encode(table)

    assert encoder.x_shape == (2, 2)
    assert encoded[1, 0, 1] == encoded[0, 0, 0] > encoded[1, 0, 0]


def of_vectors(vectors, kind="vector"):
    """Columns v and y, and a table of training rows."""
    shape, element = list(vectors.shape[1:]), str(vectors.dtype)
    columns = tables.Columns(
        {"v": kind, "y": "label"}, "classification", {"v": shape}, {"v": element}, {}
    )
    count = len(vectors)
    arrays = {
        "v": tables.image_array(vectors),
        "y": pa.array(["p", "q"] * (count // 2)),
        tables.KEY: pa.array([bytes([n] * 16) for n in range(count)], pa.binary(16)),
        tables.FOLD: pa.array([0] * count, pa.uint8()),
        tables.SOURCE: pa.array([bytes([n] * 16) for n in range(count)], pa.binary(16)),
    }
    return columns, pa.table(arrays, schema=columns.schema())


def test_each_feature_of_a_vector_has_its_own_scale(shard, settings):
    """A feature that differs in the last of ten digits is as wide as any other."""
    feature = np.array([1, 2, 1, 2], dtype=np.float64)
    columns, table = of_vectors(np.stack([1e9 + feature, feature / 1e6], axis=1))

    x = Encoder.fit(settings(), columns, {"s": shard(table)}).encode(table)

    assert x.tolist() == [[-1, -1], [1, 1]] * 2


def test_a_number_that_varies_must_not_become_constant(shard, settings):
    """One scale for all entries loses a small one beside a large one: an error, not a warning."""
    small = np.array([1, 2, 1, 2], dtype=np.float32)
    columns, table = of_vectors(np.stack([small * 1e12, small], axis=1), "image")

    with pytest.raises(DataError, match="column 'v', entry 1 varies, but is constant once encoded"):
        Encoder.fit(settings(), columns, {"s": shard(table)})


def test_an_image_among_others_is_flat(columns, rows, shard, settings):
    """An image beside another column is flattened into the features."""
    kinds = columns(i="image", n="numeric", y="label")
    pixels = [[[0, 8], [0, 8]], [[8, 0], [0, 8]]]
    table = rows(kinds, "ab", [0, 0], i=pixels, n=[1, 3], y=["p", "q"])

    encoder = Encoder.fit(settings(), kinds, {"s": shard(table)})

    assert encoder.encode(table).tolist() == [[-1, 1, -1, 1, -1], [1, -1, -1, 1, 1]]


def test_classes_come_from_all_rows_not_from_the_sample(columns, rows, shard, settings):
    """A class outside the sample that encoders are fitted on still has a code."""
    kinds = columns(n="numeric", y="label")
    table = rows(kinds, "abcd", [0, 0, 0, 1], n=[1, 2, 3, 4], y=["p", "q", "r", "s"])

    encoder = Encoder.fit(settings(fit_rows=1), kinds, {"s": shard(table)})

    assert encoder.classes == ["p", "q", "r"]
    assert encoder.training_rows == 3


def test_regression_labels_are_standardised(columns, rows, shard, settings):
    """Numbers come out with mean 0, as one output, and decode to their unit."""
    kinds = columns(task="regression", n="numeric", y="label")
    table = rows(kinds, "ab", [0, 0], n=[1, 2], y=[100.0, 300.0])

    encoder = Encoder.fit(settings(), kinds, {"s": shard(table)})

    assert (encoder.outputs, encoder.classes) == (1, None)
    assert encoder.decode(encoder.labels(table)).tolist() == [100.0, 300.0]


def test_a_row_to_predict_needs_no_label(kinds, table, shard, settings):
    """Inputs alone are enough to encode, in any number, none included."""
    encoder = Encoder.fit(settings(), kinds, {"s": shard(table)})
    new = table.select(["n", "c", "t"])

    assert encoder.encode(new).tobytes() == encoder.encode(table).tobytes()
    assert encoder.encode(new.slice(0, 0)).shape == (0, 37)


def test_the_fit_is_the_same_in_any_order_and_cut(kinds, table, shard, settings, tmp_path):
    """Shards in another order, or cut elsewhere, give the same bytes."""
    own = {"n": {"encoder": "quantile"}, "c": {"encoder": "target"}}
    one = {"a": shard(table, "a")}
    two = {"z": shard(table.slice(0, 2), "z"), "b": shard(table.slice(2), "b")}

    Encoder.fit(settings(**own), kinds, one).save(tmp_path / "one")
    Encoder.fit(settings(**own), kinds, two).save(tmp_path / "two")

    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_every_column_is_encoded_by_its_own_encoder(kinds, table, shard, settings):
    """Not the first encoder alone: each column's features are those that it would have alone."""
    own = {
        "n": {"encoder": "rank"},
        "c": {"encoder": "ordinal"},
        "t": {"encoder": "sequence_one_hot", "alphabet": "red", "length": 4},
    }
    shards = {"s": shard(table)}
    columns_alone = []
    for name, spec in own.items():
        rest = {other: "ignore" for other in own if other != name}
        alone = tables.Columns(kinds.kinds | rest, kinds.task, {}, {}, {})
        x = Encoder.fit(settings(**{name: spec}), alone, shards).encode(table)
        columns_alone.append(x.reshape(len(table), -1))

    encoded = Encoder.fit(settings(**own), kinds, shards).encode(table)

    assert [part.shape[1] for part in columns_alone] == [2, 1, 4 * 3]
    assert encoded.tobytes() == np.concatenate(columns_alone, axis=1).tobytes()


@pytest.mark.parametrize("own", ["one_hot", "ordinal", "rank", "sequence", "target", "power"])
def test_codes_depend_neither_on_the_batch_nor_on_the_fold(
    columns, rows, shard, settings, tmp_path, own
):
    """An encoder is fitted once: the same values have the same code in any batch, shard, fold."""
    kinds = columns(n="numeric", y="label", c="categorical", t="text")
    values = {
        "n": [3, 1, 2, None, 5, 4] * 2,
        "c": ["u", "v", "w", "u", None, "w"] * 2,
        "t": ["red", "blue", "bed", None, "lure", "r"] * 2,
        "y": ["p", "q"] * 6,
    }
    both = rows(kinds, range(12), [0] * 6 + [1, 2, 1, 2, 1, 2], **values)
    kinds.save(tmp_path / "columns.json")
    state, shapes = tmp_path / "state.safetensors", tmp_path / "shapes.json"
    encode_fit(
        settings(**OWN[own]), tmp_path / "columns.json", {"s": shard(both).path}, state, shapes
    )

    def encoded(name, part):
        encode(shard(part, name).path, name, state, "c", tmp_path / f"{name}.zarr.zip")
        with ShardRows(tmp_path / f"{name}.zarr.zip") as store:
            return store.read("x"), store.read("y")

    x, y = encoded("whole", both)
    parts = [encoded(f"part{start}", both.slice(start, 5)) for start in (0, 5, 10)]

    assert (x[:6] == x[6:]).all()
    assert len(np.unique(x[:6].reshape(6, -1), axis=0)) > 2
    assert np.concatenate([part for part, _ in parts]).tobytes() == x.tobytes()
    assert np.concatenate([part for _, part in parts]).tolist() == y.tolist()


def test_a_sequence_keeps_its_places_and_letters(columns, rows, shard, settings):
    """A single text column gives tensors (length, letters), as a convolution wants them."""
    kinds = columns(t="text", y="label")
    table = rows(kinds, "ab", [0, 0], t=["ACGT", "TT"], y=["p", "q"])
    own = {"t": {"encoder": "sequence_one_hot", "alphabet": "dna"}}

    encoder = Encoder.fit(settings(**own), kinds, {"s": shard(table)})

    assert encoder.x_shape == (4, 4)
    assert encoder.encode(table)[0].tolist() == np.eye(4).tolist()


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"m": {"encoder": "scale"}}, r"encode\.columns: there is no input column 'm'"),
        ({"y": {"encoder": "ordinal"}}, "there is no input column 'y'"),
        ({"n": {"encoder": "one_hot"}}, "but column 'n' is numeric"),
    ],
)
def test_columns_that_do_not_fit_are_refused(kinds, table, shard, settings, own, message):
    """An encoder for no input column, or for another kind, is named."""
    with pytest.raises(SettingsError, match=message):
        Encoder.fit(settings(**own), kinds, {"s": shard(table)})


def test_kinds_are_checked(kinds, table, shard, settings):
    """Every kind has an encoder, and there are no others."""
    given = settings()
    without = given.model_copy(update={"kinds": {"numeric": {"encoder": "scale"}}})
    unknown = given.model_copy(update={"kinds": given.kinds | {"numerc": {}}})

    with pytest.raises(SettingsError, match="column 'c' is categorical, which has no encoder"):
        Encoder.fit(without, kinds, {"s": shard(table)})
    with pytest.raises(SettingsError, match="no kind of column 'numerc'; did you mean 'numeric'"):
        Encoder.fit(unknown, kinds, {"s": shard(table)})


def test_no_inputs_and_no_training_rows(columns, kinds, table, rows, shard, settings):
    """Nothing to encode, or nobody to learn from, is said."""
    bare = columns(y="label")
    with pytest.raises(DataError, match="there is no input column"):
        Encoder.fit(settings(), bare, {"s": shard(rows(bare, "a", [0], y=["p"]))})
    with pytest.raises(DataError, match="no training row reaches encode"):
        Encoder.fit(settings(), kinds, {"s": shard(table.slice(4))})


def test_a_value_that_is_not_finite_is_named(columns, rows, shard, settings, tmp_path):
    """A number too large for float32 is named with shard, row, column and value."""
    kinds = columns(n="numeric", y="label")
    own = settings(n={"encoder": "passthrough"})
    table = rows(kinds, "abc", [0, 0, 1], n=[1, 2, 1e300], y=["p", "q", "p"])
    kinds.save(tmp_path / "columns.json")
    source = shard(table, "far").path
    encode_fit(own, tmp_path / "columns.json", {"far": source}, tmp_path / "s", tmp_path / "j")

    with pytest.raises(
        DataError, match=r"far \(transformed\): row 3, column 'n': 1e\+300 is not finite"
    ):
        encode(source, "far", tmp_path / "s", "c", tmp_path / "out.zarr.zip")
    assert not (tmp_path / "out.zarr.zip").exists()


def test_a_label_that_is_not_finite_is_named(columns, rows, shard, settings):
    """A label too large once standardised is named with shard, row, column and value."""
    kinds = columns(task="regression", n="numeric", y="label")
    table = rows(kinds, "abc", [0, 0, 1], n=[1, 2, 3], y=[1, 2, 1e300])
    encoder = Encoder.fit(settings(), kinds, {"s": shard(table)})

    with pytest.raises(DataError, match=r"input: row 13, column 'y': 1e\+300 is not finite"):
        encoder.labels(table, offset=10)


def test_commands_write_every_row(kinds, table, shard, settings, tmp_path):
    """Arrays are row by row those of the table; the shapes say what a model must fit."""
    kinds.save(tmp_path / "columns.json")
    source = shard(table)
    state, out = tmp_path / "state.safetensors", tmp_path / "out.zarr.zip"

    encode_fit(
        settings(), tmp_path / "columns.json", {"s": source.path}, state, tmp_path / "shapes.json"
    )
    encode(source.path, "s", state, "c", out)

    shapes = json.loads((tmp_path / "shapes.json").read_text())
    assert shapes["x_shape"] == [37]
    assert (shapes["outputs"], shapes["classes"], shapes["task"]) == (2, ["p", "q"], kinds.task)
    assert (shapes["training_rows"], shapes["trusted"]) == (4, [])
    assert len(shapes["feature_names"]) == 37
    encoder = Encoder.load(state)
    with ShardRows(out) as stored:
        x, y = stored.read("x"), stored.read("y")
        assert stored.attributes["rows_in"] == stored.rows == 6
        assert x.tobytes() == encoder.encode(table).tobytes()
        assert y.tolist() == [1, 0, 1, 0, 1, -1]
        assert stored.read("fold").tolist() == [0, 0, 0, 0, 1, 3]
        assert [row.tobytes() for row in stored.read("key")] == table["_key"].to_pylist()


def test_a_shard_without_rows_is_written(kinds, table, shard, settings, tmp_path):
    """A shard that transform emptied is an empty store."""
    Encoder.fit(settings(), kinds, {"s": shard(table)}).save(tmp_path / "state.safetensors")
    empty = shard(table.slice(0, 0), "empty")

    encode(empty.path, "empty", tmp_path / "state.safetensors", "c", tmp_path / "out.zarr.zip")

    with ShardRows(tmp_path / "out.zarr.zip") as stored:
        assert stored.rows == 0
        assert stored.row_array("x").shape == (37,)


def test_a_rows_unit_counts_outside_training_alone(columns, rows, shard, settings, tmp_path):
    """Another unit changes what halves and tests are made of, and nothing that is trained."""
    kinds = columns(n="numeric", y="label")
    table = rows(kinds, "abcd", [0, 0, 1, 2], n=[1, 2, 3, 4], y=["p", "q", "p", "q"])
    Encoder.fit(settings(), kinds, {"s": shard(table)}).save(tmp_path / "state.safetensors")
    hashes = {}
    for name, units in (("none", None), ("one", [1, 1, 2, 3]), ("other", [7, 8, 9, 3])):
        own = table if units is None else table.append_column(UNIT, pa.array(units, pa.uint64()))
        out = tmp_path / f"{name}.zarr.zip"
        encode(shard(own, name).path, name, tmp_path / "state.safetensors", "c", out)
        with ShardRows(out) as stored:
            hashes[name] = [row.tobytes() for row in stored.read("hash")]
            assert units == (stored.read("unit").tolist() if "unit" in stored else None)

    assert hashes["none"][:2] == hashes["one"][:2] == hashes["other"][:2]
    same = [a == b for a, b in zip(hashes["one"], hashes["other"], strict=True)]
    assert same == [True, True, False, True]
