"""An experiment is named by its name, or by its results folder."""

from pathlib import Path

import pytest

from shoal.cli.experiment import Experiment
from shoal.errors import SettingsError
from shoal.formats.json_file import write_json
from tests.documents import run_record

MINE = "# @package _global_\nname: mine\nsources: {files: ['*.csv']}\ngrid: {lr: [0.1]}\n"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an experiment of some variants that has results, in which the test stands."""
    (tmp_path / "config" / "experiment").mkdir(parents=True)
    (tmp_path / "config" / "experiment" / "mine.yaml").write_text(MINE)
    (tmp_path / "results" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_name_and_a_folder_are_the_same_experiment(project: Path):
    """Whatever the command does with it: results, pool or settings."""
    texts = ["mine", "results/mine", "results/mine/", f"{project}/results/mine"]
    named = [Experiment(text) for text in texts]

    assert {each.results.resolve() for each in named} == {project / "results" / "mine"}
    assert {each.pool.resolve() for each in named} == {project / "results" / "mine" / "pool"}
    (settings,) = {each.variants([])[0].settings.name for each in named}
    assert settings == "mine"


def test_a_folder_with_another_name_is_that_of_the_run_that_made_it(project: Path):
    """The last run says which experiment it was, and what was changed of it."""
    root, runs = project / "results" / "other", []
    for rate in (0.2, 0.3):
        changes = ["name=other", f"grid.lr=[{rate}]"]
        record = run_record("0", overrides=changes, experiment="mine")
        record["plan"]["layout"]["root"] = "results/other"
        record["plan"]["tolerance"] = rate
        runs.append(record["plan"])
        write_json(root / "settings" / f"{rate}.json", record)

    for plan, rate in zip(runs, (0.2, 0.3), strict=True):
        write_json(root / "plan.json", plan)
        for text in ("other", "results/other"):
            (variant,) = Experiment(text).variants(["seed=5"])
            assert variant.settings.name == "other"
            assert variant.settings.grid == {"lr": [rate]}
            assert variant.settings.split.seed == 5

    root.rename(project / "results" / "copy")
    with pytest.raises(SettingsError, match="copy"):
        Experiment("results/copy").variants([])


def test_the_folder_of_a_variant_chooses_it():
    """As `variant=ID` among the overrides does."""
    grid = ["seed=[0,1]"]
    first, second = Experiment("mine").variants(grid)

    for each in (first, second):
        (found,) = Experiment(f"results/mine/variants/{each.id}").variants(grid)
        assert found.id == each.id


def test_a_file_of_settings_is_an_experiment(project: Path):
    """It need not lie in the project."""
    (project / "other.yaml").write_text(MINE.replace("mine", "other"))

    (variant,) = Experiment("other.yaml").variants([])

    assert variant.settings.name == "other"


def test_a_name_is_that_of_results_before_that_of_a_folder_here(project: Path):
    """A folder of a pool, or a copy of results, may be given without a slash where it is none."""
    for name in ("mine", "copy"):
        (project / name).mkdir()
    (project / "copy" / "manifest.json").write_text("{}")

    assert Experiment("mine").results == Path("results/mine")
    assert Experiment("copy").results == Path("copy")
    assert Experiment("copy").pool == Path("copy")
    assert Experiment("new").results == Path("results/new")


def test_a_name_is_an_experiments_also_where_a_folder_here_has_it(project: Path):
    """As a folder of data may, before the experiment has any results."""
    (project / "results" / "mine").rmdir()
    (project / "mine").mkdir()

    (variant,) = Experiment("mine").variants([])

    assert variant.settings.name == "mine"


@pytest.mark.parametrize("text", ["elsewhere/mine", "results/", "results/mine/pool", "."])
def test_settings_are_not_known_of_other_folders(text: str, project: Path):
    """Commands that compose settings say which folders they take."""
    Path(text).mkdir(parents=True, exist_ok=True)

    with pytest.raises(SettingsError, match="no results folder of this project; give an exper"):
        Experiment(text).variants([])
