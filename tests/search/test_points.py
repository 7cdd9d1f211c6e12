"""Points of the hyperparameter grid."""

from typing import Any

import pytest
import torch

import shoal.models
from shoal.errors import SettingsError
from shoal.search.points import at_point, model_at
from shoal.search.space import points
from shoal.settings.learning import Model, Training
from shoal.settings.search import GridSampling, Range

MODEL = Model.model_validate({"_target_": "my_model.Net", "width": 8, "out": "data:outputs"})
TRAINING = Training(
    loss="auto",
    class_weights=None,
    lr=0.1,
    weight_decay=0.0,
    epsilon=1e-8,
    batch_size=4,
    rows_seen=100,
    schedule="cosine",
    warm_up=0.0,
    epochs=None,
    flops=None,
    patience=None,
    base_share=0.5,
    buffer_rows=100,
    seed=0,
)


def test_points_are_all_combinations():
    """Two lists make their product."""
    grid = points({"lr": [0.1, 0.2], "model.width": [4, 8]}, MODEL, TRAINING)

    assert sorted(map(str, grid.values())) == sorted(
        str({"lr": lr, "model.width": width}) for lr in (0.1, 0.2) for width in (4, 8)
    )


def test_a_points_id_does_not_depend_on_the_other_points():
    """Adding a value to a list keeps every earlier point's id."""
    few = points({"lr": [0.1, 0.2]}, MODEL, TRAINING)
    more = points({"lr": [0.3, 0.2, 0.1]}, MODEL, TRAINING)

    assert set(few) < set(more)


def test_an_empty_grid_is_one_point():
    """Without a grid there is one specialist a partition, with the settings as they are."""
    assert list(points({}, MODEL, TRAINING).values()) == [{}]


def test_a_point_changes_training_and_model():
    """A plain name is a training setting, model.NAME an argument of the model."""
    model, training = at_point(MODEL, TRAINING, {"lr": 0.5, "model.width": 3})

    assert training.lr == 0.5
    assert model.arguments() == {"width": 3, "out": "data:outputs"}


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"batchsize": [1]}, r"grid\.batchsize: unknown hyperparameter; did you mean 'batch_size'"),
        ({"rows_seen": [1]}, "grid.rows_seen: unknown hyperparameter"),
        ({"patience": [1]}, "grid.patience: unknown hyperparameter"),
        (
            {"model.widht": [1]},
            r"grid\.model\.widht: the settings of model have no 'widht'; did you",
        ),
        ({"model.lr": [1]}, r"have no 'lr'; known: out, width; of training it is grid\.lr$"),
        ({"model.drop": [1]}, r"if my_model\.Net takes it, set model\.drop too$"),
        (
            {"model.out": [2]},
            r"grid\.model\.out: changes the shape .* a list of values of model\.out itself",
        ),
        ({"lr": []}, "grid.lr: an empty list"),
        ({"lr": [0.1, 0.1]}, "is there twice"),
        ({"lr": ["fast"]}, "grid.lr: Input should be a valid number"),
    ],
)
def test_a_wrong_grid_is_refused(grid: dict[str, list[object]], message: str):
    """Names and values are checked before anything runs."""
    with pytest.raises(SettingsError, match=message):
        points(grid, MODEL, TRAINING)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("MLP", {"features": 3, "outputs": 2, "width": 4, "depth": 1}),
        ("ConvNet", {"shape": [8, 8], "outputs": 2, "channels": 3}),
    ],
)
def test_no_argument_of_a_shipped_model_may_be_in_a_grid(name: str, given: dict[str, Any]):
    """Each of them changes the shape of parameters, which is refused before anything runs."""

    def shapes(**changes: object) -> list[torch.Size]:
        with torch.device("meta"):
            net = getattr(shoal.models, name)(**given | changes)
        return [each.shape for each in net.parameters()]

    model = Model.model_validate({"_target_": f"shoal.models.{name}"} | given)
    for argument, value in given.items():
        other = [9, 9] if argument == "shape" else value + 1
        assert shapes(**{argument: other}) != shapes()
        with pytest.raises(SettingsError, match=rf"^grid\.model\.{argument}: changes the shape"):
            points({f"model.{argument}": [other]}, model, TRAINING)


@pytest.mark.parametrize(
    "name", ["model._target_", "model.target", "_target_", "model.", "model.model_config", "a\nb"]
)
def test_a_point_from_a_file_names_no_class(name: str):
    """Only declared arguments and training settings are applied; the line stays one."""
    with pytest.raises(SettingsError, match=r"^grid\.") as caught:
        model_at(MODEL, {"lr": 0.1, "model.width": 4, name: "torch.hub.load"})
    assert "\n" not in str(caught.value)


