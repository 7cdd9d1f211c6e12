"""Pools whose rows of a group share a route."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import shoal
from shoal.errors import CorruptError
from shoal.formats.hashing import KEY_BYTES, hash_rows
from shoal.formats.json_file import write_json
from shoal.pool import command
from shoal.pool.pool import Pool
from shoal.sources.columns import typed_inputs
from tests.pool.conftest import reseal


@pytest.fixture
def grouped(small_pool: Path) -> Path:
    """The pool, with an id, that routes by the column doc; a specialist answers everywhere."""
    columns = json.loads((small_pool / "columns.json").read_text())
    columns["kinds"] |= {"id": "id", "doc": "group"}
    write_json(small_pool / "columns.json", columns | {"order": [*columns["order"], "id", "doc"]})
    transform = json.loads((small_pool / "transform.json").read_text())
    transform["kinds"] += [["id", "id"], ["doc", "group"]]
    write_json(small_pool / "transform.json", transform)
    gate = json.loads((small_pool / "gate.json").read_text())
    write_json(small_pool / "gate.json", gate | {"shares": {"-1": 0, "0": 1.0, "1": 0.5}})
    reseal(small_pool, route_by="doc")
    return small_pool


@pytest.fixture
def rows() -> pa.Table:
    """Rows of eight documents, and some of none."""
    rng = np.random.default_rng(0)
    doc = [*rng.choice(list("stuvwxyz"), 50), *[None] * 10]
    values = {
        "id": [f"r{number}" for number in range(60)],
        "doc": pa.array(doc, pa.string()),
        "a": rng.normal(5, 4, size=60),
        "town": rng.choice(["x", "y"], 60),
    }
    return pa.table(values)


def leads(rows: pa.Table) -> np.ndarray:
    """Place of each row's leading row, by the hash of its id."""
    keys = [key.tobytes() for key in hash_rows({"id": rows["id"]}, KEY_BYTES)]
    frame = pd.DataFrame({"doc": rows["doc"].to_pylist(), "key": keys, "place": range(len(keys))})
    first = frame.sort_values("key").groupby("doc")["place"].first()
    return frame["doc"].map(first).fillna(frame["place"]).astype(int).to_numpy()


def asked(pool: Pool, rows: pa.Table, lead: np.ndarray, top_k: int) -> list[float]:
    """Probability of the predicted class, routed by other rows."""
    x = pool.encoder.encode(pool.pipeline.predict(typed_inputs(rows, pool.columns, ""), ""), "", 0)
    return pool.route(x, x[lead], None, top_k).answer.max(axis=1).tolist()


@pytest.mark.parametrize("top_k", [1, 2])
def test_rows_of_a_group_share_who_is_asked_and_the_weights(grouped, rows, top_k):
    """They are asked about their own values; a row without a group routes itself."""
    pool, lead = shoal.load(grouped), leads(rows)

    predicted = pool.predict(rows, top_k=top_k)

    alone = pa.concat_tables([pool.predict(rows.slice(n, 1), top_k=top_k) for n in range(60)])
    for name in ("partition", "distance"):
        assert predicted[name].to_pylist() == alone[name].take(lead).to_pylist()
    assert predicted["probability"].to_pylist() == asked(pool, rows, lead, top_k)
    assert predicted["partition"].to_pylist() != alone["partition"].to_pylist()
    assert predicted.slice(50).equals(alone.slice(50))


def test_without_the_column_each_row_routes_itself(grouped, rows):
    """As alone."""
    pool = shoal.load(grouped)
    alone = [pool.predict(rows.slice(number, 1)) for number in range(60)]

    assert pool.predict(rows.drop_columns(["doc"])).equals(pa.concat_tables(alone))


def test_without_an_id_the_key_is_of_the_inputs(grouped, rows):
    """As the workflow has it where no column is an id: equal rows change no route."""
    pool, plain = shoal.load(grouped), rows.drop_columns(["id"])

    predicted = pool.predict(plain)

    twice = pool.predict(pa.concat_tables([plain, plain]))
    assert twice.slice(60).equals(predicted)
    found = predicted.append_column("doc", plain["doc"]).to_pandas().dropna(subset="doc")
    assert len(found[["doc", "distance"]].drop_duplicates()) == 8


def test_rows_of_a_file_share_a_route_across_batches(grouped, rows, tmp_path, monkeypatch):
    """The command reads all leading rows first."""
    source, out = tmp_path / "rows.parquet", tmp_path / "out.parquet"
    pq.write_table(rows, source)
    monkeypatch.setattr(command, "_BATCH_ROWS", 7)

    assert command.predict(grouped, source, out, []) == 60

    assert pq.read_table(out).equals(shoal.load(grouped).predict(rows))


def test_a_manifest_that_routes_by_no_group_is_refused(grouped):
    """By the column's kind in the pool's other files."""
    reseal(grouped, route_by="a")

    with pytest.raises(CorruptError, match=r"manifest\.json: route_by"):
        shoal.load(grouped)
