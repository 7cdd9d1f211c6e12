"""Settings are looked up in the project's folder first, then among the package's defaults."""

from pathlib import Path

import pytest

from shoal.errors import SettingsError
from shoal.settings.compose import compose
from shoal.settings.config_files import DEFAULTS, SNAKEFILE, project_config

MINE = "# @package _global_\nname: mine\nsources: {files: [a.csv]}\ngrid: {lr: [0.1]}\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project's folder of settings that holds one experiment and nothing else."""
    (tmp_path / "config" / "experiment").mkdir(parents=True)
    (tmp_path / "config" / "experiment" / "mine.yaml").write_text(MINE)
    return tmp_path / "config"


def test_a_project_of_one_file_takes_all_else_from_the_package(project: Path):
    """Its experiment composes as it would beside the defaults, and theirs can be run too."""
    settings = compose(project, "mine", ["embed=scarf"])

    assert (settings.name, settings.sources.files) == ("mine", ["a.csv"])
    assert settings.embed == compose(DEFAULTS, "demo", ["embed=scarf"]).embed
    assert compose(project, "demo", []) == compose(DEFAULTS, "demo", [])


def test_a_projects_file_hides_the_packages_of_its_name(project: Path):
    """Others of the same group stay there to be chosen."""
    (project / "embed").mkdir()
    (project / "embed" / "pca.yaml").write_text("method: pca\ndims: 3\nprefix: null\n")
    (project / "experiment" / "demo.yaml").write_text(MINE.replace("mine", "ours"))

    assert compose(project, "mine", []).embed.dims == 3
    assert compose(project, "mine", ["embed=identity"]).embed.method == "identity"
    assert compose(project, "demo", []).name == "ours"


def test_what_neither_has_is_one_line_that_knows_both(project: Path):
    """The nearest name may be the project's or the package's."""
    (project / "model").mkdir()
    (project / "model" / "mine.yaml").write_text("_target_: my.Net\n")

    for override, near in (("model=mime", "mine"), ("model=mpl", "mlp")):
        with pytest.raises(SettingsError, match=f"is unknown; did you mean '{near}'"):
            compose(project, "mine", [override])


def test_the_current_folders_settings_come_before_those_beside_the_snakefile(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """So one clone's Snakefile serves projects elsewhere."""
    clone = tmp_path / "clone"

    monkeypatch.chdir(tmp_path)
    assert project_config(clone) == Path("config")
    monkeypatch.chdir(project)
    assert project_config(clone) == clone / "config"


def test_the_packages_settings_and_snakefile_are_the_repositorys():
    """In a checkout they are reached through a link."""
    root = Path(__file__).parents[2]

    assert DEFAULTS.samefile(root / "config")
    assert SNAKEFILE.samefile(root / "Snakefile")
