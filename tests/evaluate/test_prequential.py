"""The command evaluate-prequential: the pool before on rows that arrived."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

import shoal
from shoal.evaluate.prequential import Arrivals, evaluate_prequential
from shoal.formats.json_file import write_json
from shoal.formats.kinds import OUTSIDE, TEST, TRAIN, VALIDATION
from shoal.formats.tables import KEY, Columns, key_array, write_table
from shoal.settings.learning import Evaluate
from shoal.split.keys import row_keys
from shoal_edge.routing import GENERALIST
from tests.pool.conftest import COLUMNS, MODEL, build_pool, reseal

if TYPE_CHECKING:
    from collections.abc import Callable

    Rows = Callable[..., pa.Table]

SETTINGS = {"bootstrap": 200, "calibration_bins": 10, "map": "pca", "map_rows": 9, "seed": 0}
TRANSFORM = {"steps": [], "fit_rows": 99, "seed": 0}
MEMORY = 1 << 30
NUMBERS = Columns(COLUMNS.kinds, "regression", {}, {}, {})
UNLABELLED = Columns({"a": "numeric", "town": "categorical"}, "own", {}, {}, {})
LABELLED = Columns(COLUMNS.kinds, "own", {}, {}, {})


class Surprise(torch.nn.Module):
    """Says how unlikely a row is, as -log of a normal density about a guess from the row."""

    density = True

    def __init__(self, features: int) -> None:
        super().__init__()
        self.guess = torch.nn.Linear(features, features)

    def row_losses(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """-log of the density, but for a constant."""
        x, _ = batch
        return ((self.guess(x) - x) ** 2).sum(dim=1) / 2


class Doubt(torch.nn.Module):
    """Says how far a row's label is from a guess."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.guess = torch.nn.Linear(features, 1)

    def row_losses(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Absolute error."""
        x, y = batch
        return (self.guess(x) - y)[:, 0].abs()


class World:
    """A pool, and tables of its source files."""

    def __init__(
        self,
        folder: Path,
        rows: Rows,
        columns: Columns = COLUMNS,
        model: dict[str, object] = MODEL,
    ) -> None:
        self.folder, self._rows = folder, rows
        self.columns, self.model = columns, model
        self.pool = build_pool(folder, columns, model)
        self.kinds: dict[str, str] = {}

    def frame(self, count: int, seed: int) -> pd.DataFrame:
        """Rows in both partitions, of all folds."""
        rng = np.random.default_rng(seed)
        town = rng.choice(["x", "y"], count)
        values = {"a": rng.normal(5, 6, count).round(2), "town": town}
        frame = pd.DataFrame(values | {"label": rng.choice(["no", "yes"], count)})
        if self.columns.task != "classification":
            frame["label"] = rng.normal(3, 2, count)
        return frame[["a", "town", *self.columns.labels]]

    def share(self, *shares: float) -> None:
        """Have the gate give each specialist this share, and the generalist the rest."""
        path = self.pool / "gate.json"
        by = dict(zip(["-1", "0", "1"], [0.0, *shares], strict=True))
        write_json(path, json.loads(path.read_text()) | {"shares": by})
        reseal(self.pool)

    def table(self, name: str, frame: pd.DataFrame, *, units: bool = False) -> Path:
        """A table as split leaves it; folds take turns."""
        columns = Columns(self.columns.kinds | self.kinds, self.columns.task, {}, {}, {})
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
        resolved: Any = {"model": self.model, "transform": TRANSFORM}
        evaluate_prequential(chosen, resolved, arrivals, out, 1, MEMORY)
        content: dict[str, Any] = json.loads(out.read_text())
        return content


@pytest.fixture
def world(tmp_path: Path, rows: Rows) -> World:
    """A pool of a specialist and a generalist."""
    return World(tmp_path, rows)


@pytest.fixture
def world_of(tmp_path: Path, rows: Rows) -> Callable[..., World]:
    """Makes the same of other columns, and of another model."""

    def make(columns: Columns, model: type[torch.nn.Module] | None = None) -> World:
        named = {"_target_": f"{__name__}.{model.__name__}"} if model else MODEL
        return World(tmp_path, rows, columns, named | {"features": "data:features"})

    return make


def by_partition(scores: dict[str, Any]) -> dict[int, tuple[int, float]]:
    """Rows and score of each partition."""
    return {each["partition"]: (each["rows"], each["score"]) for each in scores["partitions"]}


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


def test_of_numbers_it_is_the_error_of_what_predict_returns(world_of):
    """In the label's unit; where the generalist has a share, of the mixture."""
    world = world_of(NUMBERS)
    world.share(1.0, 0.75)
    frame = world.frame(150, 6)
    path = world.table("new", frame)

    found = world.scores([path])["scores"]

    said = shoal.load(world.pool).predict(frame.drop(columns="label")).to_pandas()
    error = said["prediction"] - frame["label"]
    assert (found["metric"], found["rows"]) == ("rmse", 150)
    assert found["score"] == pytest.approx((error**2).mean() ** 0.5, rel=1e-6)
    assert by_partition(found) == {
        number: (len(own), pytest.approx((own**2).mean() ** 0.5, rel=1e-6))
        for number, own in error.groupby(said["partition"])
    }
    other = world.scores([path], metric="mae")["scores"]["score"]
    assert other == pytest.approx(error.abs().mean(), rel=1e-6)
    world.share(1.0, 0.0)
    assert world.scores([path])["scores"]["score"] != found["score"]


def test_of_a_loss_of_its_own_it_is_the_mean_of_what_predict_returns(world_of):
    """Rows need no label; densities mix as `predict` mixes them."""
    world = world_of(UNLABELLED, Surprise)
    world.share(1.0, 0.75)
    frame = world.frame(150, 7)
    path = world.table("new", frame)

    found = world.scores([path])["scores"]

    said = shoal.load(world.pool, trust=[__name__]).predict(frame).to_pandas()
    assert (found["metric"], found["rows"], found["unknown_labels"]) == ("loss", 150, 0)
    assert found["score"] == pytest.approx(said["loss"].astype(float).mean(), rel=1e-12)
    assert by_partition(found) == {
        number: (len(own), pytest.approx(own.mean(), rel=1e-12))
        for number, own in said["loss"].astype(float).groupby(said["partition"])
    }
    world.share(1.0, 0.0)
    assert world.scores([path])["scores"]["score"] != found["score"]


def test_a_loss_that_looks_at_labels_is_that_of_the_model_that_leads(world_of):
    """`predict` says who leads, and no loss, since rows to predict have no label."""
    world = world_of(LABELLED, Doubt)
    world.share(1.0, 0.25)
    frame = world.frame(150, 8)

    found = world.scores([world.table("new", frame)])["scores"]

    pool = shoal.load(world.pool, trust=[__name__])
    said = pool.predict(frame.drop(columns="label")).to_pandas()
    lead = np.where(said["partition"] == 1, GENERALIST, said["partition"])
    x = pool.prepare(pa.Table.from_pandas(frame), "rows", 1).x
    loss = np.empty(150)
    for expert in np.unique(lead):
        guess = pool.experts.models[int(expert)].guess
        weight, bias = (each.detach().numpy().astype(float) for each in guess.parameters())
        own = lead == expert
        loss[own] = np.abs(x[own] @ weight[0] + bias - frame["label"][own])
    assert set(lead) == {0, GENERALIST}
    assert found["score"] == pytest.approx(loss.mean(), rel=1e-6)
    assert found["difference"]["value"] == pytest.approx(found["score"] - found["generalist"])
