"""Experiments of the stimulus tools become experiments of Shoal."""

import json
from pathlib import Path

import pytest
import yaml

from shoal.cli.explore import import_stimulus
from shoal.errors import SettingsError, ShoalError
from shoal.explore.import_stimulus.experiment import imported
from shoal.plan.variants import variants

ROOT = Path(__file__).parents[3]
HEADER = "who:meta:int,lived:label:int_class,sex:input:str_class,age:input:int_reg,fare:input:float"
ROWS = ["1,0,male,22,7.25", "2,1,female,38,71.3", "3,1,female,26,7.9"]
COLUMNS = [
    {"column_name": "who", "column_type": "meta"},
    {"column_name": "lived", "column_type": "label", "encoder": [{"name": "NumericEncoder"}]},
    {
        "column_name": "sex",
        "column_type": "input",
        "encoder": [{"name": "StrClassificationEncoder"}],
    },
    {"column_name": "age", "column_type": "input", "encoder": [{"name": "NumericEncoder"}]},
    {"column_name": "fare", "column_type": "input", "encoder": [{"name": "NumericEncoder"}]},
]
SPLIT = {"split_method": "RandomSplit", "params": {"split": [0.7, 0.15, 0.15]}}
THREE = [0.1, 0.2, 0.3]
PAIR = [[0.6, 0.2, 0.2], [0.7, 0.15, 0.15]]


def noise(*columns, name="noise", **params):
    """A set of stimulus' transforms: Gaussian noise on columns."""
    use = [{"name": "GaussianNoise", "params": params}]
    return {
        "transformation_name": name,
        "columns": [{"column_name": each, "transformations": use} for each in columns],
    }


class Bench:
    """A folder in which configs of stimulus are imported."""

    def __init__(self, folder):
        self.folder = folder
        self.data()

    def data(self, header=HEADER, rows=ROWS):
        """Write the data file."""
        (self.folder / "data.csv").write_text("\n".join([header, *rows]) + "\n")

    def config(self, suffix=".yaml", **content):
        """Write a config."""
        path = self.folder / f"config{suffix}"
        plain = json.dumps(content)  # values that are written out, where YAML would have aliases
        path.write_text(plain if suffix == ".json" else yaml.safe_dump(json.loads(plain)))
        return path

    def read(self, path):
        """The experiment as settings, and what could not be carried over."""
        text, notes = imported(path, self.folder / "data.csv", "moved")
        return yaml.safe_load(text), notes

    def variants(self, path):
        """The variants of the experiment that the command writes."""
        groups = self.folder / "config"
        groups.mkdir()
        for each in (ROOT / "config").iterdir():
            if each.name != "experiment":
                (groups / each.name).symlink_to(each)
        import_stimulus(path, self.folder / "data.csv", groups / "experiment" / "moved.yaml")
        return variants(groups, "moved", [])


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """A bench; commands run in the repository."""
    monkeypatch.chdir(ROOT)
    return Bench(tmp_path)


def counted(found):
    """How many choices of split, transform and encode there are among variants."""
    stages = ("split", "transform", "encode")
    texts = [[str(getattr(each.settings, stage).as_json()) for each in found] for stage in stages]
    return len(found), *(len(set(each)) for each in texts)


def test_zipped_noise_on_two_columns_is_three_variants(bench):
    """One encoding, one split and three noise levels are three variants that share two stages."""
    path = bench.config(
        columns=COLUMNS, transforms=[noise("age", "fare", std=THREE)], split=[SPLIT]
    )

    found = bench.variants(path)

    assert counted(found) == (3, 1, 3, 1)
    levels = [[step.options["sd"] for step in each.settings.transform.steps] for each in found]
    assert levels == [[0.1, 0.1], [0.2, 0.2], [0.3, 0.3]]


def test_two_values_of_an_older_split_are_two_splits(bench):
    """Column-wise, a splitter with two values is two splits, and the rest has one choice."""
    path = bench.config(
        ".json",
        experiment="Passengers",
        interpret_params_mode="column_wise",
        split=[{"name": "RandomSplitter", "params": [{"split": PAIR}]}],
    )

    found = bench.variants(path)

    assert counted(found) == (2, 2, 1, 1)
    shares = [list(each.settings.split.fractions.values()) for each in found]
    assert shares == PAIR


@pytest.mark.parametrize(("mode", "count"), [("column_wise", 2), ("all_combinations", 4)])
def test_the_mode_says_whether_older_lists_advance_together(bench, mode, count):
    """Two lists of two are two choices column-wise, and four in all combinations."""
    entries = [
        {"column_name": name, "name": "GaussianNoise", "params": [{"std": [1, 2]}]}
        for name in ("age:input:int_reg", "fare")
    ]
    path = bench.config(".json", experiment="E", interpret_params_mode=mode, noise=entries)

    assert counted(bench.variants(path)) == (count, 1, count, 1)


