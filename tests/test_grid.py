"""Points of the hyperparameter grid."""

import pytest

from shoal.errors import SettingsError
from shoal.grid import at_point, points
from shoal.settings.learning import Model, Training

MODEL = Model.model_validate({"_target_": "shoal.models.MLP", "width": 8})
TRAINING = Training(
    loss="auto",
    lr=0.1,
    weight_decay=0.0,
    batch_size=4,
    rows_seen=100,
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
    assert model.arguments() == {"width": 3}


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"batchsize": [1]}, r"grid\.batchsize: unknown hyperparameter; did you mean 'batch_size'"),
        ({"rows_seen": [1]}, "grid.rows_seen: unknown hyperparameter"),
        ({"model.widht": [1]}, "did you mean 'model.width'"),
        ({"lr": []}, "grid.lr: an empty list"),
        ({"lr": [0.1, 0.1]}, "is there twice"),
        ({"lr": ["fast"]}, "grid.lr: Input should be a valid number"),
    ],
)
def test_a_wrong_grid_is_refused(grid: dict[str, list[object]], message: str):
    """Names and values are checked before anything runs."""
    with pytest.raises(SettingsError, match=message):
        points(grid, MODEL, TRAINING)
