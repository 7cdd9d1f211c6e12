"""The grid over how data is processed: which variants an experiment has."""

import shutil
from pathlib import Path

import pytest

from shoal.errors import SettingsError
from shoal.plan.variants import variants

CONFIG = Path(__file__).parents[2] / "config"


def of(*overrides, experiment="titanic", config=CONFIG):
    """Variants of an experiment that ships with Shoal."""
    return variants(config, experiment, list(overrides))


def changes(*overrides, **further):
    """What tells the variants apart."""
    return [variant.changes for variant in of(*overrides, **further)]


def with_transform(folder, steps):
    """The titanic experiment with other transform steps, in a folder of its own."""
    shutil.copytree(CONFIG, folder, dirs_exist_ok=True)
    path = folder / "experiment" / "titanic.yaml"
    text = path.read_text()
    start, end = text.index("transform:"), text.index("embed:\n")
    path.write_text(f"{text[:start]}transform:\n  steps:\n{steps}\n{text[end:]}")
    return folder


def test_an_experiment_without_lists_has_one_variant():
    """Nothing tells it from others."""
    assert changes() == [{}]


def test_lists_of_different_settings_are_crossed():
    """Two lists of two give four variants, the first list slowest."""
    found = changes("split.seed=[0,1]", "cluster.partitions=[3,5]")

    assert found == [
        {"split.seed": seed, "cluster.partitions": partitions}
        for seed in (0, 1)
        for partitions in (3, 5)
    ]


def test_the_seed_may_be_a_list():
    """Every stage takes the seed of its variant."""
    found = of("seed=[3,4]")

    assert [variant.settings.seed for variant in found] == [3, 4]
    assert [variant.settings.split.seed for variant in found] == [3, 4]
    assert [variant.settings.train_specialists.seed for variant in found] == [3, 4]


def test_a_setting_that_takes_a_list_is_none():
    """The candidates of ``auto`` are one setting; several lists of them are two variants."""
    auto = ["embed=pca", "cluster=auto"]

    assert len(of(*auto, "cluster.partitions=[2,4]")) == 1
    assert len(of(*auto, "cluster.partitions=[[2,4],[8]]")) == 2


def test_a_stage_may_have_several_choices():
    """A list of group choices takes each file as it is, with grids of its own."""
    found = of("embed=[identity,pca]", "cluster.partitions=[3,5]")

    assert [variant.settings.embed.method for variant in found] == [
        "identity",
        "identity",
        "pca",
        "pca",
    ]
    assert found[2].changes == {"embed": "pca", "cluster.partitions": 3}


def test_zipped_lists_advance_together(tmp_path):
    """Three noise levels on two columns, zipped, are three variants."""
    steps = "".join(
        f"    - {{step: noise, columns: [{column}], options: {{sd: {{zip: {levels}}}}}}}\n"
        for column, levels in (("age", "[0.1, 0.2, 0.3]"), ("fare", "[1, 2, 3]"))
    )

    found = changes(config=with_transform(tmp_path, steps))

    assert found == [
        {"transform.steps.0.options.sd": age, "transform.steps.1.options.sd": fare}
        for age, fare in ((0.1, 1), (0.2, 2), (0.3, 3))
    ]


def test_options_of_a_step_may_be_lists(tmp_path):
    """A list where the option takes one number is crossed."""
    steps = "    - {step: noise, columns: [age], options: {sd: [0.1, 0.2]}}\n"

    assert changes(config=with_transform(tmp_path, steps)) == [
        {"transform.steps.0.options.sd": 0.1},
        {"transform.steps.0.options.sd": 0.2},
    ]


def test_encoders_may_be_lists():
    """Both the encoder of a kind and its options."""
    found = changes("encode.kinds.numeric.encoder=[scale,quantile]")

    assert found == [
        {"encode.kinds.numeric.encoder": "scale"},
        {"encode.kinds.numeric.encoder": "quantile"},
    ]


def test_models_their_arguments_and_budgets_may_be_lists():
    """Of an argument that takes one value, as its annotation says; a list of models too."""
    assert changes("model.width=[16,32]") == [{"model.width": 16}, {"model.width": 32}]
    found = of("model=[mlp,convnet]", "train_specialists.epochs=[1,2]")
    assert [variant.settings.model.target for variant in found[::2]] == [
        "shoal.models.MLP",
        "shoal.models.ConvNet",
    ]
    assert found[1].changes == {"model": "mlp", "train_specialists.epochs": 2}
    assert len({variant.id for variant in found}) == 4


