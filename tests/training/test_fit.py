"""Training of base and specialists."""

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from shoal.errors import ModelError
from shoal.formats.ledger import Ledger
from shoal.models import MLP
from shoal.settings.learning import Training
from shoal.training.budget import Budget
from shoal.training.determinism import deterministic
from shoal.training.fit import train_on_rows
from shoal.training.flops import step_flops
from shoal.training.model import weights
from tests.trainings import CLASSES, NUMBERS

TRAINING = Training(
    loss="auto",
    class_weights=None,
    lr=0.01,
    weight_decay=0.0,
    epsilon=1e-8,
    batch_size=16,
    rows_seen=1000,
    schedule="cosine",
    warm_up=0.0,
    epochs=None,
    flops=None,
    patience=None,
    base_share=0.5,
    buffer_rows=100,
    seed=0,
)


def rows(count: int = 100) -> dict[str, np.ndarray]:
    x = np.random.default_rng(0).normal(size=(count, 4)).astype(np.float32)
    return {"x": x, "y": (x[:, 0] > 0).astype(np.int64)}


def net() -> MLP:
    torch.manual_seed(0)
    return MLP(4, 2, 8, 1)


def test_the_same_rows_give_the_same_bits():
    """Training is a function of rows, settings and starting weights."""
    deterministic(1)
    trained = [net(), net()]
    for model in trained:
        train_on_rows(model, rows(), TRAINING, CLASSES, 500, Ledger("test"))

    first, second = (weights(model) for model in trained)

    assert all((first[name] == second[name]).all() for name in first)


def test_training_learns():
    """A rule that a small network can learn is learnt."""
    model, data = net(), rows(200)

    train_on_rows(model, data, TRAINING, CLASSES, 10_000, Ledger("test"))

    predicted = model(torch.from_numpy(data["x"])).argmax(dim=1).numpy()
    assert (predicted == data["y"]).mean() > 0.95


def test_the_ledger_counts_steps_times_one_steps_flops():
    """FLOPs are counted by torch for one step and multiplied; an MLP's formula agrees."""
    ledger = Ledger("test")

    train_on_rows(net(), rows(), TRAINING, CLASSES, 160, ledger)

    first_layer, second_layer = 2 * 16 * 4 * 8, 2 * 16 * 8 * 2
    # Forward, gradients of weights, and gradients of inputs except the first layer's.
    assert ledger.flops == 10 * (2 * first_layer + 3 * second_layer)
    assert ledger.rows_seen == 160


def test_a_model_whose_steps_count_no_flops_is_refused():
    """Budgets are in FLOPs: none would ever be spent."""
    scale = torch.nn.PReLU(4)

    with pytest.raises(ModelError, match=r"model torch\..*PReLU: a training step counts no FLOPs"):
        train_on_rows(scale, rows(), TRAINING, CLASSES, 500, Ledger("test"))


def test_epochs_are_passes_of_a_specialist_over_its_own_rows():
    """The base makes as many as its share says; the budget follows from the training rows."""
    settings = TRAINING.model_copy(update={"epochs": 7.0, "base_share": 0.3})

    budget = Budget.of(settings, 333)

    assert (budget.specialist_rows(50), budget.specialist_rows(51)) == (350, 357)
    assert budget.base_rows == pytest.approx(3 * 333, abs=1)
    assert budget.rows_seen == pytest.approx(10 * 333, abs=1)


def test_budget_rate_is_frozen_with_the_base():
    """A specialist's rows depend on its own rows and on the base's record, nothing else."""
    budget = Budget(rows_seen=1000, base_share=0.4, training_rows=300)

    assert budget.rate == pytest.approx(2.0)
    assert budget.specialist_rows(50) == 100


def test_a_loss_that_is_not_finite_names_the_step():
    """Training stops at once, with a cause to look for."""
    data = rows()
    data["x"][:, 1] = np.inf

    with pytest.raises(ModelError, match=r"the loss became nan at step 1 of \d+; lower the lear"):
        train_on_rows(net(), data, TRAINING, CLASSES, 500, Ledger("test"))


def test_a_lightning_module_keeps_its_own_loss_and_optimiser():
    """The user's LightningModule trains unchanged, and its loss is what a step counts."""
    from examples.housing_net import HousingNet
    from shoal.training.module import trainable

    model = HousingNet(features=4, lr=0.01)
    data = {"x": rows()["x"], "y": rows()["x"][:, 0]}
    before = weights(model)

    assert trainable(model, TRAINING, NUMBERS) is model
    train_on_rows(model, data, TRAINING, NUMBERS, 320, Ledger("test"))

    assert any((weights(model)[name] != before[name]).any() for name in before)
    batch = (torch.zeros(16, 4), torch.zeros(16))
    assert step_flops(model, batch) > 0


