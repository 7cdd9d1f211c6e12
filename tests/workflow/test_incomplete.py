"""A run in which the training of some specialists fails, and the pool without them."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.workflow.small import Experiment, remove_training_row, set_up
from tests.workflow.spoil import audited
from tests.workflow.test_plan_command import planned, rules
from tests.workflow.test_warm import files

ON = "[changes.incomplete=true]"
ARGUMENTS = ("-c", "2", "--scheduler", "greedy")
REASON = "the loss became nan at step 7"


def failing(programs: Path, folder: Path) -> Path:
    """``snakemake`` and ``shoal``; the latter fails where SHOAL_FAIL is among its arguments."""
    folder.mkdir()
    (folder / "snakemake").symlink_to(programs / "snakemake")
    wrapper = folder / "shoal"
    wrapper.write_text(
        "#!/bin/sh\n"
        'case " $* " in *" ${SHOAL_FAIL:-nothing} "*) echo "shoal: error: '
        f'{REASON}"; exit 2;; esac\n'
        f'exec {programs}/shoal "$@"\n'
    )
    wrapper.chmod(0o755)
    return folder


def options_of(slot: Path) -> str:
    """How the command that trains a slot names it."""
    digest, step, name = slot.parts[-3:]
    return f"--digest {digest} --step {step} --slot {name}"


@pytest.fixture(scope="module")
def failed_once(finished, warm, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """A first run in which partition 1 could not be trained, then one that may be incomplete."""
    folder = tmp_path_factory.mktemp("incomplete")
    experiment = Experiment(
        set_up(folder / "experiment").folder, failing(warm.bin, folder / "programs")
    )
    result = experiment.snakemake(*ARGUMENTS, "--keep-going", SHOAL_FAIL=digest(finished, 1))
    (experiment.folder / "stderr").write_text(result.stderr)
    assert result.returncode == 2, result.stderr
    shutil.copyfile(record_path(experiment), experiment.folder / "failed.json")
    experiment.run(overrides=ON)
    return experiment


@pytest.fixture
def incomplete(failed_once, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Experiment:
    """A copy of the incomplete experiment, in which the test stands."""
    copy = failed_once.copy(tmp_path / "experiment")
    monkeypatch.chdir(copy.folder)
    return copy


def index(experiment: Experiment) -> dict[str, Any]:
    """The partition index."""
    (path,) = experiment.generation.glob("cluster/*/indexes/*/index.json")
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def digest(experiment: Experiment, partition: int) -> str:
    """Training digest of a partition."""
    return str(index(experiment)["partitions"][partition]["specialist"])


def record_path(experiment: Experiment) -> Path:
    return experiment.folder / "results" / "tiny" / "failed.json"


def test_a_failed_run_records_the_specialists_and_names_the_setting(failed_once):
    """Folder, reason and log of each, and the override that goes on without them."""
    record = json.loads((failed_once.folder / "failed.json").read_text())
    said = (failed_once.folder / "stderr").read_text()

    assert len(record["specialists"]) == 2
    for entry in record["specialists"]:
        assert Path(entry["folder"]).parts[-3] == digest(failed_once, 1)
        assert entry["reason"] == REASON
        assert REASON in (failed_once.folder / entry["log"]).read_text()
    assert "training failed for 2 specialists, see results/tiny/failed.json" in said
    assert "changes.incomplete=true" in said


def test_the_pool_without_them_is_marked(failed_once):
    """Manifest, metrics, verdict and report say which partition lacks what, and why."""
    line = f"incomplete: partition 1 without a specialist, because {REASON}"
    results = failed_once.folder / "results" / "tiny"
    manifest = json.loads((results / "pool" / "manifest.json").read_text())

    assert [entry["partition"] for entry in manifest["specialists"]] == [0]
    assert manifest["incomplete"] == failed_once.metrics()["incomplete"]
    assert [lack["partition"] for lack in manifest["incomplete"]] == [1]
    assert line in (results / "report.html").read_text()
    assert line in " ".join(failed_once.shoal("verdict", str(results)).stdout.split())


def test_rows_of_a_partition_without_a_specialist_go_to_the_base(failed_once):
    """By the base, or by the generalist if the pool holds it; its specialist is asked for none."""
    (path,) = failed_once.generation.glob("evaluate/*/*/predictions.parquet")
    predictions = pd.read_parquet(path)
    asked = predictions.groupby("partition")["specialist"].agg(set)

    gate = json.loads((failed_once.folder / "results/tiny/pool/gate.json").read_text())
    assert asked[1] == {-2 if min(gate["shares"].values()) < 1 else -1}
    assert asked[0] <= ({0, *asked[1]} if gate["shares"]["0"] else {-2})


def test_nothing_is_left_to_do_while_it_may_be_incomplete(incomplete):
    """Plan, dry run and audit agree that the incomplete pool is what was asked for."""
    document = planned(incomplete, "changes.incomplete=true")

    assert incomplete.plan(overrides=ON) == rules(document) == []
    assert [part["status"] for part in document["partitions"]] == ["fresh", "failed"]
    assert [lack["reasons"] for lack in document["incomplete"]] == [[REASON]]
    assert audited("changes.incomplete=true")[0] == 0
    code, lines = audited()
    assert code == 1
    assert sum("specialists" in line and "is not there" in line for line in lines) == 4


def test_what_was_left_out_stays_out_when_other_rows_change(incomplete):
    """The other partition trains; the generation's incomplete pools share their baselines."""
    remove_training_row(incomplete, 0)

    ran = Counter(incomplete.run(overrides=ON))

    assert ran["partition"] == 1
    assert (ran["train_specialist"], ran["train_choose"], ran["pool"]) == (2, 1, 1)
    assert not {"evaluate_generalist", "evaluate_random"} & set(ran)
    assert [lack["partition"] for lack in incomplete.metrics()["incomplete"]] == [1]
    assert incomplete.plan(overrides=ON) == []


