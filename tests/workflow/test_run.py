"""A small experiment from source files to pool, by the real Snakemake."""

import json
import pickletools
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from shoal.formats.row_store import CHUNK_ROWS, ShardRows
from shoal.formats.tables import Table
from shoal.report.words import CONTENDERS
from tests.workflow.small import jobs

ROOT = Path(__file__).parents[2]


def test_the_plan_of_a_fresh_clone_is_what_runs(finished):
    """Dry run and run list the same jobs (the fixture compares them), partitions x points."""
    trained = list((finished.generation / "specialists").rglob("model.safetensors"))

    assert len(trained) == 2 * 2


def test_a_second_run_has_nothing_to_do(finished):
    """No job runs when nothing changed."""
    assert finished.run() == []


def test_the_demo_plans_without_its_data(experiment):
    """On a fresh clone every stage is in the plan; a run makes the files, with the names in it."""
    demo = ROOT / "config" / "experiment" / "demo.yaml"
    (experiment.folder / "config" / "experiment" / "demo.yaml").symlink_to(demo)

    planned = Counter(experiment.plan("[packing.devices=4]", name="demo"))

    assert planned["split"] == planned["encode"] == planned["assign"] == 8
    assert (planned["train_pack"], planned["train_specialist"]) == (4, 0)
    assert (planned["choose_pack"], planned["train_choose"]) == (4, 0)
    assert planned["evaluate"] == planned["pool"] == 1
    assert not (experiment.folder / "results").exists()
    assert not (experiment.folder / "data" / "demo").exists()

    result = experiment.snakemake("-c", "1", "--until", "split_fit", name="demo")

    assert jobs(result.stderr) == ["split_fit"]
    made = {path.stem for path in (experiment.folder / "data" / "demo").glob("*.parquet")}
    (record,) = (experiment.folder / "results" / "demo" / "settings").glob("*.json")
    assert made == set(json.loads(record.read_text())["sources"])
    assert len(made) == 8


RECURRENT = """
from torch import nn

class Net(nn.Module):
    def __init__(self, features, outputs, width, depth):
        super().__init__()
        self.units = nn.LSTM(1, width, depth, batch_first=True)
        self.heads = nn.MultiheadAttention(width, 2, batch_first=True)
        self.leave = nn.Linear(width, outputs)

    def forward(self, x):
        states, _ = self.units(x[:, :, None])
        attended, _ = self.heads(states[:, -1:], states, states)
        return self.leave(attended[:, 0])
"""


def test_a_recurrent_model_with_attention_makes_a_pool(experiment):
    """Torch alone counts no FLOPs of an LSTM on a CPU, in which the generalist's budget is."""
    (experiment.folder / "my_model.py").write_text(RECURRENT)
    smaller = "train_specialists.rows_seen=400,grid.lr=[0.01]"

    ran = experiment.run(overrides=f"[model._target_=my_model.Net,{smaller}]")

    metrics = experiment.metrics()
    assert Counter(ran)["train_specialist"] == 2
    # Four inputs one by one, four gates of four units, a weight for the input and each unit.
    units = 4 * 2 * 4 * 4 * (1 + 4)
    assert metrics["generalist"]["inference_flops_per_row"] > units
    cost = metrics["generalist"]["train_flops"] / metrics["ungated"]["train_flops"]
    assert 0.95 < cost < 1.1


def test_metrics_hold_every_contender_and_equal_training_flops(finished):
    """metrics.json has the promised numbers; the generalist cost what the pool cost without it."""
    metrics = finished.metrics()

    assert metrics["metric"] == "accuracy"
    assert metrics["verdict"] in ("helps", "hurts", "no difference")
    assert metrics["partitions"] == 2
    assert sum(metrics["rows"].values()) == 450
    for name in CONTENDERS.keys() - {"same_model"}:
        assert 0 <= metrics[name]["score"] <= 1
        assert {"train_flops", "inference_flops_per_row"} <= set(metrics[name])
    pool, generalist = (metrics[name]["train_flops"] for name in ("ungated", "generalist"))
    assert generalist == pytest.approx(pool, rel=0.05)