def test_an_argument_that_takes_a_list_is_none(tmp_path, monkeypatch):
    """So it is where the source does not say; ``{cross: […]}`` varies any."""
    source = (
        "class Base:\n"
        "    def __init__(self, sizes: list[int], rate: 'float | None', free): ...\n"
        "class Net(Base):\n"
        "    def __init__(self, *, depth=2, **others): ...\n"
    )
    (tmp_path / "nets.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    net = "++model._target_=nets.Net"

    assert changes(net, "++model.sizes=[1,2]", "++model.free=[1,2]") == [{}]
    assert len(of(net, "++model.rate=[1,2]", "++model.depth=[1,2]")) == 4
    assert len(of(net, "++model.free={cross: [1,2]}")) == 2


def test_an_added_value_leaves_the_other_variants_as_they_are():
    """Ids come from content, not from a place in a list."""
    before = {variant.id for variant in of("split.seed=[0,1]", "model.width=[16]")}
    after = {variant.id for variant in of("split.seed=[7,1,0]", "model.width=[32,16]")}

    assert before < after
    assert len(after) == 6


@pytest.mark.parametrize("override", ["split.seed=7", "cluster.min_rows=7", "embed.dims=3"])
def test_variants_that_differ_in_what_is_no_list_do_not_overwrite_each_other(override):
    """Their ids hold every setting of how data is processed, not only those that vary."""
    lists = "cluster.partitions=[3,5]"

    assert {v.id for v in of(lists)}.isdisjoint(v.id for v in of(lists, override))
    assert [v.changes for v in of(lists)] == [v.changes for v in of(lists, override)]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("split.seed=[1,1]", "two variants are the same, split.seed=1 and split.seed=1"),
        ("split.seed={cross: []}", "split.seed: an empty list of values"),
        ("embed=[pca,pcaa]", "embed: 'pcaa' is unknown; did you mean 'pca'"),
        ("cluster.partitions=[3,x]", "cluster.partitions"),
    ],
)
def test_a_wrong_list_is_one_line(override, message):
    """It names the setting and the value."""
    with pytest.raises(SettingsError, match=r"^[^\n]*$") as caught:
        of(override)
    assert message in str(caught.value)


def test_a_choice_among_its_own_alternatives_is_one_line(tmp_path):
    """It would have them without end."""
    shutil.copytree(CONFIG, tmp_path, dirs_exist_ok=True)
    (tmp_path / "embed" / "loop.yaml").write_text("cross: [loop, pca]\n")

    with pytest.raises(SettingsError, match=r"has itself among its alternatives$"):
        of("embed=loop", config=tmp_path)


def test_lists_that_advance_together_have_one_length():
    """Otherwise the line names them with their lengths."""
    with pytest.raises(SettingsError, match=r"split.fractions \(1\), split.seed \(2\)"):
        of(
            "split.seed={zip: [0, 1]}",
            "split.fractions={zip: [{train: 0.6, validation: 0.2, test: 0.2}]}",
        )


SPACE = ("split.seed=[0,1,2,3]", "cluster.partitions=[2,3,5]", "embed.dims=[2,3]")


@pytest.mark.parametrize("sampler", ["sobol", "random"])
def test_a_larger_sample_of_variants_adds_to_a_smaller_one(sampler):
    """Equal seeds give the same variants, and each says how many there are."""
    asked = [*SPACE, f"search.variants.sampler={sampler}"]

    few, more = (of(*asked, f"search.variants.samples={samples}") for samples in (5, 11))

    assert (len(few), len(more)) == (5, 11)
    assert {variant.id for variant in few} < {variant.id for variant in more}
    assert {variant.among for variant in few} == {24}


def test_a_sample_of_as_many_as_there_are_is_all_of_them():
    """No variant is drawn twice, and none is left out."""
    every, almost = ({v.id for v in of(*SPACE, f"search.variants.samples={n}")} for n in (24, 23))

    assert len(every) == 24
    assert almost < every


def test_the_seed_is_sampled_like_a_list_of_a_stage():
    """Of 8 Sobol points each of two seeds and two numbers of dimensions gets about half."""
    found = changes(*SPACE, "seed=[0,1]", "search.variants.samples=8")

    for name in ("seed", "embed.dims"):
        values = [each[name] for each in found]
        assert {3 <= values.count(value) <= 5 for value in values} == {True}


def test_lists_within_an_alternative_are_sampled_with_it(tmp_path):
    """A list that one of two alternatives has of its own is no list of the other."""
    shutil.copytree(CONFIG, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "experiment" / "titanic.yaml"
    grid = "{cross: [{min_rows: 7}, {min_rows: 9, partitions: [2, 3, 4, 5]}]}"
    path.write_text(path.read_text().replace("\ncluster:\n", f"\ncluster: {grid}\nunused:\n"))
    text = path.read_text()
    path.write_text(text[: text.index("unused:")] + text[text.index("model:") :])

    found = changes("search.variants.samples=4", config=tmp_path)

    assert len(found) == 4
    assert [each["cluster"]["min_rows"] for each in found].count(7) == 1
    assert ["cluster.partitions" in each for each in found] == [False, True, True, True]