def sample(grid, samples, sampler="sobol", seed=0):
    """Points of a sample, by id."""
    asked = GridSampling(sampler=sampler, samples=samples, batch=4, seed=seed)
    return points(grid, MODEL, TRAINING, asked)


LRS = Range(low=1e-4, high=0.1, log=True)


@pytest.mark.parametrize("sampler", ["sobol", "random"])
def test_a_larger_sample_adds_to_a_smaller_one(sampler: str):
    """Equal seeds give equal points, so more samples train only what is new."""
    grid = {"lr": LRS, "batch_size": [4, 8, 16]}

    few, more = (sample(grid, n, sampler) for n in (5, 12))

    assert (len(few), len(more)) == (5, 12)
    assert set(few) < set(more)
    assert set(sample(grid, 12, sampler)) == set(more)
    assert set(sample(grid, 12, sampler, seed=1)).isdisjoint(more)


@pytest.mark.parametrize("sampler", ["sobol", "random"])
def test_no_point_is_counted_twice(sampler: str):
    """A sample of a list's values, smaller than all of them, has as many points as asked for."""
    grid = {"lr": [0.1, 0.2, 0.3], "batch_size": Range(low=1, high=4)}

    assert len(sample(grid, 11, sampler)) == 11
    assert set(sample(grid, 11, sampler)) < set(sample(grid, 12, sampler))
    assert set(sample(grid, 99, sampler)) == set(sample(grid, 12, sampler))


def test_sobol_points_fill_a_logarithmic_range_evenly():
    """Of 64, every decade of three gets a third, within two."""
    drawn = [point["lr"] for point in sample({"lr": LRS}, 64).values()]

    decades = [sum(low <= lr < 10 * low for lr in drawn) for low in (1e-4, 1e-3, 1e-2)]

    assert all(19 <= count <= 24 for count in decades)


def test_whole_ends_give_whole_numbers_both_ends_included():
    """They are drawn as often as the numbers between them."""
    drawn = [
        point["batch_size"]
        for point in sample({"batch_size": Range(low=2, high=5), "lr": LRS}, 400, "random").values()
    ]

    assert {type(value) for value in drawn} == {int}
    assert all(70 < drawn.count(value) < 130 for value in (2, 3, 4, 5))


def test_a_drawn_number_has_four_digits():
    """Its id does not hang on the last bits of a machine's logarithm."""
    drawn = [point["lr"] for point in sample({"lr": LRS}, 9, "random").values()]

    assert drawn == [float(f"{lr:.4g}") for lr in drawn]


@pytest.mark.parametrize(
    ("grid", "samples", "message"),
    [
        ({"lr": LRS}, None, r"grid\.lr: a range is sampled, set search\.grid\.samples"),
        ({"lr": Range(low=0.1, high=0.10001)}, 9, r"9 points are asked for, but no more than 1 "),
        ({"lr": Range(low=-2, high=-1)}, 1, r"grid\.lr: Input should be greater than 0"),
    ],
)
def test_a_wrong_range_is_refused(grid, samples, message):
    """One that nobody samples, that is too narrow, or whose values the setting does not take."""
    with pytest.raises(SettingsError, match=message):
        sample(grid, samples)


def test_of_proposed_points_the_first_batch_is_drawn(monkeypatch):
    """It is the beginning of the Sobol sample; where all points are taken nothing is proposed."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    grid = {"lr": LRS, "batch_size": [4, 8, 16]}

    assert set(sample(grid, 12, "tpe")) == set(sample(grid, 4))
    assert len(sample({"batch_size": [4, 8, 16]}, 12, "tpe")) == 3


def test_values_that_may_be_proposed_are_checked_before_anything_runs(monkeypatch):
    """Also those that no point of the first batch has."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    grid = {"lr": LRS, "batch_size": [4, 8, 16, 32, 64, "many"]}

    with pytest.raises(SettingsError, match=r"grid\.batch_size: Input should be a valid integer"):
        sample(grid, 12, "gp")


def test_a_sampler_of_a_package_that_is_missing_is_refused(monkeypatch):
    """The one line says how to install it."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(
        SettingsError, match=r"tpe is one of Optuna's: pip install 'shoal\[optuna\]'"
    ):
        sample({"lr": LRS}, 12, "tpe")
