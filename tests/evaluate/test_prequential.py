"""The command evaluate-prequential: the pool before on rows that arrived."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import shoal
from shoal.evaluate.prequential import Arrivals, evaluate_prequential
from shoal.formats.json_file import write_json
from shoal.formats.kinds import OUTSIDE, TEST, TRAIN, VALIDATION
from shoal.formats.tables import KEY, Columns, key_array, write_table
from shoal.settings.learning import Evaluate
from shoal.split.keys import row_keys
from tests.pool.conftest import MODEL, build_pool, reseal

if TYPE_CHECKING:
    from collections.abc import Callable

    Rows = Callable[..., pa.Table]

SETTINGS = {"bootstrap": 200, "calibration_bins": 10, "map": "pca", "map_rows": 9, "seed": 0}
RESOLVED: Any = {"model": MODEL, "transform": {"steps": [], "fit_rows": 99, "seed": 0}}
MEMORY = 1 << 30


class World:
    """A pool, and tables of its source files."""

    def __init__(self, folder: Path, rows: Rows) -> None:
        self.folder, self._rows = folder, rows
        self.pool = build_pool(folder)
        self.kinds: dict[str, str] = {}

    def frame(self, count: int, seed: int) -> pd.DataFrame:
        """Rows in both partitions, of all folds."""
        rng = np.random.default_rng(seed)
        town = rng.choice(["x", "y"], count)
        values = {"a": rng.normal(5, 6, count).round(2), "town": town}
        return pd.DataFrame(values | {"label": rng.choice(["no", "yes"], count)})

    def table(self, name: str, frame: pd.DataFrame, *, units: bool = False) -> Path:
        """A table as split leaves it; folds take turns."""
        columns = Columns(
            {"a": "numeric", "town": "categorical", "label": "label"} | self.kinds,
            *("classification", {}, {}, {}),
        )
        folds = np.resize([TRAIN, VALIDATION, TEST, OUTSIDE], len(frame))
        keys = [f"{name} {number}" for number in range(len(frame))]
        values = {own: frame[own] for own in frame}
        table = self._rows(columns, keys, folds, **values)
        place = table.schema.get_field_index(KEY)
        table = table.set_column(place, KEY, key_array(row_keys(table, columns)))
        if units:
            codes = frame["doc"].map(ord).to_numpy(np.uint64)
            table = table.append_column("_unit", pa.array(codes))
        path = self.folder / f"{name}.parquet"
        write_table(path, table.schema, [table], {"rows_in": len(frame), "dropped": {}})
        return path

    def scores(
        self, tables: list[Path], gone: list[Path] | None = None, **settings: Any
    ) -> dict[str, Any]:
        """Content of the command's file."""
        files = (self.pool / "manifest.json", self.folder / "fits" / "generalist.safetensors")
        arrivals = Arrivals("before", tables, gone or [], lambda: files)
        chosen = Evaluate.model_validate(SETTINGS | settings)
        out = self.folder / "scores.json"
        evaluate_prequential(chosen, RESOLVED, arrivals, out, 1, MEMORY)
        content: dict[str, Any] = json.loads(out.read_text())
        return content


@pytest.fixture
def world(tmp_path: Path, rows: Rows) -> World:
    """A pool of a specialist and a generalist."""
    return World(tmp_path, rows)


def correct(pool: Path, frame: pd.DataFrame) -> np.ndarray:
    """Which rows ``predict`` gets right."""
    found = shoal.load(pool).predict(frame.drop(columns="label")).to_pandas()
    return np.asarray(found["prediction"].to_numpy() == frame["label"].to_numpy())


def test_the_score_is_that_of_what_predict_returns(world):
    """For rows of every fold, those outside of all among them, to the last bit."""
    frame = world.frame(203, 1)
    found = world.scores([world.table("new", frame)], metric="log_loss")
    said = shoal.load(world.pool).predict(frame.drop(columns="label")).to_pandas()

    right = said["prediction"].to_numpy() == frame["label"].to_numpy()
    probability = np.where(right, said["probability"], np.float32(1) - said["probability"])

    expected = -np.log(np.clip(probability.astype(np.float64), 1e-7, 1)).mean()
    assert found["arrived"] == found["scores"]["rows"] == 203
    assert found["scores"]["score"] == pytest.approx(expected, rel=1e-6)
    assert world.scores([world.table("new", frame)])["scores"]["score"] == right.mean()


def test_rows_that_were_there_before_are_not_scored(world):
    """Content counts, and how often it is there: of five copies where there were three, two."""
    old, new = world.frame(40, 1), world.frame(30, 2)
    more = pd.concat([old.iloc[[0, 0, 0]], new, old.iloc[::-1], new.iloc[[0]]])
    before = world.table("before", pd.concat([old, old.iloc[[0]]]))

    found = world.scores([world.table("now", more)], [before])

    arrived = pd.concat([old.iloc[[0, 0]], new, new.iloc[[0]]])
    assert found["arrived"] == len(arrived)
    assert found["scores"]["score"] == pytest.approx(correct(world.pool, arrived).mean())


def test_nothing_is_asked_where_rows_only_went(world):
    """A file without some of its rows is a new file; no pool is looked for."""
    frame = world.frame(20, 1)
    world.pool = Path("nowhere")

    found = world.scores([world.table("now", frame.iloc[5:])], [world.table("before", frame)])

    assert (found["arrived"], found["scores"], found["reason"]) == (0, None, "no row arrived")


