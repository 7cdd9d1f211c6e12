"""Statistics of batch normalisation in copies: they belong to the weights that are shipped."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from shoal.formats.fitted_state import load_state
from shoal.formats.tables import write_table
from shoal.pool.pool import Pool
from tests.deploy import test_command
from tests.deploy.test_command import GRID, made
from tests.pool.conftest import COLUMNS, build_pool

NORMED = {
    "_target_": "tests.shoal_edge.net.Normed",
    "features": "data:features",
    "outputs": "data:outputs",
}
STATISTICS = ("norm.running_mean", "norm.running_var")
COUNT = 60


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """A pool whose network has batch normalisation, with statistics that training left."""
    return build_pool(tmp_path_factory.mktemp("normed"), model=NORMED)


@pytest.fixture
def rows(tmp_path):
    """A table after split: of every three rows two are of the training fold."""
    rng = np.random.default_rng(0)
    values = {
        "a": rng.normal(5, 5, COUNT).tolist(),
        "town": rng.choice(["x", "y"], COUNT).tolist(),
        "label": rng.choice(["no", "yes"], COUNT).tolist(),
        "_key": [bytes([number]) * 16 for number in range(COUNT)],
        "_fold": [0, 0, 1] * (COUNT // 3),
        "_source": [bytes([number]) * 16 for number in range(COUNT)],
    }
    table = pa.table(values, schema=COLUMNS.schema())
    write_table(tmp_path / "rows.parquet", table.schema, [table], {"rows_in": COUNT, "dropped": {}})
    return tmp_path / "rows.parquet"


def statistics(folder, name):
    """Mean and variance that a model in a pool normalises by."""
    tensors = load_state(folder / name)[0]
    return np.stack([tensors[each] for each in STATISTICS])


def of_shipped(pool, folder, name, rows, partition):
    """The same by numpy, of a copy's weights and the training rows of a partition."""
    table = pa.parquet.read_table(rows)
    training = table.filter(pa.array(np.array(table["_fold"]) == 0))
    _, x, embedding, values = pool.prepare(training, "rows", 1)
    if partition is not None:
        x = x[pool.router.assigner.place(embedding, values).partition == partition]
    tensors = load_state(folder / name)[0]
    hidden = x @ tensors["first.weight"].T + tensors["first.bias"]
    return np.stack([hidden.mean(axis=0), hidden.var(axis=0, ddof=1)])


def test_a_copy_on_a_grid_has_the_statistics_of_its_own_weights(pool, tmp_path, rows):
    """Of the training rows of each specialist, of all for the generalist; the base's stay."""
    record = made(pool, tmp_path / "c", rows, GRID, model=NORMED)

    assert record["method"] == "grid"
    copy, loaded = tmp_path / "c" / "copy", Pool.load(pool, ["tests.shoal_edge.net"])
    for name, partition in (
        ("specialists/0.safetensors", 0),
        ("specialists/1.safetensors", 1),
        ("generalist.safetensors", None),
    ):
        found = statistics(copy, name)
        expected = of_shipped(loaded, copy, name, rows, partition)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
        assert np.abs(found - statistics(pool, name)).max() > 0.1
        others = of_shipped(loaded, pool, name, rows, partition)
        assert np.abs(found - others).max() > 1e-3
    base = "base.safetensors"
    assert np.array_equal(statistics(copy, base), statistics(pool, base))


def test_statistics_that_training_freezes_stay(pool, tmp_path, rows, monkeypatch):
    """With frozen buffers a copy has the pool's, which all weights were trained with."""
    for name, value in (("method", "proactive"), ("buffers", "frozen")):
        monkeypatch.setitem(test_command.CONTINUING, name, value)

    made(pool, tmp_path / "c", rows, GRID, model=NORMED)

    name = "specialists/1.safetensors"
    assert np.array_equal(statistics(tmp_path / "c" / "copy", name), statistics(pool, name))