class _Own(pl.LightningModule):
    """A LightningModule whose steps and schedule differ from test to test."""

    def __init__(self, schedule: str = "") -> None:
        super().__init__()
        self.leave = torch.nn.Linear(4, 2)
        self.schedule = schedule
        self.rates = []

    def on_train_batch_start(self, *_):
        self.rates.append(self.optimizers().param_groups[0]["lr"])

    def loss(self, batch):
        x, y = batch
        return torch.nn.functional.cross_entropy(self.leave(x), y)

    def training_step(self, batch, _):
        loss = self.loss(batch)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        steps = torch.optim.lr_scheduler.StepLR(optimizer, 1)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=1e9)
        return {
            "": optimizer,
            "lists": ([optimizer], [steps]),
            "epoch": {"optimizer": optimizer, "lr_scheduler": steps},
            "plateau": {"optimizer": optimizer, "lr_scheduler": plateau, "monitor": "loss"},
            "plateau by step": {
                "optimizer": optimizer,
                "lr_scheduler": {"scheduler": plateau, "interval": "step", "monitor": "loss"},
            },
        }[self.schedule]

    def on_train_end(self):
        self.last_rate = self.optimizers().param_groups[0]["lr"]


class _Mistaken(_Own):
    """Takes a batch for a mapping."""

    def training_step(self, batch, _):
        return self.loss(batch["image"])


class _WithoutLoss(_Own):
    """Returns nothing."""

    def training_step(self, batch, _):
        self.loss(batch)


class _WithoutNumber(_Own):
    """Does not take the batch's number."""

    def training_step(self, batch):
        return {"loss": self.loss(batch)}


class _Unconfigured(_Own):
    """Fails before its first step."""

    def configure_optimizers(self):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (
            _Mistaken,
            r"Mistaken: training_step raises TypeError: tuple indices .* at .*test_fit\.py:\d+; "
            r"a batch is \(x, y\): x float32 of shape \(B, 4\), y int64 of shape \(B,\)$",
        ),
        (_Unconfigured, r"configure_optimizers raises ZeroDivisionError at .*test_fit\.py:\d+$"),
        (_WithoutLoss, "WithoutLoss: training_step gives None, not a loss"),
    ],
)
def test_what_a_users_step_raises_is_one_line(module, message):
    """It names the user's file and line, and what a batch is."""
    with pytest.raises(ModelError, match=message) as caught:
        train_on_rows(module(), rows(), TRAINING, CLASSES, 500, Ledger("test"))

    assert "\n" not in str(caught.value)


def test_a_plain_module_that_does_not_fit_the_labels_is_one_line():
    """Its loss is Shoal's, but what it makes is its own."""
    numbers = {"x": rows()["x"], "y": rows()["x"][:, 0]}

    with pytest.raises(ModelError, match=r"MLP: .*raises RuntimeError: .*y float32 of shape"):
        train_on_rows(net(), numbers, TRAINING, CLASSES, 500, Ledger("test"))


def test_a_step_that_does_not_take_the_batchs_number_trains():
    """Lightning calls it without, and so does the count of FLOPs."""
    ledger = Ledger("test")

    train_on_rows(_WithoutNumber(), rows(), TRAINING, CLASSES, 500, ledger)

    assert ledger.flops > 0


@pytest.mark.parametrize("schedule", ["lists", "epoch"])
def test_a_modules_schedule_by_epoch_steps_after_each_pass(schedule):
    """Lightning takes the whole training for one epoch; the rate falls to a tenth per pass."""
    model, data = _Own(schedule), rows()
    size = TRAINING.batch_size
    per_pass = -(-len(data["y"]) // size)

    train_on_rows(model, data, TRAINING, CLASSES, 2 * per_pass * size, Ledger("test"))

    assert model.rates == pytest.approx([0.1] * per_pass + [0.01] * per_pass)


def test_a_schedule_by_epoch_that_takes_a_metric_is_refused():
    """No metric is logged at the end of a pass; the line says what works."""
    with pytest.raises(ModelError, match=r"ReduceLROnPlateau .*by a metric.*without one"):
        train_on_rows(_Own("plateau"), rows(), TRAINING, CLASSES, 500, Ledger("test"))


def test_a_plateau_that_is_looked_at_every_step_lowers_the_rate():
    """A schedule that is refused by epoch works by step."""
    model = _Own("plateau by step")

    train_on_rows(model, rows(), TRAINING, CLASSES, 500, Ledger("test"))

    assert model.last_rate < 0.1
