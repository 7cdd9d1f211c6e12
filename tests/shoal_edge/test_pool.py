"""A pool on a device says what the pool in the workflow says."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import shoal
import shoal_edge
from shoal.formats.fitted_state import load_state, save_state
from shoal.formats.json_file import write_json
from shoal.pool.command import predict
from shoal_edge.command import main
from shoal_edge.errors import EdgeError
from shoal_edge.models import perceptron, perceptron_error
from tests.pool.conftest import reseal

TOWNS = ["x", "y", " x", "1e3", "nan", "unseen", "TRUE", "007", "2026-01-31 00:00", None]


def table(rows: int, seed: int = 0) -> dict[str, list]:
    """Numbers with gaps, and texts that are spelled in several ways."""
    rng = np.random.default_rng(seed)
    numbers = np.where(rng.random(rows) < 0.1, np.nan, rng.normal(size=rows) * 9)
    towns = [TOWNS[place] for place in rng.integers(len(TOWNS), size=rows)]
    return {"a": numbers.tolist(), "town": towns}


@pytest.fixture
def built_pool(two_pools):
    """A pool to read."""
    return two_pools[0]


@pytest.fixture
def small_pool(pool):
    """A pool to change."""
    return pool


def gate(folder, **changes):
    """Another gate."""
    content = json.loads((folder / "gate.json").read_text())
    write_json(folder / "gate.json", content | changes)
    reseal(folder)


def route_by_classifier(folder):
    """A router that scores by logistic regression, asking two."""
    tensors, meta = load_state(folder / "router.safetensors")
    rng = np.random.default_rng(1)
    own = {"weight": rng.normal(size=(3, 2)), "bias": rng.normal(size=2)}
    kept = {name: each for name, each in tensors.items() if name != "scale"}
    save_state(
        folder / "router.safetensors", kept | own, meta | {"method": "classifier", "top_k": 2}
    )
    gate(folder, shares={"-1": 1, "0": 0.5, "1": 1})


def route_by_neighbours(folder):
    """A router that scores by reference rows, and a threshold beyond which the base answers."""
    tensors, meta = load_state(folder / "router.safetensors")
    rng = np.random.default_rng(1)
    target = rng.random((9, 2))
    own = {
        "reference": rng.normal(size=(9, 3)).astype(np.float32),
        "target": (target / target.sum(axis=1, keepdims=True)).astype(np.float32),
        "neighbours": np.array([4]),
        "threshold": np.array([1.5]),
    }
    kept = {name: each for name, each in tensors.items() if name != "scale"}
    save_state(folder / "router.safetensors", kept | own, meta | {"method": "knn", "top_k": 2})
    reseal(folder)


def grow(folder):
    """A third partition inside the first, with a guard."""
    from shoal.cluster.assigner import assigner_from_state

    tensors, meta = load_state(folder / "router.safetensors")
    start = "assigner."
    own = {n.removeprefix(start): each for n, each in tensors.items() if n.startswith(start)}
    assigner = assigner_from_state(own, meta["assigner"])
    grown = assigner.grown(
        np.array([[-0.5, 1, 0]], np.float32),
        np.zeros(1, np.int32),
        np.array([[-0.3, 1, 0]], np.float32),
    )
    state = grown.state()
    renamed = {start + name: each for name, each in state.tensors.items()}
    save_state(
        folder / "router.safetensors", tensors | renamed, meta | {"assigner": dict(state.meta)}
    )
    reseal(folder, partitions=3)
    gate(folder, shares={"-1": 1, "0": 0.5, "1": 1})


def route_by_column(folder):
    """A partition per town."""
    tensors, meta = load_state(folder / "router.safetensors")
    kept = {name: each for name, each in tensors.items() if not name.startswith("assigner.")}
    rows = {"assigner.rows": np.array([3, 1])}
    assigner = {"assigner": "column", "column": "town", "values": ["x", "True"], "training_rows": 4}
    save_state(folder / "router.safetensors", kept | rows, meta | {"assigner": assigner})
    gate(folder, shares={"-1": 1, "0": 0.5, "1": 1})


def soften(folder):
    """Two specialists a row, and as much of the generalist as the leading one leaves."""
    gate(folder, shares={"-1": 0, "0": 0.5, "1": 0.25}, softness=4.0)


def only_base(folder):
    """No partition has a specialist."""
    tensors, meta = load_state(folder / "router.safetensors")
    save_state(folder / "router.safetensors", tensors, meta | {"trained": []})
    gate(folder, shares={"-1": 0.5})
    for path in (folder / "specialists").iterdir():
        path.unlink()
    manifest = json.loads((folder / "manifest.json").read_text())
    files = {name: each for name, each in manifest["files"].items() if "/" not in name}
    write_json(folder / "manifest.json", manifest | {"files": files, "specialists": []})


POOLS = {
    "plain": lambda folder: None,
    "softened": soften,
    "classifier": route_by_classifier,
    "neighbours": route_by_neighbours,
    "grown": grow,
    "column": route_by_column,
    "base": only_base,
}


@pytest.mark.parametrize("change", POOLS.values(), ids=POOLS)
def test_a_device_says_what_the_workflow_says(small_pool, change):
    """The same partitions and distances to the bit; probabilities within float32's rounding."""
    change(small_pool)
    rows = table(700)

    found = shoal_edge.Pool.load(small_pool).predict(rows)

    said = shoal.load(small_pool).predict(pa.table(rows)).to_pandas()
    np.testing.assert_array_equal(found.partition, said["partition"])
    np.testing.assert_array_equal(found.distance, said["distance"].to_numpy())
    leads = {soften: {-2}, only_base: {-1}, grow: {-1, 0, 1}, route_by_column: {-1, 0, 1}}
    assert set(found.partition.tolist()) == leads.get(change, set(said["partition"]))
    np.testing.assert_allclose(found.probability, said["probability"], rtol=0, atol=1e-6)
    near = np.abs(said["probability"] - 0.5) < 1e-6
    assert ((found.prediction == said["prediction"]) | near).all()


