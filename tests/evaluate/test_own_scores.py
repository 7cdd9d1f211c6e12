"""Scores by classes that settings name."""

import dataclasses

import numpy as np
import pytest

from shoal.errors import ModelError, SettingsError
from shoal.evaluate.own_scores import own_scores
from shoal.settings.learning import OwnScore
from tests.trainings import CLASSES, NUMBERS

PROBABILITY = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]], dtype=np.float32)
Y = np.array([0, 1, 1, 1])


class Farthest:
    """The largest error, or what a test wants instead."""

    def __init__(self, gives=None):
        self.gives = gives

    def __call__(self, prediction, y):
        """Score of numbers."""
        return (prediction - y).abs().max() if self.gives is None else self.gives


def scores(target, shapes=CLASSES, prediction=PROBABILITY, y=Y, **arguments):
    settings = {"own": OwnScore.model_validate({"_target_": target, **arguments})}
    return own_scores(settings, shapes, prediction, y)


def test_torchmetrics_are_taken_by_name_with_facts_of_the_data():
    """Cohen's kappa of three of four right: (0.75 - 0.5) / (1 - 0.5)."""
    found = scores("torchmetrics.CohenKappa", task="multiclass", num_classes="data:outputs")

    assert found == {"own": pytest.approx(0.5)}


def test_rows_of_a_class_unseen_in_training_are_left_out():
    """No class of a library knows their code, -1."""
    y = np.array([0, 1, 1, -1])

    found = scores("torchmetrics.Accuracy", y=y, task="multiclass", num_classes="data:outputs")

    assert found == {"own": pytest.approx(2 / 3)}


def test_a_class_of_the_users_own_scores_numbers():
    """In the label's unit."""
    numbers = np.array([1.0, 5.0, 2.0])
    own = "tests.evaluate.test_own_scores.Farthest"

    assert scores(own, NUMBERS, numbers, np.zeros(3)) == {"own": 5.0}
    assert scores(own, NUMBERS, numbers, np.zeros(3), gives=float("nan")) == {"own": None}


@pytest.mark.parametrize(
    ("target", "arguments", "message"),
    [
        ("tests.evaluate.test_own_scores.Farthest", {"gives": [1, 2]}, "gives no single number"),
        ("torchmetrics.CohenKapa", {}, "has no 'CohenKapa'"),
        ("tests.evaluate.test_own_scores.Farthest", {"give": 1}, "has no argument 'give'; .*gives"),
        ("torchmetrics.MeanSquaredError", {}, r"MeanSquaredError: update raises RuntimeError"),
    ],
)
def test_a_score_that_does_not_work_is_refused_in_a_line(target, arguments, message):
    """The line names the setting and the class."""
    with pytest.raises(ModelError, match=message):
        scores(target, **arguments)


def test_an_unknown_fact_of_the_data_names_the_setting():
    """Not the model's."""
    shapes = dataclasses.replace(CLASSES)
    with pytest.raises(SettingsError, match=r"^evaluate.scores.own.num_classes: no such fact"):
        scores("torchmetrics.CohenKappa", shapes, task="multiclass", num_classes="data:classes")