def test_a_typed_header_says_what_columns_are(bench):
    """Roles and types become kinds; a column keeps its whole header as its name."""
    settings, _ = bench.read(bench.config(".json", experiment="E"))

    assert settings["sources"] == {
        "folder": str(bench.folder),
        "files": ["data.csv"],
        "task": "classification",
        "columns": {
            "who:meta:int": "ignore",
            "lived:label:int_class": "label",
            "sex:input:str_class": "categorical",
            "age:input:int_reg": "numeric",
            "fare:input:float": "numeric",
        },
        "undeclared": "ignore",
    }


def test_a_split_column_names_the_folds(bench):
    """A column of role split is what splits, and missing folds are said."""
    bench.data("a:input:float,y:label:float,f:split:int", ["1,2,0", "3,4,1"])

    settings, notes = bench.read(bench.config(".json", experiment="E"))

    assert settings["defaults"] == [{"override /split": "column"}]
    assert settings["split"]["column"] == "f:split:int"
    assert settings["split"]["values"] == {"0": "train", "1": "validation", "2": "test"}
    assert any("no row is test" in note for note in notes)


def test_sets_of_transforms_are_alternatives(bench):
    """Two named sets, one of them with two values, are three choices."""
    sets = [noise("age", std=1), noise("age", "fare", name="both", std=[1, 2])]

    found = bench.variants(bench.config(columns=COLUMNS, transforms=sets))

    assert [len(each.settings.transform.steps) for each in found] == [1, 2, 2]


def test_noise_of_no_strength_is_no_step(bench):
    """A standard deviation of 0 is the choice to transform nothing."""
    found = bench.variants(bench.config(columns=COLUMNS, transforms=[noise("age", std=[0, 1])]))

    assert [len(each.settings.transform.steps) for each in found] == [0, 1]


def test_every_encoder_of_a_list_is_tried(bench):
    """Several encoders of a column are a grid; none but the first was used before."""
    sex = {
        "column_name": "town",
        "column_type": "input",
        "encoder": [{"name": "NumericEncoder"}, {"name": "NumericRankEncoder"}],
    }
    bench.data("town,y:label:float", ["1,2", "3,4"])

    settings, notes = bench.read(bench.config(columns=[sex]))

    written = settings["encode"]["columns"]["town"]
    first = {"encoder": "passthrough"}
    both = written == {"cross": [first, {"encoder": "rank"}]}
    assert both or (written == first and any("'rank'" in note for note in notes))


def test_what_has_no_equal_is_said(bench):
    """Unknown keys, encoders, transforms and splitters are named, one line each."""
    odd = {"column_name": "sex", "column_type": "input", "encoder": [{"name": "OddEncoder"}]}
    change = noise("age", std=1, mean=3)
    change["columns"][0]["transformations"].append({"name": "OddTransform"})
    path = bench.config(
        columns=[odd], transforms=[change], split=[{"split_method": "OddSplit"}], data_params={}
    )

    _, notes = bench.read(path)

    for said in ("data_params", "OddEncoder", "OddTransform", "OddSplit", "mean=3"):
        assert [note for note in notes if said in note], said
    assert not [note for note in notes if "\n" in note]


def test_choices_that_become_equal_are_one(bench):
    """Noise that differs only in a mean, which has no equal, is one choice, and that is said."""
    path = bench.config(columns=COLUMNS, transforms=[noise("age", std=1, mean=[1, 2])])

    settings, notes = bench.read(path)

    assert len(settings["transform"]["steps"]) == 1
    assert "transforms: of 2 choices 1 are left that differ" in notes


def test_two_folds_become_three(bench):
    """Validation and test share the second of two folds, and that is said."""
    split = {"split_method": "RandomSplit", "params": {"split": [0.6, 0.4]}}

    settings, notes = bench.read(bench.config(columns=COLUMNS, split=split))

    assert settings["split"]["fractions"] == {"train": 0.6, "validation": 0.2, "test": 0.2}
    assert any("two folds" in note for note in notes)


def test_custom_combinations_are_crossed(bench):
    """Two combinations of transforms and split become four variants, and that is said."""
    custom = [
        {
            "transform": [{"column_name": "age", "name": "GaussianNoise", "params": {"std": sd}}],
            "split": [{"name": "RandomSplitter", "params": {"split": shares}}],
        }
        for sd, shares in zip((1, 2), PAIR, strict=True)
    ]
    path = bench.config(".json", experiment="E", custom=custom)

    _, notes = bench.read(path)

    assert any("2 combinations become 4" in note for note in notes)
    assert counted(bench.variants(path)) == (4, 2, 2, 1)


