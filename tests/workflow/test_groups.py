"""Rows of a group share a route, from the workflow to the pool."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

import shoal
from shoal.cluster.assigner import load_assigner
from shoal.embed.embedder import load_embedder
from shoal.formats.documents.index import PartitionIndex
from shoal.formats.hashing import KEY_BYTES, hash_rows
from shoal.formats.json_file import read_made, write_json
from shoal.formats.kinds import TEST, TRAIN, VALIDATION
from shoal.formats.row_store import ShardRows
from tests.pool.conftest import reseal
from tests.workflow.small import AT_ONCE, SETTINGS, Experiment, set_up

if TYPE_CHECKING:
    from tests.workflow.warm import Server

COLUMNS = "{id: id, visit: group, a: numeric, b: numeric, c: numeric, d: numeric, label: label}"


def visits(number: int, groups: int = 60, rows: int = 4) -> pd.DataFrame:
    """Rows of visits of two kinds: of one the label is a > 0, of the other its opposite.

    The kind shows in b, c and d, with so much noise that some rows look like the other kind's.
    """
    rng = np.random.default_rng(number)
    kind = np.repeat(rng.choice([-1, 1], size=groups), rows)
    a, noise = rng.normal(size=(2, groups * rows))
    looks = (kind + noise)[:, None] + 0.1 * rng.normal(size=(groups * rows, 3))
    table = pd.DataFrame(looks.round(3), columns=list("bcd"))
    return table.assign(
        id=[f"{number}-{row}" for row in range(len(a))],
        visit=[f"visit {number} {row // rows}" for row in range(len(a))],
        a=a.round(3),
        label=np.where((a > 0) == (kind > 0), "yes", "no"),
    )


@pytest.fixture(scope="module")
def ran(warm: Server, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """An experiment that routes by visit, at its end. Tests must leave it as it is."""
    folder = set_up(tmp_path_factory.mktemp("groups") / "experiment").folder
    for number in range(3):
        visits(number).to_csv(folder / "data" / f"part-{number}.csv", index=False)
    plain = "{id: id, a: numeric, b: numeric, town: categorical, note: ignore, label: label}"
    by_group = "split: {method: group}\ncluster: {route_by: visit, partitions: 3,"
    changes = {
        plain: COLUMNS,
        "cluster: {partitions: 2,": by_group,
        "grid: {lr: [0.01, 0.03]}": "grid: {lr: [0.03]}",
    }
    settings = SETTINGS
    for old, new in changes.items():
        assert old in settings
        settings = settings.replace(old, new)
    (folder / "config" / "experiment" / "tiny.yaml").write_text(settings)
    experiment = Experiment(folder, warm.bin)
    experiment.run()
    return experiment


@pytest.fixture
def copied(ran: Experiment, tmp_path: Path) -> Experiment:
    """A copy, to change."""
    return ran.copy(tmp_path / "experiment")


def source_rows(experiment: Experiment) -> pd.DataFrame:
    """All source rows, by key."""
    table = pd.concat([pd.read_csv(path) for path in sorted(experiment.folder.glob("data/*.csv"))])
    return table.set_index(pd.Index(keys(table["id"]), name="key"))


def keys(ids: pd.Series) -> list[bytes]:
    """Keys of rows with these ids."""
    hashed = hash_rows({"id": ids.to_numpy(dtype=object)}, KEY_BYTES)
    return [key.tobytes() for key in hashed]


def assigned(experiment: Experiment) -> pd.DataFrame:
    """Of all rows, by key, what the workflow says, and what it would say of each row alone."""
    (assigner,) = experiment.generation.glob("cluster/*/assigner.safetensors")
    (embedder,) = experiment.generation.glob("embed/*/embedder.safetensors")
    names, parts = ("fold", "partition", "runner_up", "unit"), []
    for path in experiment.generation.glob("cluster/*/rows/*/*.zarr.zip"):
        with ShardRows(path) as store:
            part = pd.DataFrame({name: store.read(name) for name in names})
            alone = load_assigner(assigner).place(load_embedder(embedder).embed(store.read("x")))
            part.index = pd.Index([key.tobytes() for key in store.read("key")], name="key")
            parts.append(part.assign(alone=alone.partition, second=alone.runner_up))
    return pd.concat(parts).sort_index()


def indexes(experiment: Experiment) -> list[PartitionIndex]:
    """All partition indexes that there are."""
    found = experiment.generation.glob("cluster/*/indexes/*/index.json")
    return [read_made(path, PartitionIndex) for path in found]


def predictions(experiment: Experiment) -> pd.DataFrame:
    """What the evaluation says of test rows, by key."""
    (path,) = experiment.generation.glob("evaluate/*/*/predictions.parquet")
    return pd.read_parquet(path).set_index("key")


def test_a_group_is_in_the_partition_of_its_row_with_the_smallest_key(ran):
    """Alone its other rows would be elsewhere; held-out rows share the runner-up, too."""
    rows = assigned(ran)

    lead = rows.groupby("unit")[["alone", "second"]].transform("first")

    assert len(rows) == 720
    assert (rows["partition"] == lead["alone"]).all()
    assert (rows["partition"] != rows["alone"]).sum() > 100
    held = rows["fold"].isin([VALIDATION, TEST])
    assert (rows["runner_up"] == lead["second"])[held].all()


@pytest.fixture
def opened(ran: Experiment, tmp_path: Path) -> Path:
    """Its pool, in which specialists alone answer."""
    folder = Path(shutil.copytree(ran.folder / "results" / "tiny" / "pool", tmp_path / "pool"))
    gate = json.loads((folder / "gate.json").read_text())
    shares = {number: float(number != "-1") for number in gate["shares"]}
    write_json(folder / "gate.json", gate | {"shares": shares, "softness": None})
    reseal(folder)
    return folder


def test_the_pool_routes_rows_as_the_workflow_does(ran, opened):
    """All rows of a group together, or the leading row alone; specialists and their weights."""
    said = predictions(ran)
    rows = source_rows(ran).loc[said.index]
    led = assigned(ran).loc[said.index].reset_index().groupby("unit")["key"].min()
    asks = {
        "pool_top1": (ran.folder / "results" / "tiny" / "pool", 1),
        "pool_top2": (ran.folder / "results" / "tiny" / "pool", 2),
        "ungated": (opened, 1),
    }

    for name, (folder, top_k) in asks.items():
        pool = shoal.load(folder)
        together = pool.predict(rows, top_k=top_k).to_pandas().set_index(said.index)
        assert (together["prediction"] == said[name]).all()
        assert (together["distance"] == said["distance"]).all()
        for key in led[:9]:
            alone = pool.predict(rows.loc[[key]], top_k=top_k).to_pandas()
            assert alone.iloc[0].to_dict() == together.loc[key].to_dict()
    served = together["partition"] >= 0
    assert len(set(together["partition"][served])) > 1
    assert (together["partition"] == said["partition"])[served].all()


def test_without_the_column_each_row_routes_itself(ran):
    """As it does alone."""
    pool = shoal.load(ran.folder / "results" / "tiny" / "pool")
    rows = source_rows(ran).drop(columns="visit").iloc[:40]

    predicted = pool.predict(rows).to_pandas()

    alone = [pool.predict(rows.iloc[[row]]).to_pandas() for row in range(len(rows))]
    assert predicted.equals(pd.concat(alone, ignore_index=True))


def test_a_row_of_a_larger_key_retrains_its_groups_partition_alone(copied):
    """Wherever it would be alone."""
    rows, source = assigned(copied), source_rows(copied)
    path = copied.folder / "data" / "part-0.csv"
    table = pd.read_csv(path)
    own = rows.loc[keys(table["id"])]
    visit = table["visit"][(own["fold"] == TRAIN).to_numpy()].iloc[0]
    group = source[source["visit"] == visit]
    home = rows.loc[group.index[0], "partition"]
    away = source.loc[rows.index[rows["alone"] != home][0]]
    ids = pd.Series([f"new-{number}" for number in range(999)])
    new = next(i for i, key in zip(ids, keys(ids), strict=True) if key > group.index.min())
    row = away.to_frame().T.assign(id=new, visit=visit)
    pd.concat([table, row]).to_csv(path, index=False)
    (before,) = indexes(copied)

    ran = Counter(copied.run())

    assert ran["train_specialist"] == 1
    assert (ran["split"], ran["assign"], ran["train_choose"]) == (1, 1, 1)
    assert not {"cluster_fit", "embed_fit", "base_fit"} & set(ran)
    (after,) = [each for each in indexes(copied) if each != before]
    pairs = zip(before["partitions"], after["partitions"], strict=True)
    changed = [now["partition"] for old, now in pairs if old["digests"] != now["digests"]]
    assert changed == [home]


def test_a_group_in_two_files_is_refused(copied):
    """With both files and the group's name; nothing is assigned."""
    path = copied.folder / "data" / "part-2.csv"
    table = pd.read_csv(path)
    table.loc[3, "visit"] = "visit 0 7"
    table.to_csv(path, index=False)

    result = copied.snakemake(*AT_ONCE)

    assert result.returncode != 0
    assert len(indexes(copied)) == 1
    settings = max(
        copied.folder.glob("results/tiny/settings/*.json"), key=lambda f: f.stat().st_mtime
    )
    again = copied.shoal("split-check", "--settings", str(settings))
    assert again.returncode == 2
    (said,) = again.stderr.splitlines()
    assert "column 'visit': group 'visit 0 7' is in two files" in said
    assert "part-0.csv: row 29" in said
    assert "part-2.csv: row 4" in said


def test_a_column_that_is_no_group_is_refused(copied):
    """Before anything runs."""
    result = copied.snakemake("-n", overrides="[cluster.route_by=town]")

    assert result.returncode != 0
    assert "cluster.route_by: 'town' is not declared a group" in result.stdout + result.stderr
