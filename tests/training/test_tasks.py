"""Rules of tasks, those of models with a loss of their own above all."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn

from shoal.errors import ModelError
from shoal.formats.shapes import Shapes
from shoal.settings.learning import Model
from shoal.train_specialists.experts import Experts
from shoal.training.model import answer_flops, build_model, predict, predictions, row_losses
from shoal.training.module import trainable
from shoal.training.tasks import rules
from shoal_edge.mixing import mixed
from tests.trainings import CLASSES, TRAINING

SURVIVAL = Shapes(
    x_shape=[3],
    outputs=2,
    task="own",
    classes=None,
    training_rows=10,
    feature_names=["a", "b", "c"],
    trusted=[],
)
ALONE = dataclasses.replace(SURVIVAL, outputs=0)


class Exponential(nn.Module):
    """-log likelihood of times that may be censored, by an exponential distribution."""

    density = True

    def __init__(self, shift: float = 0.0) -> None:
        super().__init__()
        self.rate = nn.Linear(3, 1)
        self.shift = shift

    def row_losses(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """-log of the density where there was an event, of the survival where there was none."""
        x, y = batch
        time, event = y.T
        logarithm = self.rate(x)[:, 0] + self.shift
        return time * logarithm.exp() - event * logarithm


class Expected(Exponential):
    """The same, which predicts its expected time."""

    def predict_rows(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """One over the rate, ``(rows,)``."""
        x, y = batch
        assert y.shape == (len(x), 0)
        return (-(self.rate(x)[:, 0] + self.shift)).exp()


class Nearest(nn.Module):
    """A loss that is no density, without labels; and a whole number for each row."""

    def __init__(self, centre: float = 0.0) -> None:
        super().__init__()
        self.centre = nn.Parameter(torch.tensor(centre))

    def row_losses(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Distance from the centre."""
        return (batch[0] - self.centre).abs().sum(dim=1)

    def predict_rows(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """How many numbers are above it."""
        return (batch[0] > self.centre).sum(dim=1)


class Silent(nn.Module):
    """A model that says no loss."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The rows."""
        return x


class Mean(Exponential):
    """A model that says one loss for all rows."""

    def row_losses(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Their mean."""
        return super().row_losses(batch).mean()


class Arrays(Exponential):
    """A model that predicts no tensor."""

    def predict_rows(self, batch: tuple[torch.Tensor, torch.Tensor]) -> list[float]:  # noqa: D102
        return [0.0] * len(batch[0])


def built(name: str, shapes: Shapes = SURVIVAL, **arguments: object) -> nn.Module:
    model = Model.model_validate({"_target_": f"{__name__}.{name}", **arguments})
    return build_model(model, shapes, seed=0)


def some_rows(count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, 3)).astype(np.float32)
    return x, np.stack([rng.exponential(size=count), rng.integers(2, size=count)], 1).astype("f4")


def test_the_loss_of_a_row_is_what_the_model_says_of_it_and_its_labels():
    """Bit for bit the same in any batch."""
    net, (x, y) = built("Exponential"), some_rows(600)

    losses = row_losses(predict(net, x, "own", y=y), y, "own")
    parts = [predict(net, x[a:b], "own", y=y[a:b]) for a, b in ((0, 1), (1, 300), (300, 600))]
    places = np.array([5, 0, 5])

    with torch.no_grad():
        own = net.row_losses((torch.from_numpy(x), torch.from_numpy(y)))
    assert losses == pytest.approx(own.numpy(), rel=1e-5)
    assert (np.concatenate(parts)[:, 0] == losses).all()
    assert (predict(net, x[places], "own", y[places])[:, 0] == losses[places]).all()
    assert answer_flops(net, SURVIVAL) == 2 * 3


def test_losses_of_densities_mix_as_the_densities_do():
    """-log of the weighted mean of exp(-loss); of one model with all the weight its bits."""
    losses = np.array([[1.0, 3.0], [0.5, 0.25], [200.0, 300.0]], np.float32)
    experts = np.array([[0, 1]] * 3, np.int32)
    weights = np.array([[0.25, 0.75], [1.0, 0.0], [0.5, 0.5]], np.float32)

    def said(expert, rows):
        return losses[rows, expert][:, None]

    found = mixed(said, experts, weights, "density")[:, 0]

    assert found[0] == pytest.approx(-math.log(0.25 * math.exp(-1) + 0.75 * math.exp(-3)))
    assert found[1] == losses[1, 0]
    assert found[2] == pytest.approx(200 + math.log(2))


def test_losses_that_are_no_densities_are_those_of_the_leading_model():
    """Nothing is known of a mixture of the two."""
    assert rules("own").mixing(built("Nearest", ALONE)) == "leading"
    assert rules("own").mixing(built("Exponential")) == "density"
    assert not rules("regression").is_density(nn.Linear(1, 1))

    experts, weights = np.array([[0, 1], [1, 0]], np.int32), np.array([[0.4, 0.6]] * 2, np.float32)
    said = mixed(lambda expert, rows: np.full((len(rows), 1), expert), experts, weights, "leading")

    assert said[:, 0].tolist() == [1, 0]


def test_a_prediction_is_what_predict_rows_says_mixed_where_the_loss_is_a_density():
    """Numbers of densities are averaged by weight; others are the leading model's, as they are."""
    x, _ = some_rows(3)
    experts, weights = np.array([[0, 1]] * 3, np.int32), np.array([[0.25, 0.75]] * 3, np.float32)
    one, other = built("Expected"), built("Expected", shift=1.0)
    first, second = Nearest(0.0), Nearest(100.0)

    times = Experts({0: one, 1: other}, "own", 2).mix(x, experts, weights)
    counts = Experts({0: first, 1: second}, "own", 0).mix(x, experts, weights)

    alone = [predictions([(net, None)], x, "own", 2) for net in (one, other)]
    assert times == pytest.approx(0.25 * alone[0] + 0.75 * alone[1])
    assert counts.tolist() == [0, 0, 0]
    assert counts.dtype == np.int64


def test_without_predict_rows_a_prediction_is_the_loss_if_no_label_is_needed():
    """Rows to predict have no labels, so a loss that looks at them says nothing."""
    x, _ = some_rows(4)

    class Plain(Nearest):
        predict_rows = None

    assert predictions([(Plain(), None)], x, "own", 0)[:, 0] == pytest.approx(np.abs(x).sum(axis=1))
    assert predictions([(built("Exponential"), None)], x, "own", 2).shape == (4, 0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Silent", r"sources.task is own, so it needs a method row_losses\(batch\)"),
        ("Mean", r"row_losses gives a tensor of shape \(\) for 2 rows, not one entry per row"),
        ("Arrays", "predict_rows gives a list, not a tensor"),
    ],
)
def test_a_model_that_does_not_keep_to_it_is_one_line(name: str, message: str):
    """It is refused when it is built, before anything is trained."""
    with pytest.raises(ModelError, match=message):
        built(name)


def test_the_score_that_chooses_variants_does_not_depend_on_the_coding_of_labels():
    """Variants that train on other rows standardise numbers otherwise, and are compared."""
    rng = np.random.default_rng(0)
    y = rng.normal(size=50).astype(np.float32)
    said = (y + rng.normal(size=50).astype(np.float32) / 3)[:, None]
    own = rules("regression")

    score = own.mean_score(said, y)

    assert 0.8 < score < 1
    assert own.mean_score(5 * said - 2, 5 * y - 2) == pytest.approx(score, abs=1e-5)


def test_a_plain_module_learns_by_the_losses_that_it_says():
    """Also one for classes; a loss that the settings name goes first."""

    class Weighted(nn.Linear):
        def row_losses(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
            x, y = batch
            weights = torch.tensor([1.0, 10.0])
            return nn.functional.cross_entropy(self(x), y, weights, reduction="none")

    x, y = torch.ones(4, 3), torch.tensor([0, 1, 1, 0])
    net = Weighted(3, 2)

    own = trainable(net, TRAINING, CLASSES).training_step((x, y))
    entropy = TRAINING.model_copy(update={"loss": "cross_entropy"})
    named = trainable(net, entropy, CLASSES).training_step((x, y))

    assert own == net.row_losses((x, y)).mean()
    assert named.detach().numpy() == pytest.approx(
        nn.functional.cross_entropy(net(x), y).detach().numpy()
    )