def test_a_step_for_training_rows_leaves_rows_that_arrived_alone(world):
    """Training rows that a filter drops before training are scored too, as predict does."""
    path = world.pool / "transform.json"
    transform = json.loads(path.read_text())
    step = {"step": "filter", "columns": ["a"], "options": {"max": 5.0}, "fitted": {}}
    write_json(path, transform | {"steps": [*transform["steps"], step]})
    reseal(world.pool)
    frame = world.frame(120, 1)

    found = world.scores([world.table("new", frame)])

    assert found["scores"]["rows"] == 120
    assert found["scores"]["score"] == correct(world.pool, frame).mean()


def test_partitions_are_the_pools(world):
    """Rows and scores of each, which add up to all."""
    frame = world.frame(150, 3)

    scores = world.scores([world.table("new", frame)])["scores"]

    pool = shoal.load(world.pool)
    embedding = pool.prepare(pa.Table.from_pandas(frame), "rows", 1).embedding
    partition = pool.router.assigner.place(embedding).partition
    right = correct(world.pool, frame)
    assert scores["partitions"] == [
        {
            "partition": number,
            "rows": int((partition == number).sum()),
            "score": pytest.approx(right[partition == number].mean()),
            "generalist": pytest.approx(scores["partitions"][number]["generalist"]),
        }
        for number in (0, 1)
    ]
    low, high = scores["interval"]["low"], scores["interval"]["high"]
    assert low < scores["score"] < high
    assert scores["difference"]["value"] == pytest.approx(scores["score"] - scores["generalist"])


def test_rows_of_a_group_share_a_route(world):
    """As for a file of the rows that arrived."""
    columns = json.loads((world.pool / "columns.json").read_text())
    columns["kinds"]["doc"] = "group"
    write_json(world.pool / "columns.json", columns | {"order": [*columns["order"], "doc"]})
    transform = json.loads((world.pool / "transform.json").read_text())
    transform["kinds"].append(["doc", "group"])
    write_json(world.pool / "transform.json", transform)
    gate = json.loads((world.pool / "gate.json").read_text())
    write_json(world.pool / "gate.json", gate | {"shares": {"-1": 0, "0": 1.0, "1": 1.0}})
    reseal(world.pool, route_by="doc")
    world.kinds["doc"] = "group"
    frame = world.frame(160, 4).assign(doc=np.random.default_rng(0).choice(list("stuvwxyz"), 160))
    halves = [frame.iloc[:80], frame.iloc[80:]]

    found = world.scores(
        [world.table(f"new-{n}", half, units=True) for n, half in enumerate(halves)]
    )

    assert found["scores"]["units"] == 8
    routed = correct(world.pool, frame).mean()
    assert found["scores"]["score"] == routed
    assert routed != correct(world.pool, frame.drop(columns="doc")).mean()


def test_running_scores_are_in_order_of_arrival(world):
    """Of the files, unless a column says the time of each row."""
    frames = [world.frame(100, seed).assign(t=float(seed)) for seed in (2, 1)]
    files = [world.table(f"new-{n}", each.drop(columns="t")) for n, each in enumerate(frames)]
    by_file = world.scores(files)["scores"]["running"]
    world.kinds["t"] = "time"
    columns = json.loads((world.pool / "columns.json").read_text())
    columns["kinds"]["t"], columns["formats"]["t"] = "time", "numbers"
    write_json(world.pool / "columns.json", columns | {"order": [*columns["order"], "t"]})
    transform = json.loads((world.pool / "transform.json").read_text())
    transform["kinds"].append(["t", "time"])
    write_json(world.pool / "transform.json", transform)
    reseal(world.pool)

    by_time = world.scores([world.table(f"new-{n}", each) for n, each in enumerate(frames)])

    assert [part["rows"] for part in by_file] == [50] * 4
    right = correct(world.pool, pd.concat(frames).drop(columns="t"))
    assert [part["score"] for part in by_file] == right.reshape(4, 50).mean(axis=1).tolist()
    assert by_time["scores"]["running"] == [*by_file[2:], *by_file[:2]]


def test_rows_of_a_class_that_nobody_knows_are_wrong(world):
    """They count, and it is said how many they are."""
    frame = world.frame(60, 5)
    frame.loc[:9, "label"] = "perhaps"

    scores = world.scores([world.table("new", frame)])["scores"]

    assert scores["unknown_labels"] == 10
    assert scores["score"] == correct(world.pool, frame).mean()


@pytest.mark.parametrize("name", ["manifest.json", "router.safetensors", "shapes.json"])
def test_a_pool_that_is_gone_fails_no_run(world, name):
    """The reason is written in place of the scores."""
    (world.pool / name).unlink()

    found = world.scores([world.table("new", world.frame(20, 1))])

    assert (found["arrived"], found["scores"]) == (20, None)
    assert name.removesuffix(".json") in found["reason"]


def test_a_table_that_is_gone_fails_no_run(world):
    """Which rows have arrived is not known then."""
    table = world.table("new", world.frame(20, 1))

    found = world.scores([table], [world.folder / "gone.parquet"])

    assert (found["arrived"], found["scores"]) == (0, None)
    assert "gone.parquet: no such file" in found["reason"]


def test_a_score_that_the_rows_do_not_define_is_none(world):
    """As AUROC of rows of one class."""
    frame = world.frame(30, 1).assign(label="yes")

    scores = world.scores([world.table("new", frame)], metric="auroc")["scores"]

    assert (scores["score"], scores["difference"]) == (None, None)
    assert scores["interval"] == {"low": None, "high": None}
