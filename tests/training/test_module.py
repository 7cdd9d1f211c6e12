"""Losses of plain modules: named, by class, and with weights of classes."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from shoal.errors import ModelError, SettingsError
from shoal.models import MLP
from shoal.settings.learning import Loss
from shoal.training.module import trainable
from tests.trainings import CLASSES, NUMBERS, OWN, TRAINING

X = torch.from_numpy(np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32))
Y = (X[:, 0] > 1).long()
SKEWED = dataclasses.replace(CLASSES, class_rows=[90, 10])


class Scaled(nn.Module):
    """Loss of a row, times a number."""

    def __init__(self, by=1.0):
        super().__init__()
        self.by = by

    def forward(self, output, y):  # noqa: D102
        return self.by * (output - y).abs()


class Learned(Scaled):
    """Has a parameter, which no optimiser would see."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))


class OfAPair(nn.Module):
    """Gives two numbers for a batch."""

    def forward(self, output, y):  # noqa: D102
        return output.sum() * y[:2]


def step(shapes=CLASSES, y=Y, outputs=2, **changed):
    """Loss and gradient of a step, by settings that were changed."""
    torch.manual_seed(0)
    net = MLP(4, outputs, 8, 1)
    training = TRAINING.model_copy(update=changed)
    loss = trainable(net, training, shapes).training_step((X, y))
    loss.backward()
    return loss.detach(), torch.cat([each.grad.flatten() for each in net.parameters()])


def named(target, **arguments):
    return Loss.model_validate({"_target_": target, **arguments})


def test_a_loss_by_its_class_trains_as_the_same_loss_by_name():
    """Also to the bit: torch's mean of rows is Shoal's."""
    loss, gradient = step(loss=named("torch.nn.CrossEntropyLoss"))
    same, same_gradient = step(loss="cross_entropy")

    assert loss == same
    assert torch.equal(gradient, same_gradient)


def test_a_loss_of_numbers_gets_outputs_by_row_and_its_arguments():
    """An output ``(rows, 1)`` beside labels ``(rows,)`` would be broadcast to all pairs."""
    loss, _ = step(NUMBERS, X[:, 1], 1, loss=named("tests.training.test_module.Scaled", by=2.0))
    mean, _ = step(NUMBERS, X[:, 1], 1, loss=named("torch.nn.L1Loss"))

    assert loss == pytest.approx(2 * mean)


def test_a_list_among_its_arguments_is_a_tensor():
    """So classes get weights of a user's own."""
    weighted = named("torch.nn.CrossEntropyLoss", weight=[1.0, 3.0], reduction="sum")

    loss, _ = step(loss=weighted)

    torch.manual_seed(0)
    expected = nn.functional.cross_entropy(
        MLP(4, 2, 8, 1)(X), Y, torch.tensor([1.0, 3.0]), reduction="sum"
    )
    assert loss == pytest.approx(float(expected.detach()))


@pytest.mark.parametrize(
    ("weights", "by_code"), [("balanced", [100 / 180, 5.0]), ({"b": 3.0}, [1.0, 3.0])]
)
def test_rows_count_by_the_weight_of_their_class(weights, by_code):
    """Balanced: a class of a tenth of the rows weighs nine times as much as the other."""
    loss, _ = step(SKEWED, class_weights=weights)

    torch.manual_seed(0)
    rows = nn.functional.cross_entropy(MLP(4, 2, 8, 1)(X), Y, reduction="none")
    assert loss == pytest.approx(float((rows * torch.tensor(by_code)[Y]).mean().detach()))


def test_a_weight_of_an_unknown_class_is_refused():
    """The line names the nearest class."""
    with pytest.raises(
        SettingsError, match=r"^train_specialists.class_weights: no class 'B' .* known: a, b$"
    ):
        step(SKEWED, class_weights={"B": 2.0})


@pytest.mark.parametrize(
    ("target", "arguments", "message"),
    [
        ("tests.training.test_module.Learned", {}, "Learned: has parameters, which nothing would"),
        ("tests.training.test_module.OfAPair", {}, "gives no loss of a batch, nor one of each row"),
        ("torch.nn.CrossEntropyLoss", {"smooth": 1}, "has no argument 'smooth'"),
        ("torch.nn.functional.mse_loss", {}, "is a function, and a loss is a class"),
        ("torch.nn.NLLLoss", {"weight": "a"}, "NLLLoss: "),
    ],
)
def test_a_loss_that_does_not_work_is_refused_in_a_line(target, arguments, message):
    """Before the first step, as far as it can be seen."""
    with pytest.raises(ModelError, match=message):
        step(loss=named(target, **arguments))


def test_auto_takes_what_the_module_says_itself():
    """Unless the settings name a loss."""
    net = Says()

    loss = trainable(net, TRAINING, OWN).training_step((X, Y))

    assert loss == X.abs().sum(dim=1).mean()


class Says(nn.Module):
    """A module with a loss of each row."""

    def row_losses(self, batch):  # noqa: D102
        return batch[0].abs().sum(dim=1)
