"""Training of base and specialists."""

import numpy as np
import pytest
import torch

from shoal.determinism import deterministic
from shoal.errors import ModelError
from shoal.flops import step_flops
from shoal.ledger import Ledger
from shoal.models import MLP
from shoal.settings.learning import Training
from shoal.train_specialists.budget import Budget
from shoal.train_specialists.fit import train_on_rows
from shoal.train_specialists.model import weights

TRAINING = Training(
    loss="auto",
    lr=0.01,
    weight_decay=0.0,
    batch_size=16,
    rows_seen=1000,
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
        train_on_rows(model, rows(), TRAINING, "classification", 500, Ledger("test"))

    first, second = (weights(model) for model in trained)

    assert all((first[name] == second[name]).all() for name in first)


def test_training_learns():
    """A rule that a small network can learn is learnt."""
    model, data = net(), rows(200)

    train_on_rows(model, data, TRAINING, "classification", 10_000, Ledger("test"))

    predicted = model(torch.from_numpy(data["x"])).argmax(dim=1).numpy()
    assert (predicted == data["y"]).mean() > 0.95


def test_the_ledger_counts_steps_times_one_steps_flops():
    """FLOPs are counted by torch for one step and multiplied; an MLP's formula agrees."""
    ledger = Ledger("test")

    train_on_rows(net(), rows(), TRAINING, "classification", 160, ledger)

    first_layer, second_layer = 2 * 16 * 4 * 8, 2 * 16 * 8 * 2
    # Forward, gradients of weights, and gradients of inputs except the first layer's.
    assert ledger.flops == 10 * (2 * first_layer + 3 * second_layer)
    assert ledger.rows_seen == 160


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
        train_on_rows(net(), data, TRAINING, "classification", 500, Ledger("test"))


def test_a_lightning_module_keeps_its_own_loss_and_optimiser():
    """The user's LightningModule trains unchanged, and its loss is what a step counts."""
    from examples.housing_net import HousingNet
    from shoal.train_specialists.module import trainable

    model = HousingNet(features=4, lr=0.01)
    data = {"x": rows()["x"], "y": rows()["x"][:, 0]}
    before = weights(model)

    assert trainable(model, TRAINING, "regression") is model
    train_on_rows(model, data, TRAINING, "regression", 320, Ledger("test"))

    assert any((weights(model)[name] != before[name]).any() for name in before)
    batch = (torch.zeros(16, 4), torch.zeros(16))
    assert step_flops(model, batch) > 0