def test_a_config_of_one_run_is_one_variant(bench):
    """Where arguments are values instead of lists, and shares are one plain list."""
    mask = {"column_name": "sex", "name": "UniformTextMasker", "params": {"probability": 0.2}}
    split = {"name": "RandomSplitter", "params": {"split": [0.7, 0.2, 0.1], "seed": 1}}

    (found,) = bench.variants(bench.config(".json", experiment="E", transform=[mask], split=split))

    assert [step.options["share"] for step in found.settings.transform.steps] == [0.2]
    assert found.settings.split.fractions == {"train": 0.7, "validation": 0.2, "test": 0.1}
    assert found.settings.split.seed == 1


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.yaml", "split: []\nsplit: []\n", r"a\.yaml, line 2: duplicate key split$"),
        ("a.yaml", "x: &x 1\ny: *x\n", r"a\.yaml, line 1: anchors and aliases are not read"),
        ("a.yaml", "- 1\n", r"a\.yaml, line 1: holds a list"),
        ("a.json", "[1]", r"a\.json: holds no settings"),
        ("a.json", "{", r"a\.json: not readable as JSON"),
        ("a.yaml", "global_params: {seed: -1}", r"a\.yaml: global_params\.seed: .* not -1$"),
        ("a.json", '{"experiment": "E", "split": {"name": "R", "params": {"seed": []}}}', "empty"),
    ],
)
def test_a_slip_in_the_file_is_one_line(bench, name, text, said):
    """Syntax, aliases, a list at the top, a seed out of range, an argument without values."""
    path = bench.folder / name
    path.write_text(text)

    with pytest.raises(ShoalError, match=said) as caught:
        bench.read(path)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"columns": 3}, "columns"),
        ({"columns": [{"column_name": "sex"}]}, "columns.0.column_type: setting is missing"),
        ({"columns": [{"column_name": "sexx", "column_type": "input"}]}, "no column 'sexx'"),
        ({"columns": [{"column_name": "sex", "column_type": "odd"}]}, "role 'odd'"),
        ({"split": [SPLIT | {"params": {"split": [0.7, 0.7]}}]}, "sum to 1.4, not 1"),
        ({"transforms": [noise("age", std=[1, 2], mean=[0, 0, 0])]}, "differ in length"),
        ({"transforms": [noise("age", std=-1)]}, "sd: Input should be greater than 0, not -1"),
        ({"transforms": [noise("age", std=[[1], [2]])]}, "sd: Input should be a valid number"),
        ({"interpret_params_mode": "odd", "experiment": "E"}, "interpret_params_mode"),
    ],
)
def test_a_broken_config_is_one_line(bench, content, said):
    """The line names the file and what is wrong in it."""
    path = bench.config(**content)

    with pytest.raises(ShoalError, match=r"config\.yaml|data\.csv") as caught:
        bench.read(path)

    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_does_not_compose_is_not_written(bench):
    """Settings that Shoal refuses, here a negative share, leave no file."""
    path = bench.config(columns=COLUMNS, split=[SPLIT | {"params": {"split": [1.2, -0.1, -0.1]}}])
    out = bench.folder / "out.yaml"

    with pytest.raises(SettingsError, match="fractions must all be above zero"):
        import_stimulus(path, bench.folder / "data.csv", out)

    assert not out.exists()


def test_a_file_that_is_there_stays(bench):
    """The command overwrites nothing."""
    out = bench.folder / "out.yaml"
    out.write_text("mine")

    with pytest.raises(SettingsError, match="is there already"):
        import_stimulus(bench.config(columns=COLUMNS), bench.folder / "data.csv", out)

    assert out.read_text() == "mine"


def test_the_shared_examples_import(bench, shared_data):
    """The Titanic JSON is two splits; the DNA file's header is understood."""
    folder = shared_data / "stimulus"
    dna = folder / "dna_experiment_test_shuffling_long.csv"

    text, _ = imported(folder / "titanic_stimulus.json", folder / "titanic_stimulus.csv", "moved")
    sequences, _ = imported(bench.config(".json", experiment="E"), dna, "moved")

    assert len(yaml.safe_load(text)["split"]["cross"]) == 2
    assert yaml.safe_load(sequences)["sources"]["columns"] == {
        "hello:input:dna": "text",
        "bonjour:input:prot": "text",
        "hola:label:float": "label",
        "split:split:int": "ignore",
        "pet:meta:str": "ignore",
    }
