"""Networks of any class on devices, as ONNX graphs whose weights are inputs."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

import shoal
import shoal_edge
from shoal.deploy.patches import deploy_patch
from shoal.errors import ModelError, SettingsError
from shoal.formats.fitted_state import load_state, save_state
from shoal.settings.deploying import Exact
from shoal_edge.errors import EdgeError
from shoal_edge.folder import apply
from shoal_edge.models import GRAPH
from shoal_edge.patch import Patch, room
from tests.deploy.test_command import made
from tests.pool.conftest import build_pool, reseal
from tests.shoal_edge.conftest import change

TRUST = ["tests.shoal_edge.net"]
ROWS = {"a": np.linspace(-30, 30, 700), "town": ["x", "y", None, "z"] * 175}

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
from shoal.deploy.graph import add_graph  # noqa: E402 - after the packages that it needs


def build(folder, network):
    """A pool of a network of the tests."""
    target = f"tests.shoal_edge.net.{network}"
    model = {"_target_": target, "features": "data:features", "outputs": "data:outputs"}
    folder.mkdir()
    return build_pool(folder, model=model)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A pool whose network is not Shoal's."""
    return build(tmp_path_factory.mktemp("graph") / "pool", "Normed")


@pytest.fixture(scope="module")
def with_graph(plain):
    """Its copy for devices."""
    add_graph(plain, plain.with_name("copy"), TRUST)
    return plain.with_name("copy")


def test_a_graph_answers_as_torch_does(with_graph):
    """With the weights of three experts: the same partitions, probabilities within 1e-5."""
    found = shoal_edge.Pool.load(with_graph).predict(ROWS)

    said = shoal.load(with_graph, TRUST).predict(pa_table()).to_pandas()
    np.testing.assert_array_equal(found.partition, said["partition"])
    np.testing.assert_array_equal(found.distance, said["distance"].to_numpy())
    np.testing.assert_allclose(found.probability, said["probability"], rtol=0, atol=1e-5)
    near = np.abs(said["probability"] - 0.5) < 1e-5
    assert ((found.prediction == said["prediction"]) | near).all()
    assert len(np.unique(found.probability)) > 300


def pa_table():
    """The rows in Arrow."""
    import pyarrow as pa

    return pa.table(ROWS)


def test_weights_lie_in_the_pool_s_files_alone(plain, with_graph):
    """With the bits of the trainer; the graph holds a few numbers of shapes."""
    import onnx

    graph = onnx.load(with_graph / GRAPH).graph
    held = sum(int(np.prod(each.dims)) for each in graph.initializer)
    device = shoal_edge.Pool.load(with_graph)

    assert held < 16
    for expert, module in shoal.load(plain, TRUST).experts.models.items():
        state = module.state_dict()
        assert {each.name for each in graph.input} == {"x", *state}
        for name, tensor in state.items():
            assert tensor.numpy().tobytes() == device._weights[expert][name].tobytes()


def test_copies_of_a_channel_have_a_graph_that_no_patch_tells_twice(plain, with_graph, tmp_path):
    """Other weights give the same bytes; a device of the first copy answers as the second one."""
    new = tmp_path / "new"
    shutil.copytree(plain, new)
    change(new, "specialists/1.safetensors", 0.01)
    change(new, "base.safetensors", -0.01)
    model = json.loads((plain / "manifest.json").read_text())["model"]
    settings = Exact(method="exact", graph=True)
    for number, pool in enumerate((plain, new)):
        made(pool, tmp_path / str(number), tmp_path, settings, model=model)
    old, copy = tmp_path / "0" / "copy", tmp_path / "1" / "copy"

    deploy_patch(copy / "manifest.json", old / "manifest.json", tmp_path / "patch")

    patch = (tmp_path / "patch").read_bytes()
    told = [change.name for change in Patch.parse(patch, room(1 << 30)).changes]
    assert told == ["base.safetensors", "specialists/1.safetensors", "manifest.json"]
    assert len(patch) < 5000
    apply(old, tmp_path / "patch")
    for pool in (old, copy):
        assert (pool / GRAPH).read_bytes() == (with_graph / GRAPH).read_bytes()
        found = shoal_edge.Pool.load(pool).predict(ROWS)
        said = shoal.load(new, TRUST).predict(pa_table())["probability"].to_numpy()
        np.testing.assert_allclose(found.probability, said, rtol=0, atol=1e-5)


def test_a_row_is_predicted_alone_as_in_a_batch(with_graph):
    """To the last bit."""
    pool = shoal_edge.Pool.load(with_graph)
    together = pool.predict(ROWS)

    for row in range(0, 700, 97):
        alone = pool.predict({name: values[row : row + 1] for name, values in ROWS.items()})
        assert [each[0] for each in alone] == [each[row] for each in together]


def test_a_pool_without_a_graph_says_how_to_get_one(plain):
    """In a line."""
    with pytest.raises(EdgeError, match=r"model is tests.shoal_edge.net.Normed, .*`shoal graph "):
        shoal_edge.Pool.load(plain)


def test_a_graph_that_does_not_fit_is_refused(with_graph, tmp_path):
    """One that does not load at once, one with other weights when it is asked."""
    copy = shutil.copytree(with_graph, tmp_path / "copy")
    tensors = load_state(copy / "base.safetensors")[0]
    fewer = {name: each for name, each in tensors.items() if name != "last.bias"}
    save_state(
        copy / "specialists/0.safetensors", fewer, load_state(copy / "specialists/0.safetensors")[1]
    )
    reseal(copy)
    with pytest.raises(EdgeError, match="does not fit the pool"):
        shoal_edge.Pool.load(copy).predict(ROWS)

    (copy / GRAPH).write_bytes(b"no graph")
    reseal(copy)
    with pytest.raises(EdgeError, match="onnxruntime does not load it"):
        shoal_edge.Pool.load(copy)


def test_a_pool_of_shoal_s_own_network_takes_no_graph(two_pools, tmp_path):
    """Numpy computes it."""
    with pytest.raises(SettingsError, match="it needs no graph"):
        add_graph(two_pools[0], tmp_path / "copy")


def test_a_network_that_does_not_export_is_refused(tmp_path):
    """In a line, and nothing is written."""
    pool = build(tmp_path / "deciding", "Deciding")

    with pytest.raises(ModelError, match="torch does not export it to ONNX") as caught:
        add_graph(pool, tmp_path / "copy", TRUST)

    assert "\n" not in str(caught.value)
    assert not (tmp_path / "copy").exists()
