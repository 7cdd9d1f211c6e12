"""What a user gets wrong: one line with file, row, column, value and cause; exit code 2."""

import re
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from shoal.formats.json_file import write_json
from tests.workflow.small import AT_ONCE, jobs

FIRST = Path("data/part-0.csv")

MY_NET = """\
import torch

class Net(torch.nn.Module):
    def __init__(self, features, outputs, width=4, depth=1):
        super().__init__()
        self.l = torch.nn.Linear(features, width)

class Scale:
    def fit(self, x, y):
        return self

def shorten(value, words):
    return value
"""


def edit(path: Path, row: int, column: str, value: object) -> None:
    """Change one cell; rows count from 1."""
    table = pd.read_csv(path).astype(object)
    table.loc[row - 1, column] = value
    table.to_csv(path, index=False)


def remove_files(folder: Path) -> None:
    for path in (folder / "data").glob("*.csv"):
        path.unlink()


def empty_file(folder: Path) -> None:
    (folder / FIRST).write_text("")


def truncated_parquet(folder: Path) -> None:
    path = folder / "data" / "part-9.parquet"
    pd.read_csv(folder / FIRST).to_parquet(path)
    path.write_bytes(path.read_bytes()[:-50])
    settings = folder / "config" / "experiment" / "tiny.yaml"
    settings.write_text(settings.read_text().replace('"*.csv"', '"*.csv", "*.parquet"'))


def absent_column(folder: Path) -> None:
    pd.read_csv(folder / FIRST).drop(columns=["town"]).to_csv(folder / FIRST, index=False)


def missing_label(folder: Path) -> None:
    edit(folder / FIRST, 7, "label", None)


def constant_label(folder: Path) -> None:
    for path in (folder / "data").glob("*.csv"):
        pd.read_csv(path).assign(label="yes").to_csv(path, index=False)


def infinite_value(folder: Path) -> None:
    edit(folder / FIRST, 12, "a", "inf")


def text_in_a_number(folder: Path) -> None:
    edit(folder / FIRST, 3, "b", "tall")


def duplicate_id(folder: Path) -> None:
    edit(folder / FIRST, 5, "id", "part-1-8")


def broken_link(folder: Path) -> None:
    (folder / "data" / "part-9.csv").symlink_to("gone.csv")


def numbers_among_dates(folder: Path) -> None:
    for path, time in ((folder / FIRST, "2026-01-31"), (folder / "data" / "part-1.csv", 12)):
        pd.read_csv(path).assign(town=time).to_csv(path, index=False)
    settings = folder / "config" / "experiment" / "tiny.yaml"
    settings.write_text(settings.read_text().replace("town: categorical", "town: time"))


def edited_after_the_plan(folder: Path) -> None:
    """The plan knows the hash of what the file held before."""
    stat = (folder / FIRST).stat()
    mark = [stat.st_size, stat.st_mtime_ns, stat.st_ino, stat.st_ctime_ns]
    cache = {str(FIRST): {"mark": mark, "hash": "0" * 64}}
    write_json(folder / "results" / "tiny" / ".source-hashes.json", cache)


def half_written(folder: Path) -> list[Path]:
    """Files that a writer began and did not finish: named .PROCESS-NAME."""
    return [path for path in folder.rglob(".*") if re.match(r"\.\d+-", path.name)]


def check_failure(result: subprocess.CompletedProcess[str], *parts: str) -> None:
    """Exit code 2, and one last line that has all the parts."""
    lines = [line for line in result.stderr.splitlines() if line.startswith("shoal: error: ")]
    assert result.returncode == 2, result.stderr
    assert len(lines) == 1, result.stderr
    assert all(part in lines[0] for part in parts), lines[0]
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("mistake", "parts"),
    [
        (remove_files, ["data/*.csv"]),
        (empty_file, ["data/part-0.csv", "empty"]),
        (truncated_parquet, ["data/part-9.parquet"]),
        (absent_column, ["data/part-0.csv", "'town'"]),
        (missing_label, ["data/part-0.csv", "row 7", "'label'", "1 row"]),
        (constant_label, ["'label'", "'yes'"]),
        (infinite_value, ["data/part-0.csv", "row 12", "'a'", "inf"]),
        (text_in_a_number, ["data/part-0.csv", "row 3", "'b'", "'tall'"]),
        (broken_link, ["data/part-9.csv", "is a link to gone.csv, which is not there"]),
        (numbers_among_dates, ["data/part-1.csv", "'town'", "numbers, but dates in", "part-0.csv"]),
        (
            edited_after_the_plan,
            ["data/part-0.csv", "changed while the run read it; start the run"],
        ),
        (duplicate_id, ["data/part-0.csv", "row 5", "data/part-1.csv", "row 9"]),
    ],
)
def test_a_mistake_in_the_data_is_one_line(experiment, mistake, parts):
    """The line names the place and the cause, and no table is left half-written."""
    mistake(experiment.folder)

    result = experiment.snakemake(*AT_ONCE, "--until", "split_check")

    check_failure(result, *parts)
    assert half_written(experiment.folder / "results") == []


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        ("[cluster.partition=3]", ["cluster", "'partitions'"]),
        ("[grid.lt=[1]]", ["grid.lt", "unknown hyperparameter"]),
        ("[split.fractions.test=0.5]", ["split", "sum to 1.35"]),
        ("[model._target_=shoal.models.MPL]", ["shoal.models", "MPL", "MLP"]),
        ("[model._target_=absent.Net]", ["absent"]),
        ("[model.outputs=7]", ["(2, 7)", "2 classes"]),
        ("[train_specialists.lr=1e30]", ["the loss became", "at step"]),
    ],
)
def test_a_mistake_in_settings_or_model_is_one_line(copied, overrides, parts):
    """Settings are refused before anything runs, models before they cost anything."""
    result = copied.snakemake(*AT_ONCE, overrides=overrides)

    check_failure(result, *parts)


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        ("[seed=-1]", ["seed: ", "greater than or equal to 0, not -1"]),
        (f"[name={'x' * 300}]", ["name: ", "at most 100 characters"]),
        ("[gate=[a,b]]", ["gate: takes one choice", "name=NAME-CHOICE"]),
        ("[grid.model.width=[4,8]]", ["grid.model.width: changes the shape", "makes variants"]),
        ("[train_specialists.lr=[1,2]]", ["train_specialists.lr: takes one value", "grid.lr"]),
        ("[grid.model.lr=[0.1]]", ["grid.model.lr: the settings of model have no 'lr'"]),
        ("[name=${oc.env:HOME}]", ["name: ", "a text may refer to one other setting"]),
        ("5", ["overrides: a list such as"]),
    ],
)
def test_a_mistake_in_settings_is_one_line_before_anything_is_planned(experiment, overrides, parts):
    """Not only a run, but the plan of one says so, and nothing is written."""
    result = experiment.snakemake("-n", overrides=overrides)

    check_failure(result, *parts)
    assert not (experiment.folder / "results").exists()


