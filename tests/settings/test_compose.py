"""Composition of settings from config/."""

from pathlib import Path

import pytest

from shoal.errors import SettingsError
from shoal.settings.compose import as_list, compose

CONFIG = Path(__file__).parents[2] / "config"
EXPERIMENTS = sorted(path.stem for path in (CONFIG / "experiment").glob("*.yaml"))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_composes_under_its_own_name(experiment: str):
    """Each file in config/experiment is complete, and its results folder is named as the file."""
    assert compose(CONFIG, experiment, []).name == experiment


@pytest.mark.parametrize(
    ("group", "choice"),
    [
        (folder.name, path.stem)
        for folder in sorted(CONFIG.iterdir())
        if folder.is_dir() and folder.name != "experiment"
        for path in sorted(folder.glob("*.yaml"))
    ],
)
def test_every_choice_of_every_group_composes(group: str, choice: str):
    """No file in config/ lacks a field or has one too many."""
    needed = {
        "split/column": ["split.column=c"],
        "cluster/column": ["cluster.column=c"],
        "sources/default": ["sources.files=[a.csv]"],
    }
    extra = needed.get(f"{group}/{choice}", [])

    compose(CONFIG, "titanic", [f"{group}={choice}", *extra])


def test_a_chosen_group_takes_its_file_as_it_is():
    """What titanic changes in its own choice of cluster does not stick to another choice."""
    settings = compose(CONFIG, "titanic", ["cluster=hdbscan", "cluster.lower=0.1"])

    assert (settings.cluster.partitions, settings.cluster.lower) == (8, 0.1)


def test_an_experiment_changes_what_belongs_to_no_group(tmp_path: Path):
    """A seed and threads in its file win over those that every experiment starts from."""
    for path in CONFIG.iterdir():
        if path.name != "experiment":
            (tmp_path / path.name).symlink_to(path)
    (tmp_path / "experiment").mkdir()
    own = (CONFIG / "experiment" / "titanic.yaml").read_text() + "seed: 7\ncompute: {threads: 2}\n"
    (tmp_path / "experiment" / "titanic.yaml").write_text(own)

    settings = compose(tmp_path, "titanic", [])

    assert (settings.seed, settings.cluster.seed, settings.compute.threads) == (7, 7, 2)


def test_overrides_change_settings_and_add_grid_dimensions():
    """A nested value, a list and a new hyperparameter may be given on the command line."""
    settings = compose(
        CONFIG, "demo", ["cluster.partitions=12", "grid.lr=[0.1]", "grid.model.depth=[1,2]"]
    )

    assert settings.cluster.partitions == 12
    assert settings.grid == {"lr": [0.1], "model.depth": [1, 2]}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("cluster.partition=3", r"^cluster\.partition: unknown setting; did you mean 'partitions'"),
        ("clusters.partitions=3", "clusters: unknown setting; did you mean 'cluster'?"),
        ("cluster=kmean", "cluster: 'kmean' is unknown; did you mean 'kmeans'?"),
        ("seed=many", "seed: Input should be a valid integer"),
        ("embed.dims=0", "dims: Input should be greater than 0, not 0"),
        ("split.fractions.train=0.5", r"^split: fractions sum to 0\.8, not 1$"),
        ("cluster.partitions", "expected NAME=VALUE"),
        ("grid.lr=[1,", "settings do not compose"),
    ],
)
def test_a_wrong_override_is_one_line_with_the_nearest_name(override: str, message: str):
    """The user reads what is wrong and what was probably meant."""
    with pytest.raises(SettingsError, match=message) as caught:
        compose(CONFIG, "demo", [override])

    assert "\n" not in str(caught.value)


def test_an_unknown_experiment_names_the_nearest():
    """A misspelt experiment is not a traceback."""
    with pytest.raises(SettingsError, match="did you mean 'titanic'"):
        compose(CONFIG, "titanik", [])


@pytest.mark.parametrize(
    "given",
    [
        ["cluster.partitions=12", "grid.lr=[0.001,0.01]"],
        "[cluster.partitions=12, grid.lr=[0.001,0.01]]",
    ],
)
def test_overrides_arrive_as_a_list_or_as_one_string(given: str | list[str]):
    """Snakemake delivers a flat list as a list and a nested one as its text."""
    assert as_list(given) == ["cluster.partitions=12", "grid.lr=[0.001,0.01]"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{low: 0.1, high: 0.01}", r"^grid\.lr: high, 0\.01, is not above low, 0\.1$"),
        ("{low: 0, high: 1, log: true}", "a logarithmic scale begins above zero"),
        ("{low: 0.1, hihg: 1}", r"^grid\.lr\.hihg: unknown setting; did you mean 'high'"),
        ("{low: 0.1}", r"^grid\.lr\.high: setting is missing"),
    ],
)
def test_a_range_is_checked_where_it_stands(value: str, message: str):
    """Its line names the setting, also where the experiment has a list there."""
    with pytest.raises(SettingsError, match=message):
        compose(CONFIG, "titanic", [f"grid.lr={value}"])