@pytest.mark.parametrize(
    ("depth", "width", "features"), [(0, 1, 5), (1, 3, 3), (2, 32, 20), (4, 64, 300)]
)
def test_the_network_of_numpy_is_that_of_torch_within_the_bound(depth, width, features):
    """Of any order of additions; far from it, a few units in the last place of the largest."""
    import torch

    from shoal.models import MLP
    from shoal.training.model import weights

    torch.manual_seed(depth)
    net = MLP(features, 4, width, depth)
    tensors = weights(net)
    rng = np.random.default_rng(depth)
    x = (rng.normal(size=(512, features)) * np.exp(rng.normal(size=(512, 1)))).astype(np.float32)

    found = perceptron(tensors, x)

    with torch.no_grad():
        said = net(torch.from_numpy(x)).numpy()
    difference = np.abs(found - said)
    assert (difference <= perceptron_error(tensors, x)).all()
    largest = np.abs(x).max(axis=1, keepdims=True)
    assert (difference <= 4e-6 * largest).all()


def test_a_row_is_predicted_alone_as_in_a_batch(built_pool):
    """To the last bit."""
    pool, rows = shoal_edge.Pool.load(built_pool), table(300)

    together = pool.predict(rows)

    for row in range(0, 300, 7):
        alone = pool.predict({name: values[row : row + 1] for name, values in rows.items()})
        for one, many in zip(alone, together, strict=True):
            assert one[0] == many[row]


def test_a_device_holds_the_weights_of_the_trainer(built_pool):
    """Every tensor of every expert has the bits that torch has."""
    device, workflow = shoal_edge.Pool.load(built_pool), shoal.load(built_pool)

    assert device._weights.keys() == workflow.experts.models.keys()
    for expert, module in workflow.experts.models.items():
        state = module.state_dict()
        assert state.keys() == device._weights[expert].keys()
        for name, tensor in state.items():
            assert tensor.numpy().tobytes() == device._weights[expert][name].tobytes()


@pytest.mark.parametrize(
    "rows",
    [
        {"a": np.array([0.1, 2], np.float32), "town": np.array(["x", "y"])},
        {"a": np.array([1, 0]), "town": np.array([1000, 7])},
        {"a": [True, False], "town": [True, None]},
        {"a": [" 1.5 ", "NA"], "town": [1.50, float("nan")]},
        {"a": ["+.5e1", "True"], "town": ["1.50", "+3"]},
        {"a": [None, 3], "town": np.array(["2026-01-31", "2026-01-31T12:30"], "datetime64[s]")},
    ],
)
def test_cells_mean_what_they_mean_in_a_table(built_pool, rows):
    """Whatever type they are of; so do those of a data frame."""
    frame = pd.DataFrame({name: list(values) for name, values in rows.items()})
    columns = {
        name: getattr(values, "tolist", lambda v=values: v)() for name, values in rows.items()
    }
    del columns
    workflow, device = shoal.load(built_pool), shoal_edge.Pool.load(built_pool)

    arrow = {name: pa.array(values, from_pandas=True) for name, values in rows.items()}
    said = workflow.predict(pa.table(arrow)).to_pandas()

    for given in (rows, frame):
        found = device.predict(given)
        np.testing.assert_array_equal(found.distance, said["distance"].to_numpy())