@pytest.mark.parametrize("name", ["nan", "2024", "true", "1e3"])
def test_a_name_that_looks_like_a_number_is_a_name(experiment, name):
    """Snakemake makes a number of it; where there is no such experiment, one line says so."""
    folder = experiment.folder / "config" / "experiment"
    result = experiment.snakemake("-n", name=name)
    check_failure(result, "experiment ", "is unknown")
    if name in ("nan", "2024"):
        (folder / "tiny.yaml").rename(folder / f"{name}.yaml")
        assert experiment.snakemake("-n", name=name).returncode == 0


def test_a_slip_in_the_settings_file_is_one_line_with_its_number(experiment):
    """As a user sees it: the path from the project's folder, the line, the key."""
    path = experiment.folder / "config" / "experiment" / "tiny.yaml"
    path.write_text(path.read_text() + "grid: {lr: [0.1]}\n")

    result = experiment.snakemake("-n")

    check_failure(result, "config/experiment/tiny.yaml, line 14: duplicate key grid")


def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(experiment):
    """With no space left the job says so and names the file; the next run goes on."""
    results = experiment.folder / "results"
    results.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=48k", "tmpfs", str(results)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small file system to fill needs the right to mount one")
    try:
        # What Snakemake itself writes for a job lies elsewhere; failing there is not ours to tell.
        (results / "tiny").mkdir()
        elsewhere = experiment.folder / "elsewhere"
        elsewhere.mkdir()
        (results / "tiny" / "benchmarks").symlink_to(elsewhere)
        result = experiment.snakemake("-c", "1", "--until", "transform")

        lines = {line for line in result.stderr.splitlines() if line.startswith("shoal: error: ")}
        assert result.returncode == 2, result.stderr
        assert any("no space left on device" in line for line in lines), lines
        assert half_written(results) == []
    finally:
        subprocess.run(["umount", str(results)], check=True)


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (
            "[model._target_=shoal.settings.targets.import_target]",
            ["of Shoal's own only the models"],
        ),
        ("[model._target_=my_net.Nett]", ["my_net.Nett", "did you mean 'Net'?"]),
        ("[model._target_=my_net.torch.nn.functional.relu]", ["my_net.torch"]),
        ("[model._target_=my_net.Net,model.widht=3]", ["my_net.Net", "'widht'", "'width'?"]),
        ("[model._target_=my_net.Net,grid.model.width=[4,8]]", ["grid.model.width: 8", "l.weight"]),
        (
            "[encode.columns={a:{_target_:my_net.Scale}}]",
            ["encode.columns.a", "my_net.Scale", "transform"],
        ),
        (
            "[transform.steps=[{step:function,columns:[town],options:"
            "{_target_:my_net.shorten,training_only:false,arguments:{word:1}}}]]",
            ["transform.steps.0 (function)", "my_net.shorten", "'word'", "'words'?"],
        ),
    ],
)
def test_what_the_settings_name_is_looked_at_before_the_first_job(experiment, overrides, parts):
    """A process of its own imports it, and says what is wrong before any row is read."""
    (experiment.folder / "my_net.py").write_text(MY_NET)

    result = experiment.snakemake(*AT_ONCE, overrides=overrides)

    check_failure(result, *parts)
    assert jobs(result.stderr) == []


def test_planning_imports_nothing_of_the_users_but_looks_for_it(experiment):
    """A module that is nowhere is refused by a dry run; one that fails when imported is not."""
    (experiment.folder / "fails.py").write_text("raise RuntimeError")

    result = experiment.snakemake("-n", overrides="[model._target_=absent.Net]")

    check_failure(result, "absent.Net", "no module 'absent'")
    assert "base_fit" in experiment.plan("[model._target_=fails.Net]")
