"""A small experiment from source files to pool, by the real Snakemake."""

import base64
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from shoal.store import CHUNK_ROWS, ShardRows
from shoal.tables import Table
from tests.workflow.small import Experiment, jobs, nudge_training_rows

ROOT = Path(__file__).parents[2]


def test_the_plan_of_a_fresh_clone_is_what_runs(finished):
    """Dry run and run list the same jobs (the fixture compares them), partitions x points."""
    trained = list((finished.generation / "specialists").rglob("model.safetensors"))

    assert len(trained) == 2 * 2


def test_a_second_run_has_nothing_to_do(finished):
    """No job runs when nothing changed."""
    assert finished.run() == []


def test_the_demo_plans_without_its_data(experiment):
    """On a fresh clone, before the demo's files exist, every stage is in the plan."""
    demo = ROOT / "config" / "experiment" / "demo.yaml"
    (experiment.folder / "config" / "experiment" / "demo.yaml").symlink_to(demo)

    planned = Counter(experiment.plan(name="demo"))

    assert planned["demo_data"] == 1
    assert planned["split"] == planned["embed"] == planned["assign"] == 8
    assert planned["train_specialist"] == 8 * 2
    assert planned["evaluate"] == planned["pool"] == 1
    assert not (experiment.folder / "results").exists()


def test_metrics_hold_every_contender_and_equal_training_flops(finished):
    """metrics.json has the promised numbers; the generalist cost what the pool cost."""
    metrics = finished.metrics()

    assert metrics["metric"] == "accuracy"
    assert metrics["verdict"] in ("helps", "hurts", "no difference")
    assert metrics["partitions"] == 2
    assert sum(metrics["rows"].values()) == 450
    for name in ("pool_top1", "pool_top2", "generalist", "random_partitions", "constant"):
        assert 0 <= metrics[name]["score"] <= 1
        assert {"train_flops", "inference_flops_per_row"} <= set(metrics[name])
    pool, generalist = (metrics[name]["train_flops"] for name in ("pool_top1", "generalist"))
    assert generalist == pytest.approx(pool, rel=0.05)


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
    assert len(stores) == 3 * 3
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
    paths = sorted(copied.generation.glob("specialists/*/*/*/model.safetensors"))
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
    """No file in the results folder begins as a pickle does."""
    for path in (finished.folder / "results").rglob("*"):
        if path.is_file():
            assert path.read_bytes()[:1] != b"\x80", path


def test_a_new_grid_point_trains_only_itself(copied):
    """A third value of a list adds one specialist a partition and repeats no earlier one."""
    planned = Counter(copied.plan(overrides="[grid.lr=[0.01,0.03,0.1]]"))

    assert planned["train_specialist"] == 2
    assert not {"split", "encode", "embed_fit", "base_fit", "assign", "partition"} & set(planned)


def test_a_touched_source_file_reruns_nothing(copied):
    """Content decides, not time."""
    for path in (copied.folder / "data").glob("*.csv"):
        os.utime(path)

    assert copied.plan() == []


def test_a_changed_row_retrains_its_partition_alone(copied):
    """A training row that stays in its partition changes that partition's specialists only."""
    nudge_training_rows(copied, 1)

    ran = Counter(copied.run())

    assert ran["train_specialist"] == 2
    assert (ran["split"], ran["encode"], ran["assign"]) == (1, 1, 1)
    assert not {"split_fit", "encode_fit", "embed_fit", "cluster_fit", "base_fit"} & set(ran)


def test_a_removed_file_is_gone_from_the_results_in_one_run(copied):
    """Fewer rows are a change like any other: the index sees it in the same run."""
    (copied.folder / "data" / "part-2.csv").unlink()

    ran = copied.run()

    assert {"partition", "train_specialist", "evaluate", "pool_publish"} <= set(ran)
    assert not {"split_fit", "encode_fit", "embed_fit", "cluster_fit", "base_fit"} & set(ran)
    assert sum(copied.metrics()["rows"].values()) == 300
    assert copied.run() == []


def test_a_renamed_source_file_reruns_nothing(copied):
    """Names are no content."""
    (copied.folder / "data" / "part-0.csv").rename(copied.folder / "data" / "other.csv")

    assert copied.plan() == []


def test_an_undone_change_runs_no_job_but_the_publishing(copied):
    """The old files are found again, the index among them; the pool is copied back."""
    path = copied.folder / "data" / "part-0.csv"
    before = path.read_text()
    pool = copied.folder / "results" / "tiny" / "pool" / "manifest.json"
    manifest = pool.read_bytes()
    path.write_text("\n".join(before.splitlines()[:-9]) + "\n")
    copied.run()
    assert pool.read_bytes() != manifest
    path.write_text(before)

    assert copied.plan() == copied.run() == ["pool_publish"]
    assert pool.read_bytes() == manifest