def test_once_fixed_the_pool_is_that_of_an_undisturbed_run(incomplete, finished):
    """Without the setting exactly what is missing runs, and the bits are those of a clean run."""
    ran = incomplete.run()

    assert Counter(ran)["train_specialist"] == 2
    assert Counter(ran)["train_choose"] == 1
    assert "base_fit" not in ran
    assert not record_path(incomplete).exists()
    clean, mended = files(finished.folder / "results"), files(incomplete.folder / "results")
    apart = ("tiny/settings.json", "tiny/store/")  # the store was saved into once more
    kept = {name: value for name, value in clean.items() if not name.startswith(apart)}
    assert kept.items() <= mended.items()
    assert incomplete.metrics()["incomplete"] == []
    assert incomplete.plan(overrides=ON) == []
    assert audited()[0] == 0


def test_garbage_of_neither_pool_is_kept_and_nothing_else_is_garbage(incomplete):
    """The published incomplete pool is reached, whatever the setting is now."""
    before = set(incomplete.generation.rglob("*"))

    for overrides in ((), ("changes.incomplete=true",)):
        result = incomplete.shoal("gc", "tiny", *overrides, "--remove", "--keep", "1")
        assert result.returncode == 0, result.stderr

    assert set(incomplete.generation.rglob("*")) == before


def test_one_grid_point_that_failed_leaves_the_choice_among_the_others(copied, tmp_path: Path):
    """A partition whose other grid point is trained keeps a specialist."""
    copied.programs = failing(copied.programs, tmp_path / "programs")
    (path, *_) = sorted(copied.generation.glob(f"specialists/*/{digest(copied, 0)}/0/*"))
    shutil.rmtree(path)
    (choice,) = copied.generation.glob(f"choices/*/{digest(copied, 0)}")
    shutil.rmtree(choice)
    result = copied.snakemake(*ARGUMENTS, SHOAL_FAIL=options_of(path))
    assert result.returncode == 2, result.stderr

    ran = copied.run(overrides=ON)

    assert Counter(ran)["train_choose"] == 1
    assert "train_specialist" not in ran
    assert len(json.loads((copied.folder / "results/tiny/failed.json").read_text())) == 1
    (lack,) = copied.metrics()["incomplete"]
    assert (lack["partition"], lack["specialist"], lack["points"]) == (0, True, [path.name])


def test_a_pool_of_the_base_alone_is_built(copied, tmp_path: Path):
    """Where no specialist can be trained every row goes to the base."""
    copied.programs = failing(copied.programs, tmp_path / "programs")
    for name in ("specialists", "choices"):
        shutil.rmtree(copied.generation / name)
    arguments = (*ARGUMENTS, "--keep-going")
    assert copied.snakemake(*arguments, SHOAL_FAIL="train-specialist").returncode == 2

    copied.run(overrides=ON)

    assert [lack["partition"] for lack in copied.metrics()["incomplete"]] == [0, 1]
    manifest = json.loads((copied.folder / "results/tiny/pool/manifest.json").read_text())
    assert manifest["specialists"] == []
    assert copied.plan(overrides=ON) == []