def test_a_pool_that_holds_the_generalist_has_paid_for_it(finished):
    """Where the gate gives it a share it answers, and its training is counted."""
    metrics, pool = finished.metrics(), finished.folder / "results" / "tiny" / "pool"
    shares = json.loads((pool / "gate.json").read_text())["shares"]
    closed = {int(number) for number, share in shares.items() if not share}
    has_generalist = min(shares.values()) < 1
    (path,) = finished.generation.glob("evaluate/*/*/predictions.parquet")
    asked = set(pd.read_parquet(path)["specialist"])
    (ledger,) = finished.generation.glob("base/*/ledger.json")
    base = json.loads(ledger.read_text())["flops"]

    assert (pool / "generalist.safetensors").exists() == has_generalist
    assert not asked & closed
    assert (-2 in asked) <= has_generalist
    paid = metrics["pool_top1"]["train_flops"] - metrics["ungated"]["train_flops"]
    own = metrics["generalist"]["train_flops"] - base
    tests = json.loads((pool / "gate.json").read_text())["flops"]
    assert paid == pytest.approx(tests + (own if has_generalist else 0))
    assert metrics["gate"]["specialists"] == 2
    assert metrics["gate"]["serving"] == 2 - len(closed - {-1})
    routing = metrics["ungated"]["inference_flops_per_row"] - one_model(metrics)
    models = metrics["gate"]["models_per_row"]
    shipped = metrics[metrics["shipped"]]["inference_flops_per_row"]
    assert shipped == pytest.approx(routing + models * one_model(metrics))
    assert sum(metrics["gate"]["answered"].values()) <= 1 + 1e-9


def one_model(metrics):
    """FLOPs of one model's answer."""
    return metrics["generalist"]["inference_flops_per_row"]


def test_the_report_shows_what_each_column_was_taken_for(finished):
    """A wrong inference is seen on the page, not only in a log."""
    page = (finished.folder / "results" / "tiny" / "report.html").read_text()

    assert "column town" in page
    assert "categorical, declared" in page


def test_every_test_row_is_predicted_exactly_once(finished):
    """The predictions hold the test fold's keys, each once."""
    (path,) = finished.generation.glob("evaluate/*/*/predictions.parquet")
    predicted = Counter(pd.read_parquet(path)["key"])
    expected: Counter[bytes] = Counter()
    for table in finished.generation.glob("split/*/rows/*/*.parquet"):
        rows = pd.read_parquet(table)
        expected.update(rows.loc[rows["_fold"] == 2, "_key"])

    assert predicted == expected


def test_no_row_is_lost_between_stages(finished):
    """Each shard has the same number of rows in every stage, or says which step dropped them."""
    for source in (finished.folder / "data").glob("*.csv"):
        assert len(pd.read_csv(source)) == 150
    for path in finished.generation.glob("*/*/rows/*/*.parquet"):
        table = Table(path)
        assert table.rows + sum(table.record["dropped"].values()) == table.record["rows_in"] == 150
    stores = list(finished.generation.glob("*/*/rows/*/*.zarr.zip"))
    assert len(stores) == 2 * 3
    for path in stores:
        with ShardRows(path) as store:
            assert store.rows == store.attributes["rows_in"] == 150


def test_a_specialist_reads_its_own_rows_only(finished):
    """Rows read are the partition's, up to the chunks at the ends of its ranges."""
    (index_path,) = finished.generation.glob("cluster/*/indexes/*/index.json")
    index = json.loads(index_path.read_text())
    shards = 3
    for entry in index["partitions"]:
        ledgers = finished.generation.glob(f"specialists/*/{entry['digests']['train']}/*/*.json")
        for path in ledgers:
            read = json.loads(path.read_text())["rows_read"]
            assert entry["rows"]["train"] <= read
            assert read <= entry["rows"]["train"] + shards * 2 * CHUNK_ROWS


def test_the_same_inputs_give_the_same_bits(copied):
    """Base and specialists trained again have the same bytes."""
    paths = sorted(copied.generation.glob("specialists/*/*/*/*/model.safetensors"))
    paths += copied.generation.glob("base/*/base.safetensors")
    before = {path: path.read_bytes() for path in paths}
    for path in paths:
        path.unlink()

    ran = Counter(copied.run())

    assert (ran["base_fit"], ran["train_specialist"]) == (1, 4)
    assert {path: path.read_bytes() for path in paths} == before


def test_the_pool_predicts_elsewhere_without_workflow_or_data(finished, tmp_path: Path):
    """A moved pool gives, in a fresh process, the predictions that evaluate scored."""
    shutil.copytree(finished.folder / "results" / "tiny" / "pool", tmp_path / "pool")
    source = finished.folder / "data" / "part-0.csv"
    pd.read_csv(source).drop(columns=["label"]).to_csv(tmp_path / "new.csv", index=False)

    command = ["shoal", "predict", "pool", "new.csv", "--out", "said.parquet"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)

    said = pd.read_parquet(tmp_path / "said.parquet")["prediction"]
    (table,) = (
        rows
        for path in finished.generation.glob("split/*/rows/*/*.parquet")
        if (rows := pd.read_parquet(path))["a"].equals(pd.read_csv(source)["a"])
    )
    (path,) = finished.generation.glob("evaluate/*/*/predictions.parquet")
    scored = pd.read_parquet(path).set_index("key")["pool_top1"]
    test = table["_fold"] == 2
    assert test.sum() > 5
    assert list(said[test]) == list(scored[table.loc[test, "_key"]])


