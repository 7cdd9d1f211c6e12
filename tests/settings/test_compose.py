"""Composition of settings from config/."""

import shutil
from pathlib import Path

import pytest

from shoal.errors import SettingsError
from shoal.plan.variants import variants
from shoal.search.space import points
from shoal.settings.compose import as_list, compose

CONFIG = Path(__file__).parents[2] / "config"
EXPERIMENTS = sorted(path.stem for path in (CONFIG / "experiment").glob("*.yaml"))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_composes_under_its_own_name(experiment: str):
    """Each file in config/experiment is complete, and its results folder is named as the file.

    What ``auto`` leaves open is said here, since there are no files to look at.
    """
    said = ["sources.files=[a.csv]", "sources.task=regression", "split=hash", "embed=pca"]
    said += ["train_specialists.patience=null"]
    overrides = said if experiment == "auto" else []

    assert compose(CONFIG, experiment, overrides).name == experiment


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
        CONFIG, "demo", ["cluster.partitions=12", "grid.lr=[0.1]", "grid.batch_size=[1,2]"]
    )

    assert settings.cluster.partitions == 12
    assert settings.grid == {"lr": [0.1], "batch_size": [1, 2]}


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
        ("seed=-1", "^seed: Input should be greater than or equal to 0, not -1$"),
        ("evaluate.seed=4294967296", "^evaluate.seed: .* less than or equal to 4294967295, not"),
        ("search.grid.seed=true", "^search.grid.seed: .* valid integer, not True$"),
        ("train_specialists.loss=l1", "^train_specialists.loss: Input should be 'auto', .*'huber'"),
        (
            "train_specialists.loss=mse",
            "^train_specialists.loss: 'mse' is a loss of regression, but",
        ),
        ("train_specialists.class_weights={a: -1}", "class_weights.a: .* greater than 0, not -1$"),
        (
            "grid.loss=[{_target_: torch.nn.CrossEntropyLoss}]",
            "^grid.loss: only what has a name can be compared",
        ),
        (
            "grid.loss=[auto,huber]",
            "^grid.loss: 'huber' is a loss of regression, but sources.task is",
        ),
        ("evaluate.metric=r2", "^evaluate.metric: 'r2' is no score of sources.task .*: accuracy"),
        (
            "evaluate.scores={f1: {_target_: torchmetrics.F1Score}}",
            "^evaluate.scores.f1: a score of this name is there already",
        ),
        ("evaluate.metric=auc", "^evaluate.metric: Input should be 'accuracy', "),
        ("train_specialists.lr=inf", "^train_specialists.lr: inf is not a finite number$"),
        ("model.width=nan", "^model.width: nan is not a finite number$"),
        ("cluster.partitions=[x]", "^cluster.partitions: "),
        ("train_specialists.schedule=linear", r"^train_specialists\.schedule: .*'cosine' or"),
        (
            "grid.schedule=[cosine,{_target_: torch.optim.lr_scheduler.StepLR}]",
            "^grid.schedule: only what has a name can be compared",
        ),
        (f"name={'x' * 101}", "^name: String should have at most 100 characters, not 'xxx"),
        (f"{'x' * 300}=1", "settings do not compose: .*File name too long"),
        ("name=${oc.env:HOME}", "^name: .*: a text may refer to one other setting"),
        ("hydra.searchpath=[pkg://antigravity]", "settings of Hydra itself are not taken"),
        ("=5", "expected NAME=VALUE"),
        ("grid=5", "^grid: a mapping of names to lists of values, not 5$"),
        ("grid.lr.x=[1]", "settings do not compose"),
        ("train_router=[knn,nearest_atom]", "^train_router: takes one choice, lists are for split"),
        ("gate=[a,b]", "^gate: takes one choice, .* such as gate=CHOICE with name="),
    ],
)
def test_a_wrong_override_is_one_line_with_the_nearest_name(override: str, message: str):
    """The user reads what is wrong and what was probably meant."""
    with pytest.raises(SettingsError, match=message) as caught:
        compose(CONFIG, "demo", [override])

    assert "\n" not in str(caught.value)


def test_weights_of_classes_are_of_cross_entropy():
    """A loss that is named otherwise would ignore them."""
    overrides = ["train_specialists.loss={_target_: torch.nn.NLLLoss}"]

    with pytest.raises(SettingsError, match=r"class_weights: .*_target_ takes weights as its own"):
        compose(CONFIG, "demo", [*overrides, "train_specialists.class_weights=balanced"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("evaluate.metric=accuracy", "no score of sources.task own; its scores: loss$"),
        ("sources.shuffle_labels=true", "^sources.shuffle_labels: where sources.task is own"),
        ("split=stratified", "^split.method: 'stratified' needs one label"),
        ("train_specialists.loss=mse", "is a loss of regression, but sources.task is own$"),
        ("train_specialists.class_weights=balanced", "loss of classification, but .* is own$"),
        ("train_specialists.loss={_target_: torch.nn.MSELoss}", "the model says its loss, by row"),
    ],
)
def test_what_needs_one_label_is_refused_where_the_model_has_a_loss_of_its_own(override, message):
    """Nobody else knows what is right."""
    with pytest.raises(SettingsError, match=message):
        compose(CONFIG, "demo", ["sources.task=own", override])


def test_trainings_that_stop_early_are_not_halved():
    """Halving compares points after parts of their steps, of which there are none then."""
    early, halved = "train_specialists.patience=3", "search.halving.rungs=2"

    with pytest.raises(
        SettingsError, match=r"^train_specialists\.patience: .*rungs to 1$"
    ) as caught:
        compose(CONFIG, "demo", [early, halved])

    assert "\n" not in str(caught.value)
    assert compose(CONFIG, "demo", [early]).train_specialists.patience == 3