def test_no_rows_have_no_predictions(built_pool):
    """Of a column of nothing."""
    found = shoal_edge.Pool.load(built_pool).predict({"a": [], "town": []})

    assert [len(values) for values in found] == [0, 0, 0, 0]


def test_encoded_rows_are_predicted_as_their_rows(built_pool):
    """Where the encoder is known they are the same, and other shapes are refused."""
    pool, rows = shoal_edge.Pool.load(built_pool), table(50)
    workflow = shoal.load(built_pool)
    x = workflow.encoder.encode(workflow.pipeline.predict(typed(workflow, rows), "input"))

    found = pool.predict_encoded(x)

    for one, other in zip(found, pool.predict(rows), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(EdgeError, match=r"^encoded rows are float32 of shape \(rows, 3\), not"):
        pool.predict_encoded(x[:, :2])


def typed(pool, rows):
    """Rows as the workflow types them."""
    from shoal.sources.columns import typed_inputs

    return typed_inputs(pa.table(rows), pool.columns, "input")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"a": [1]}, "input: has no column 'town' among 'a'"),
        ({"a": ["1", "b"], "town": ["x", "x"]}, "row 2, column 'a': 'b' is not a number"),
        ({"a": [np.inf], "town": ["x"]}, "row 1, column 'a': inf is infinite"),
        ({"a": [[1, 2]], "town": ["x"]}, r"row 1, column 'a': \[1, 2\] is not a number"),
        ({"a": [1], "town": [b"x"]}, "row 1, column 'town': b'x' is neither text"),
        ({"a": [1, 2], "town": ["x"]}, r"its columns have \[1, 2\] rows"),
        ({"a": [1e300], "town": ["x"]}, r"1e\+300 is not finite once encoded"),
    ],
)
def test_rows_that_cannot_be_used_are_refused(built_pool, rows, message):
    """In a line that names row, column and value."""
    with pytest.raises(EdgeError, match=message):
        shoal_edge.Pool.load(built_pool).predict(rows)


def test_the_command_writes_what_the_workflow_s_does(built_pool, tmp_path):
    """From the same file: quoted cells, empty ones, blank lines and more rows than a batch."""
    rows = tmp_path / "rows.csv"
    frame = pd.DataFrame(table(9000))
    frame.insert(1, "other", 'with, "quotes"\nand lines')
    frame.to_csv(rows, index=False)
    rows.write_text(rows.read_text() + "\n\n")

    main(["predict", str(built_pool), str(rows), "--out", str(tmp_path / "device.csv")])

    predict(built_pool, rows, tmp_path / "workflow.csv", ())
    found, said = (
        pd.read_csv(tmp_path / name, dtype={"prediction": str})
        for name in ("device.csv", "workflow.csv")
    )
    assert list(found) == list(said)
    assert len(found) == 9000
    np.testing.assert_array_equal(found["partition"], said["partition"])
    np.testing.assert_array_equal(found["distance"], said["distance"])
    np.testing.assert_allclose(found["probability"], said["probability"], atol=1e-6)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("a,town\n1\n", "row 1 has 1 cells, but there are 2 columns"),
        ("a,a\n1,1\n", "column 'a' is there 2 times"),
        ("a,town\n1,x\nz,x\n", "row 2, column 'a': 'z' is not a number"),
        ('a,town\n1,"x', "not readable as CSV"),
        (None, "no such file"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line_and_code_2(
    built_pool, tmp_path, capsys, content, message
):
    """Nothing is written, and nothing is left behind."""
    rows = tmp_path / "rows.csv"
    if content is not None:
        rows.write_text(content)

    with pytest.raises(SystemExit) as ended:
        main(["predict", str(built_pool), str(rows), "--out", str(tmp_path / "out.csv")])

    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"shoal-edge: error: {rows}: ")
    assert message in said
    assert said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == (
        ["rows.csv"] if content is not None else []
    )


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("base.safetensors", lambda old: old[:-1] + b"\1", "does not match its hash"),
        ("base.safetensors", None, "no such file"),
        ("manifest.json", lambda old: b"{", "not a pool's manifest"),
        ("manifest.json", lambda old: old.replace(b'"format": 4', b'"format": 5'), "format 5"),
    ],
)
def test_a_damaged_pool_is_refused(small_pool, name, change, message):
    """In a line that names the file."""
    path = small_pool / name
    if change is None:
        path.unlink()
    else:
        before = path.read_bytes()
        path.write_bytes(change(before))
        assert path.read_bytes() != before

    with pytest.raises(EdgeError, match=message):
        shoal_edge.Pool.load(small_pool)