def test_results_go_on_elsewhere_without_snakemakes_records(copied, tmp_path: Path):
    """Nothing is judged by time or by what .snakemake holds."""
    elsewhere = Experiment(tmp_path / "elsewhere")
    hidden = shutil.ignore_patterns(".snakemake")
    shutil.copytree(
        copied.folder, elsewhere.folder, True, ignore=hidden, copy_function=shutil.copyfile
    )

    assert elsewhere.plan() == []


def test_a_job_cut_off_after_its_file_was_whole_hides_nothing(copied):
    """Snakemake's mark neither makes a whole file again nor leaves out what follows it."""
    encoded = forget_what_follows_an_encoded_shard(copied)
    name = base64.urlsafe_b64encode(str(encoded.relative_to(copied.folder)).encode()).decode()
    (copied.folder / ".snakemake" / "incomplete" / name).write_text('{"external_jobid": null}')

    assert copied.run("--rerun-incomplete") == ["assign", "embed", "partition"]


def test_a_rule_in_other_words_makes_no_file_again(copied):
    """A path says what its file is made from; the words of the rule are no part of that."""
    forget_what_follows_an_encoded_shard(copied)
    rules = (copied.folder / "workflow").resolve()
    (copied.folder / "workflow").unlink()
    shutil.copytree(rules, copied.folder / "workflow")
    rule = copied.folder / "workflow" / "rules" / "encode.smk"
    rule.write_text(rule.read_text().replace('"shoal encode ', '"shoal  encode '))

    assert copied.run() == ["assign", "embed", "partition"]


def forget_what_follows_an_encoded_shard(experiment: Experiment) -> Path:
    """Remove what was made of one shard after its encoding; the encoded shard."""
    (encoded, *_) = (experiment.generation / "encode").rglob("*.zarr.zip")
    for stage in ("embed", "cluster"):
        for path in (experiment.generation / stage).rglob(f"{encoded.name.split('.')[0]}.*"):
            path.unlink()
    return encoded


def test_changed_code_runs_its_stage_again_and_trains_nothing(copied, tmp_path: Path):
    """Rows that the new code leaves as they were keep their digests, so training stays."""
    shutil.copytree(ROOT / "src", tmp_path / "src")
    module = tmp_path / "src" / "shoal" / "embed" / "apply.py"
    module.write_text(module.read_text() + "# changed\n")

    cold = Experiment(copied.folder)

    ran = Counter(cold.run(PYTHONPATH=str(tmp_path / "src")))

    assert (ran["embed"], ran["assign"], ran["partition"]) == (3, 3, 1)
    assert not {"split", "encode", "train_specialist", "train_router"} & set(ran)
    assert not [rule for rule in ran if rule.endswith("_fit")]


def test_changed_code_of_a_fit_is_said_and_refits_nothing(copied, tmp_path: Path):
    """The generation stays as it is; the terminal says that a refit is needed."""
    shutil.copytree(ROOT / "src", tmp_path / "src")
    module = tmp_path / "src" / "shoal" / "embed" / "pca.py"
    module.write_text(module.read_text() + "# changed\n")

    cold = Experiment(copied.folder)

    result = cold.snakemake("-n", PYTHONPATH=str(tmp_path / "src"))

    assert "refit needed: the code of embed" in result.stderr
    assert "embed_fit" not in jobs(result.stdout + result.stderr)


def test_a_changed_model_file_trains_specialists_and_no_base(experiment):
    """The user's file counts as code: what uses it runs again, the frozen base stays."""
    model = experiment.folder / "my_model.py"
    model.write_text(MODEL)
    own = "[model._target_=my_model.Net]"
    experiment.run(overrides=own)
    model.write_text(MODEL.replace("ReLU", "Tanh"))

    ran = Counter(experiment.run(overrides=own))

    assert ran["train_specialist"] == 4
    assert not {"split", "encode", "assign", "partition", "base_fit"} & set(ran)


MODEL = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self, features, outputs, width, depth):
        super().__init__(nn.Linear(features, width), nn.ReLU(), nn.Linear(width, outputs))
"""


def test_planning_imports_no_torch(finished):
    """A dry run stays light: neither torch nor Lightning nor scikit-learn is imported."""
    code = (
        "import sys; from pathlib import Path; from shoal.workflow.rules import RulesPlan;"
        "RulesPlan({'experiment': 'tiny'}, Path('config'), None);"
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