CALLED = "# @package _global_\nname: tiny\nsources: {files: [a.csv]}\ngrid: {lr: [0.1]}\n"


def with_files(folder: Path, **files: str | bytes) -> Path:
    """The config groups, and experiments of these names."""
    for path in CONFIG.iterdir():
        if path.name != "experiment":
            (folder / path.name).symlink_to(path)
    (folder / "experiment").mkdir()
    for name, text in files.items():
        content = text if isinstance(text, bytes) else text.encode()
        (folder / "experiment" / f"{name}.yaml").write_bytes(content)
    return folder


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (CALLED + "grid: {lr: [1]}\n", "line 5: duplicate key grid$"),
        (CALLED + "\tseed: 1\n", "line 5: begins with a tab"),
        (CALLED + "seed: [1\n", r"line 5: what \[ opens is not closed"),
        (CALLED + "seed: *x\n", "line 5: anchors and aliases are not read"),
        (CALLED.encode() + b"note: caf\xe9\n", "line 5: the byte 0xe9 is no UTF-8"),
        ("- a\n", "line 1: holds a list"),
        ("tiny\n", "line 1: holds a str"),
        ("", "is empty"),
        ("name: tiny\n", "does not begin with the line '# @package _global_'"),
        (CALLED + "embed: ${oc.env:HOME}\n", r"embed: .* a text may refer to one other setting"),
        (
            "defaults: [{override /embed: '${oc.env:X}'}]\n",
            r"defaults\.0\.override /embed: .*refer",
        ),
        (CALLED + "hydra: {searchpath: [pkg://antigravity]}\n", "hydra: settings of Hydra itself"),
        ("defaults: [{override /model: [mlp, convnet]}]\n", "defaults: model: one choice, not"),
    ],
)
def test_a_slip_in_an_experiments_file_is_one_line(tmp_path: Path, text: str | bytes, said: str):
    """It names the file and the place, and is found before Hydra reads anything."""
    config = with_files(tmp_path, tiny=text)

    with pytest.raises(
        SettingsError, match=rf"^{tmp_path}/experiment/tiny\.yaml(, |: ){said}"
    ) as caught:
        compose(config, "tiny", [])

    assert "\n" not in str(caught.value)


def test_a_slip_in_a_group_counts_and_one_in_another_experiment_does_not(tmp_path: Path):
    """Unless the experiment starts from that one."""
    config = with_files(
        tmp_path,
        tiny=CALLED,
        broken="a: 1\na: 1\n",
        heir=CALLED.replace("name", "defaults: [broken]\nname"),
    )

    assert compose(config, "tiny", []).name == "tiny"
    with pytest.raises(SettingsError, match=r"broken\.yaml, line 2: duplicate key a$"):
        compose(config, "heir", [])
    (config / "model").unlink()
    shutil.copytree(CONFIG / "model", config / "model")
    (config / "model" / "mine.yaml").write_text("a: [1\n")
    with pytest.raises(SettingsError, match=r"model/mine\.yaml, line 1: what \[ opens"):
        compose(config, "tiny", [])


@pytest.mark.parametrize("name", ["2024", "nan", "null", "1e3", "true", "a b", "it's"])
def test_an_experiment_may_be_called_what_looks_like_a_number(tmp_path: Path, name: str):
    """A file's name is text."""
    assert compose(with_files(tmp_path, **{name: CALLED}), name, []).name == "tiny"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("embed: null\n", "^embed: Input should be a valid dictionary"),
        ("embed: 5\n", "^embed: "),
        ("embed: [pca, scarf]\n", r"several choices are written embed: \{cross: \['pca', "),
        ("model: [mlp, convnet]\n", r"several choices are written model: \{cross: \['mlp', "),
        ("gate: [a, b]\n", r"tiny\.yaml: gate: takes one choice, lists are for split"),
        ("train_router: {cross: [knn, classifier]}\n", "^train_router: takes one choice"),
        ("train_specialists: {lr: [1, 2]}\n", r"^train_specialists\.lr: .* stand in grid\.lr$"),
        ("train_specialists: {buffer_rows: [1, 2]}\n", "rows: takes one value, lists are for"),
        ("train_specialists: {zip: [{lr: 1}]}\n", "^train_specialists: takes one choice"),
        ("sources: 5\n", "^sources: "),
        ("search: null\n", "^search: "),
        ("grid: 5\n", "^grid: a mapping of names to lists"),
        ("grid: {lr: {}}\n", r"^grid\.lr"),
        ("grid: {1: [2]}\n", r"^grid\.1: unknown hyperparameter"),
        ("seed: -1\n", r"seed: .*greater than or equal to 0, not -1$"),
        ("seed: [0, 4294967296]\n", r"seed: .*less than or equal to 4294967295"),
    ],
)
def test_a_section_of_another_kind_is_one_line(tmp_path: Path, text: str, said: str):
    """As where a list or a number stands for a mapping."""
    section = text.partition(":")[0]
    kept = [line for line in CALLED.splitlines() if not line.startswith(f"{section}:")]
    config = with_files(tmp_path, tiny="\n".join([*kept, text]))

    def planned() -> None:
        for found in (each.settings for each in variants(config, "tiny", [])):
            points(found.grid, found.model, found.train_specialists, found.search.grid)

    with pytest.raises(SettingsError, match=said) as caught:
        planned()
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


@pytest.mark.parametrize("given", [5, {"a": 1}, 0.5])
def test_overrides_that_are_neither_are_one_line(given: object):
    """Snakemake makes a number of `overrides=5`."""
    with pytest.raises(SettingsError, match=r"^overrides: a list such as \[seed=1, embed=pca\]"):
        as_list(given)


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
