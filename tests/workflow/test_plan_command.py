"""`shoal plan` and `shoal refit` on a small real workflow."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.workflow.small import Experiment

FITS = ["split", "transform", "encode", "base", "embed", "cluster", "baselines"]


def planned(experiment, *overrides: str, name: str = "tiny") -> dict[str, Any]:
    """What ``shoal plan --json`` prints."""
    result = experiment.shoal("plan", name, *overrides, "--json")
    assert result.returncode == 0, result.stderr
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def rules(document: dict[str, Any]) -> list[str]:
    """Rules of the jobs that would run, sorted."""
    return sorted(job["rule"] for job in document["jobs"])


def training_line(experiment) -> int:
    """Line, below the header, of the first training row of the first source file."""
    first = pd.read_csv(experiment.folder / "data" / "part-0.csv")
    for path in experiment.generation.glob("split/*/rows/*/*.parquet"):
        table = pd.read_parquet(path)
        if table["a"].equals(first["a"]):
            return int((table["_fold"] == 0).idxmax()) + 1
    raise AssertionError("the first source file has no split table")


def change(experiment, second_number: str | None) -> None:
    """Give a training row another value of b, or remove the row."""
    path = experiment.folder / "data" / "part-0.csv"
    lines = path.read_text().splitlines()
    place = training_line(experiment)
    if second_number is None:
        del lines[place]
    else:
        cells = lines[place].split(",")
        cells[2] = second_number
        lines[place] = ",".join(cells)
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def done(finished, warm):
    """The finished experiment, with quick programs. Tests must leave it as it is."""
    return Experiment(finished.folder, warm.bin)


@pytest.fixture(scope="module")
def removed(finished, tmp_path_factory: pytest.TempPathFactory):
    """The finished experiment less one training row."""
    experiment = finished.copy(tmp_path_factory.mktemp("removed") / "experiment")
    change(experiment, None)
    return experiment


def test_the_plan_of_a_changed_row_is_what_snakemake_shows_and_what_runs(copied):
    """Plan, dry run and run list the same jobs; afterwards nothing is left to do."""
    change(copied, "0.123")

    document = planned(copied)

    assert rules(document) == copied.plan()
    changed, fresh = sorted(document["partitions"], key=lambda part: part["status"])
    assert (changed["status"], fresh["status"]) == ("changed", "fresh")
    assert changed["changes"] == {"train": [1, 1]}
    assert changed["why"] == ["rows of data/part-0.csv"]
    assert changed["cost"]["jobs"] == 3
    assert (fresh["why"], fresh["cost"]["jobs"]) == ([], 0)
    total = document["total"]
    assert 0 < total["run"]["flops"] < total["full"]["flops"]
    assert copied.run() == rules(document)
    after = planned(copied)
    assert (after["jobs"], after["total"]["run"]["flops"]) == ([], 0)
    assert {part["status"] for part in after["partitions"]} == {"fresh"}
    assert after["removed"]["seen"] == [{"stages": FITS, "rows": 1, "exact": True}]


def test_the_estimate_of_a_specialist_is_what_its_ledger_counts(done):
    """FLOPs of a specialist follow exactly from its rows."""
    document = planned(done)
    ledgers = done.generation.glob("specialists/*/*/*/*/ledger.json")
    counted = sum(json.loads(path.read_text())["flops"] for path in ledgers)
    fits = [*done.generation.glob("embed/*/ledger.json")]
    fits += [*done.generation.glob("cluster/*/ledger.json")]
    fits += [*done.generation.glob("base/*/ledger.json")]
    others = [*done.generation.glob("router/*/*/ledger.json")]
    others += [
        *done.generation.glob("choices/*/*/*/*.json"),
        *done.generation.glob("gate/*/*.json"),
        *done.generation.glob("ask/*/*/*/ledger.json"),
    ]
    made = sum(json.loads(path.read_text())["flops"] for path in [*fits, *others])
    (gate,) = done.generation.glob("gate/*/*.json")
    made -= json.loads(gate.read_text())["detail"]["answers"]  # those that ask has counted
    (base,) = (json.loads(path.read_text())["flops"] for path in fits if "base" in path.parts)
    baselines = [
        json.loads(path.read_text())["flops"] - base
        for path in done.generation.glob("baselines/*/*/*.json")
    ]

    full = document["total"]["full"]["flops"]

    assert full == pytest.approx(counted + made + sum(baselines))


def test_a_removed_row_names_what_is_trained_again_and_what_has_seen_it(removed):
    """Its specialist forgets it in the next run; the generation's fits do so in a refit only."""
    document = planned(removed)

    (partition,) = document["removed"]["retrained"]
    assert document["partitions"][partition]["changes"] == {"train": [0, 1]}
    assert document["removed"]["seen"] == [{"stages": FITS, "rows": 1, "exact": True}]
    text = removed.shoal("plan", "tiny").stdout
    assert "Generation 1 has seen 1 training row that was removed or edited since" in text
    assert "`shoal refit tiny`" in " ".join(text.split())


def test_a_tolerated_change_is_shown_as_waiting(removed):
    """A partition that waits has no training job, and still holds the removed row."""
    overrides = "changes.tolerance=0.5"
    document = planned(removed, overrides)

    assert rules(document) == removed.plan(overrides=f"[{overrides}]")
    assert "train_specialist" not in rules(document)
    (waiting,) = (part for part in document["partitions"] if part["status"] == "waiting")
    assert (waiting["waiting"]["added"], waiting["waiting"]["removed"]) == (0, 1)
    assert document["removed"]["waiting"] == [waiting["partition"]]
    assert document["removed"]["retrained"] == []