def other_encoder(folder):
    """A category as n-grams, which only the workflow knows."""
    tensors, meta = load_state(folder / "encoder.safetensors")
    meta["encoders"][1]["spec"] = {"encoder": "ngrams"}
    save_state(folder / "encoder.safetensors", tensors, meta, recorded=False)
    reseal(folder)


def other_step(folder):
    """A function of the user's."""
    content = json.loads((folder / "transform.json").read_text())
    content["steps"][0] |= {"step": "function", "options": {"training_only": False}}
    write_json(folder / "transform.json", content)
    reseal(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_encoder, "encodes column 'town' by 'ngrams', which devices do not have; give enc"),
        (other_step, "transforms rows by 'function', which devices do not have; give encoded"),
    ],
)
def test_what_devices_cannot_encode_they_take_encoded(small_pool, change, message):
    """They say so in a line, and go on with encoded rows."""
    change(small_pool)
    pool = shoal_edge.Pool.load(small_pool)

    assert len(pool.predict_encoded(np.zeros((2, 3), np.float32)).partition) == 2
    with pytest.raises(EdgeError, match=message):
        pool.predict(table(2))


def test_rows_of_a_group_are_refused_where_they_share_a_route(small_pool):
    """Without the column each row has a route of its own, as in the workflow."""
    columns = json.loads((small_pool / "columns.json").read_text())
    columns["kinds"]["street"] = "group"
    write_json(small_pool / "columns.json", columns)
    reseal(small_pool, route_by="street")
    pool = shoal_edge.Pool.load(small_pool)

    assert len(pool.predict(table(2)).partition) == 2
    with pytest.raises(EdgeError, match="rows of one 'street' share a route"):
        pool.predict(table(2) | {"street": ["p", "q"]})


def test_a_network_as_embedder_is_refused(small_pool):
    """In a line that says why."""
    save_state(
        small_pool / "embedder.safetensors", {}, {"method": "scarf", "x_shape": [3], "prefix": None}
    )
    reseal(small_pool)

    with pytest.raises(EdgeError, match="embeds rows by scarf, a network of torch's"):
        shoal_edge.Pool.load(small_pool)


def test_a_pool_that_a_patch_replaces_while_it_is_loaded_is_the_new_one(
    built_pool, small_pool, monkeypatch
):
    """Files of two pools are never mixed: it begins anew."""
    from shoal_edge import pool as module

    soften(small_pool)
    held = small_pool.with_name("held")
    real = module.embedder

    def patched(state):
        if not held.exists():
            held.mkdir()
            base = small_pool / "base.safetensors"
            tensors, meta = load_state(base)
            moved = {name: each + np.float32(1) for name, each in tensors.items()}
            save_state(base, moved, meta)
            reseal(small_pool)
        return real(state)

    monkeypatch.setattr(module, "embedder", patched)

    loaded = shoal_edge.Pool.load(small_pool)

    assert loaded.manifest == json.loads((small_pool / "manifest.json").read_text())


def test_a_device_imports_neither_torch_nor_the_workflow(built_pool, tmp_path):
    """Nor pandas, pyarrow and pydantic."""
    rows = tmp_path / "rows.csv"
    pd.DataFrame(table(3)).to_csv(rows, index=False)
    out = tmp_path / "out.csv"
    others = ["torch", "shoal", "pandas", "pyarrow", "pydantic", "scipy", "onnxruntime"]
    code = (
        "import sys; from shoal_edge.command import main; main(sys.argv[1:]);"
        f"print(sorted(set({others}) & set(sys.modules)))"
    )
    arguments = ["predict", built_pool, rows, "--out", out]

    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.splitlines()[-1] == "[]"
    assert len(out.read_text().splitlines()) == 4