def test_the_pool_answers_in_python_row_by_row(finished):
    """load(POOL).predict(table) takes a data frame; a row's answer does not depend on others."""
    import shoal

    pool = shoal.load(finished.folder / "results" / "tiny" / "pool")
    table = pd.read_csv(finished.folder / "data" / "part-1.csv")

    whole = pool.predict(table).to_pandas()
    one = pool.predict(table.iloc[[7]]).to_pandas()

    assert len(whole) == 150
    assert (whole.iloc[7] == one.iloc[0]).all()


def test_a_row_that_does_not_encode_is_named_in_its_file(finished, tmp_path: Path):
    """The line has file, row and column, and nothing that only the pool's maker can do."""
    rows = pd.read_csv(finished.folder / "data" / "part-0.csv")
    rows["a"] = rows["a"].astype(float)
    rows.loc[4, "a"] = 1e300
    rows.to_csv(tmp_path / "new.csv", index=False)
    pool = str(finished.folder / "results" / "tiny" / "pool")

    result = finished.shoal("predict", pool, str(tmp_path / "new.csv"), "--out", "said.csv")

    assert result.returncode == 2
    assert result.stderr == (
        f"shoal: error: {tmp_path}/new.csv: row 5, column 'a': 1e+300 is not finite once encoded "
        f"as float32; clip or clean it\n"
    )
    assert not (finished.folder / "said.csv").exists()


def test_a_pool_with_a_changed_file_does_not_load(finished, tmp_path: Path):
    """A flipped bit anywhere in the pool is found before anything is predicted."""
    import shoal
    from shoal.errors import CorruptError

    pool = tmp_path / "pool"
    shutil.copytree(finished.folder / "results" / "tiny" / "pool", pool)
    specialist = next((pool / "specialists").iterdir())
    content = bytearray(specialist.read_bytes())
    content[-1] ^= 1
    specialist.write_bytes(bytes(content))

    with pytest.raises(CorruptError, match=r"\.safetensors: does not match its hash"):
        shoal.load(pool)


def test_nothing_in_results_is_a_pickle(finished):
    """No file in the results folder begins as a pickle does and goes on as one.

    Headers of safetensors begin with their length, which may be the same byte.
    """
    for path in (finished.folder / "results").rglob("*"):
        if path.is_file() and (content := path.read_bytes())[:1] == b"\x80":
            with pytest.raises(ValueError, match="opcode"):
                list(pickletools.genops(content))


def test_planning_imports_no_torch(finished):
    """A dry run stays light: neither torch nor Lightning nor scikit-learn is imported."""
    code = (
        "import sys; from pathlib import Path; from types import SimpleNamespace as Facts;"
        "from shoal.workflow.plans import Plans;"
        "snakemake = Facts(remote_exec=False, config_settings=Facts(config_args=[]));"
        "Plans({'experiment': 'tiny'}, Path('config'), snakemake);"
        "print([m for m in ('torch', 'pytorch_lightning', 'sklearn') if m in sys.modules])"
    )

    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=finished.folder,
        capture_output=True,
        text=True,
        check=True,
    )

    assert result.stdout.strip() == "[]"


def test_a_job_on_a_node_needs_neither_configuration_nor_sources(copied):
    """Snakemake there gets the settings file of the run, and composes nothing."""
    (rows,) = copied.generation.glob("encode/*/rows/*/584efeec2b1d.zarr.zip")
    before = rows.read_bytes()
    rows.unlink()
    shutil.rmtree(copied.folder / "config")
    shutil.rmtree(copied.folder / "data")
    (run,) = (copied.folder / "results" / "tiny" / "settings").iterdir()
    *_, encode, _, made, _ = rows.parts
    names = {"experiment": "tiny", "generation": "g1", "encode_id": encode, "rows_id": made}
    wildcards = ",".join(f"{name}={value}" for name, value in names.items())
    job = f"encode:{wildcards},shard={rows.name.split('.')[0]}"

    result = subprocess.run(
        [
            *("snakemake", "--mode", "remote", "--nolock", "--ignore-incomplete", "--force"),
            *("--cores", "1", "--allowed-rules", "encode", "--target-jobs", job),
            *("--config", "experiment=tiny", f"runs={run.relative_to(copied.folder)}"),
        ],
        cwd=copied.folder,
        env=copied.environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stderr
    assert rows.read_bytes() == before


def test_partitions_that_are_all_too_small_leave_a_pool_without_specialists(copied):
    """It answers with the base or the generalist, and is evaluated like any other."""
    copied.run(overrides="[cluster.min_rows=1000]")

    gate = copied.metrics()["gate"]
    assert (gate["specialists"], gate["serving"]) == (0, 0)