def test_a_new_grid_point_is_the_reason_for_its_own_jobs(done):
    """Partitions of the same rows are changed by the point, and the plan is the dry run's."""
    overrides = "grid.lr=[0.01,0.03,0.1]"
    document = planned(done, overrides)

    assert rules(document) == done.plan(overrides=f"[{overrides}]")
    for part in document["partitions"]:
        assert (part["status"], part["why"]) == ("changed", ["new grid point lr=0.1"])
        assert (part["changes"], part["cost"]["jobs"]) == ({}, 2)
    assert document["settings"] == [
        {"name": "grid.lr", "before": [0.01, 0.03], "after": [0.01, 0.03, 0.1]}
    ]


@pytest.mark.parametrize("override", ["model.width=5", "train_specialists.weight_decay=0.1"])
def test_other_settings_of_the_base_are_said_to_be_a_refit_of_it(done, override):
    """The plan says so first, and lists the base's own job beside those of all specialists."""
    document = planned(done, override)

    assert document["other_base"]
    assert {"base_fit", "train_specialist", "evaluate_generalist"} <= set(rules(document))
    shown = " ".join(done.shoal("plan", "tiny", override).stdout.split())
    assert "Refit of the base: its model or settings are not those of the published" in shown
    assert "refit of the base: " in done.snakemake("-n", overrides=f"[{override}]").stderr
    assert not planned(done)["other_base"]


def test_a_generation_that_is_not_fitted_is_planned_with_upper_bounds(done):
    """Fits are not run for a plan: it says so, and lists what the dry run lists."""
    overrides = "embed.dims=1"
    document = planned(done, overrides)

    assert not document["exact"]
    assert rules(document) == done.plan(overrides=f"[{overrides}]")
    assert {part["why"][0] for part in document["partitions"]} == {"settings of embed changed"}
    text = done.shoal("plan", "tiny", overrides).stdout
    assert "upper bounds" in text
    assert "≤" in text


def test_the_first_plan_is_the_first_dry_run_and_costs_are_unknown(experiment):
    """Before anything ran there is no past job to learn a cost from."""
    document = planned(experiment)

    assert rules(document) == experiment.plan()
    assert {part["why"][0] for part in document["partitions"]} == {"first run"}
    assert document["total"]["full"]["seconds"] is None
    assert document["total"]["percent"] == {"jobs": 100.0, "seconds": None, "flops": None}


def test_rows_of_a_class_that_came_later_need_a_refit(copied):
    """The plan says how many training rows no model of this generation can learn from."""
    with (copied.folder / "data" / "part-0.csv").open("a") as file:
        file.writelines(f"new-{number},0.1,0.5,south,-,maybe\n" for number in range(20))

    document = planned(copied)

    added = sum(part["changes"]["train"][0] for part in document["partitions"] if part["changes"])
    assert added > 5
    expected = f"training rows of classes that it does not know: {added}"
    assert document["refit_needed"] == [expected]


def test_a_mistake_in_a_source_file_is_one_line(copied):
    """What Snakemake says is hidden where Shoal's own line says it all."""
    with (copied.folder / "data" / "part-0.csv").open("a") as file:
        file.write("new,high,0.5,south,-,yes\n")

    result = copied.shoal("plan", "tiny")

    assert result.returncode == 2
    (line,) = (line for line in result.stderr.splitlines() if "bringing the" not in line)
    assert line.startswith("shoal: error: data/part-0.csv: row 151, column 'a': 'high'")


def test_refit_starts_the_next_generation_beside_the_old(copied):
    """Everything is planned anew, the published pool stays, and the old one can be gone back to."""
    pool = (copied.folder / "results" / "tiny" / "pool" / "manifest.json").read_bytes()

    said = copied.shoal("refit", "tiny").stdout

    assert "take generation 2" in said
    assert "results/tiny/pool stays the pool of generation 1" in said
    document = planned(copied)
    assert (document["generation"], document["exact"]) == (2, False)
    assert rules(document) == copied.plan()
    assert document["partitions"][0]["why"] == ["first run of generation 2"]
    assert document["total"]["percent"]["jobs"] == 100.0
    assert planned(copied, "generation=1")["jobs"] == []
    assert (copied.folder / "results/tiny/pool/manifest.json").read_bytes() == pool


def test_refit_twice_starts_one_generation(copied):
    """A generation that was started and not fitted yet is the next one still."""
    copied.shoal("refit", "tiny")

    assert "take generation 2" in copied.shoal("refit", "tiny").stdout


def test_refit_leaves_a_generation_that_the_settings_name(copied):
    """The setting decides, and one line says so."""
    result = copied.shoal("refit", "tiny", "generation=1")

    assert result.returncode == 2
    assert result.stderr.startswith("shoal: error: generation: the settings name 1")
    assert not (copied.folder / "results" / "tiny" / "generation.json").exists()


def test_a_plan_imports_no_torch(finished):
    """Planning stays light, the reports of rows and costs included."""
    code = (
        "import sys; from pathlib import Path; from shoal.plan.plan import Plan;"
        "from shoal.operate.plan_report import plan_document; import shoal.operate.plan_text;"
        "plan_document(Plan('tiny', [], Path('config')), None, 'all');"
        "print([m for m in ('torch', 'pytorch_lightning', 'sklearn') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code]

    result = subprocess.run(
        command, cwd=finished.folder, capture_output=True, text=True, check=True
    )

    assert result.stdout.strip() == "[]"


def test_outside_a_project_the_error_says_where_to_go(tmp_path: Path):
    """One line, exit code 2."""
    result = subprocess.run(
        ["shoal", "plan"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert result.returncode == 2
    assert "no folder config here; run this in the project's folder" in result.stderr
