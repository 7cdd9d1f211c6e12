"""Loading a pool and asking it."""

import json
import subprocess
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import shoal
from shoal.errors import SettingsError
from shoal.formats.json_file import write_json
from shoal.pool.manifest import pool_digest
from shoal.workflow.start import say_digests
from tests.pool.conftest import reseal

ROWS = pd.DataFrame({"a": [0.0, 11.0], "town": ["x", "y"]})


def test_a_pool_predicts(built_pool):
    """The specialist of partition 0 serves its row, the generalist that of the closed one."""
    predicted = shoal.load(built_pool).predict(ROWS).to_pandas()

    assert predicted["partition"].tolist() == [0, -2]


@pytest.mark.parametrize("kind", [pa.Table.from_pandas, lambda frame: frame])
def test_no_rows_have_no_predictions(built_pool, kind):
    """An empty table or frame gives an empty table of the usual columns."""
    pool = shoal.load(built_pool)

    nothing = pool.predict(kind(ROWS.iloc[:0]))

    assert nothing.num_rows == 0
    assert nothing.schema == pool.predict(ROWS).schema


@pytest.mark.parametrize("top_k", [1, 2])
def test_a_row_is_predicted_alone_as_in_a_batch(built_pool, top_k):
    """Where values recur and where they do not, to the last bit."""
    rng = np.random.default_rng(0)
    numbers = np.where(rng.random(700) < 0.1, np.nan, rng.normal(size=700) * 9)
    towns = rng.choice(["x", "y", " x", "1e3", "nan", "unseen", None], 700)
    rows = pa.table({"a": numbers, "town": pa.array(towns, pa.string(), from_pandas=True)})
    pool = shoal.load(built_pool)

    together = pool.predict(rows, top_k=top_k)

    alone = [pool.predict(rows.slice(row, 1), top_k=top_k) for row in range(0, 700, 7)]
    assert pa.concat_tables(alone).equals(together.take(list(range(0, 700, 7))))
    parts = [pool.predict(rows.slice(start, 300), top_k=top_k) for start in (0, 300, 600)]
    assert pa.concat_tables(parts).equals(together)


def test_a_row_of_three_models_is_their_mixture_alone_as_in_a_batch(small_pool):
    """Two specialists mix by distance, then as much of the generalist as the leading one leaves."""
    gate = json.loads((small_pool / "gate.json").read_text())
    mixing = {"shares": {"-1": 0, "0": 0.5, "1": 0.25}, "softness": 4.0}
    write_json(small_pool / "gate.json", gate | mixing)
    reseal(small_pool)
    pool = shoal.load(small_pool)
    x = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)

    routed = pool.route(x, x, None)

    routes = pool.router.route(x)
    lead = routes.leading
    special = sum(
        (routes.weights * (routes.experts == number)).sum(axis=1, keepdims=True)
        * pool.experts.answer(number, x)
        for number in (0, 1)
    )
    share = np.where(lead == 0, 0.5, 0.25)[:, None]
    expected = share * special + (1 - share) * pool.experts.answer(-2, x)
    assert set(lead.tolist()) == {0, 1}
    assert ((routed.routes.weights > 0).sum(axis=1) == 3).all()
    np.testing.assert_allclose(routed.answer, expected, rtol=1e-5)
    alone = [pool.route(x[row : row + 1], x[row : row + 1], None).answer for row in range(9)]
    np.testing.assert_array_equal(np.concatenate(alone), routed.answer[:9])


@pytest.mark.parametrize("top_k", [0, -1])
def test_no_fewer_than_one_specialist_can_be_asked(built_pool, top_k):
    """Zero is no way to say the router's own number."""
    with pytest.raises(SettingsError, match=f"^top_k: 1 or more .* not {top_k}$"):
        shoal.load(built_pool).predict(ROWS, top_k=top_k)


def test_a_pool_has_the_digest_that_the_run_and_the_verdict_print(built_pool, capsys):
    """A line for each plan's pool, when a run has ended."""
    plan = SimpleNamespace(home=built_pool.parent)

    say_digests(SimpleNamespace(asked=[plan]))

    said = capsys.readouterr().err
    assert said == f"shoal: pool {built_pool}: digest {shoal.load(built_pool).digest}\n"


@pytest.mark.parametrize("is_right", [True, False])
def test_the_command_predicts_with_the_pool_of_that_digest_alone(built_pool, tmp_path, is_right):
    """Any other is one line, exit code 2, and no file."""
    ROWS.to_csv(tmp_path / "rows.csv", index=False)
    digest = pool_digest(built_pool) if is_right else "0" * 64
    out = tmp_path / "out.csv"
    arguments = ["predict", built_pool, tmp_path / "rows.csv", "--out", out, "--digest", digest]

    done = subprocess.run(
        ["shoal", *map(str, arguments)], capture_output=True, text=True, check=False
    )

    assert out.exists() == is_right
    if not is_right:
        assert done.returncode == 2
        assert done.stderr.startswith(f"shoal: error: {built_pool}/manifest.json: its digest is ")
        assert done.stderr.count("\n") == 1
