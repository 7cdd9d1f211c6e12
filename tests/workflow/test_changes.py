"""What a change sets off in a finished experiment, and what it leaves alone."""

import base64
import os
import shutil
from collections import Counter
from pathlib import Path

from tests.workflow.small import Experiment, as_config, jobs, nudge_training_rows

ROOT = Path(__file__).parents[2]


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
    """The old files are found again, the index among them; the pool is copied back, and said of."""
    path = copied.folder / "data" / "part-0.csv"
    before = path.read_text()
    pool = copied.folder / "results" / "tiny" / "pool" / "manifest.json"
    manifest = pool.read_bytes()
    path.write_text("\n".join(before.splitlines()[:-9]) + "\n")
    copied.run()
    assert pool.read_bytes() != manifest
    path.write_text(before)

    assert copied.plan() == copied.run() == ["answers", "pool_publish"]
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

    assert copied.run("--rerun-incomplete") == ["assign", "partition"]


def test_a_rule_in_other_words_makes_no_file_again(copied):
    """A path says what its file is made from; the words of the rule are no part of that."""
    forget_what_follows_an_encoded_shard(copied)
    rules = (copied.folder / "workflow").resolve()
    (copied.folder / "workflow").unlink()
    shutil.copytree(rules, copied.folder / "workflow")
    rule = copied.folder / "workflow" / "rules" / "encode.smk"
    rule.write_text(rule.read_text().replace('"shoal encode ', '"shoal  encode '))

    assert copied.run() == ["assign", "partition"]


def forget_what_follows_an_encoded_shard(experiment: Experiment) -> Path:
    """Remove what was made of one shard after its encoding; the encoded shard."""
    (encoded, *_) = (experiment.generation / "encode").rglob("*.zarr.zip")
    for path in (experiment.generation / "cluster").rglob(f"{encoded.name.split('.')[0]}.*"):
        path.unlink()
    return encoded


def test_changed_code_runs_its_stage_again_and_trains_nothing(copied, tmp_path: Path):
    """Rows that the new code leaves as they were keep their digests, so training stays."""
    shutil.copytree(ROOT / "src", tmp_path / "src")
    module = tmp_path / "src" / "shoal" / "embed" / "apply.py"
    module.write_text(module.read_text() + "\nCHANGED = 1\n")

    cold = Experiment(copied.folder)

    ran = Counter(cold.run(PYTHONPATH=str(tmp_path / "src")))

    assert (ran["assign"], ran["partition"]) == (3, 1)
    assert not {"split", "encode", "train_specialist"} & set(ran)
    assert not [rule for rule in ran if rule.endswith("_fit")]


def test_changed_code_of_a_fit_is_said_and_refits_nothing(copied, tmp_path: Path):
    """The generation stays as it is; the terminal says that a refit is needed."""
    shutil.copytree(ROOT / "src", tmp_path / "src")
    module = tmp_path / "src" / "shoal" / "embed" / "pca.py"
    module.write_text(module.read_text() + "\nCHANGED = 1\n")

    cold = Experiment(copied.folder)

    result = cold.snakemake("-n", PYTHONPATH=str(tmp_path / "src"))

    assert "refit needed: the code of embed" in result.stderr
    assert "embed_fit" not in jobs(result.stdout + result.stderr)


def test_a_changed_model_file_needs_a_refit(experiment):
    """Neither plan nor run starts specialists of the new model from the old base, loudly."""
    model = experiment.folder / "my_model.py"
    model.write_text(MODEL)
    target = "model._target_=my_model.Net"
    first = experiment.snakemake("-c", "2", "--until", "base_fit", overrides=f"[{target}]")
    assert first.returncode == 0, first.stderr
    model.write_text(f'"""Words."""\n# and more\n{MODEL}')
    assert "base_fit" not in experiment.plan(as_config(target))
    model.write_text(MODEL.replace("ReLU", "Tanh"))
    said = f"shoal: error: refit needed: {model} or what it uses has changed since the base of "

    for result in (
        experiment.snakemake("-n", overrides=f"[{target}]"),
        experiment.shoal("plan", "tiny", target),
    ):
        assert result.returncode == 2
        (line,) = result.stderr.splitlines()[-1:]
        assert line.startswith(said)
        assert f"`shoal refit tiny {target}` starts the next generation" in line

    other_arguments = as_config(target, "model.width=5")
    assert "base_fit" in experiment.plan(other_arguments)
    assert experiment.shoal("refit", "tiny", target).returncode == 0
    assert {"split_fit", "base_fit"} <= set(experiment.plan(f"[{target}]"))
    model.write_text(MODEL)
    assert "base_fit" not in experiment.plan(as_config(target, "generation=1"))


MODEL = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self, features, outputs, width, depth):
        super().__init__(nn.Linear(features, width), nn.ReLU(), nn.Linear(width, outputs))
"""
