"""Trainings that stop where their validation loss gets no better."""

import math

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from shoal.errors import ModelError
from shoal.formats.ledger import Ledger
from shoal.models import MLP
from shoal.partitions.held import HeldRows
from shoal.settings.learning import Schedule
from shoal.training import early, lanes
from shoal.training.determinism import deterministic
from shoal.training.fit import begin_on_rows, train_on_rows
from shoal.training.lanes import Lanes
from shoal.training.model import mean_losses, predict, weights
from shoal.training.schedule import rate_of
from tests.trainings import BATCH, CLASSES, EARLY, OWN, STEPS, TRAINING, held, table

PER_PASS = 7
"""Steps in which the 101 rows of the table have come once."""


def net(kind=lambda: MLP(4, 2, 8, 1)):
    torch.manual_seed(0)
    return kind()


def trained(model, settings=EARLY, stops=None, ledger=None, steps=STEPS):
    """A model after a training that may stop early."""
    stops, ledger = held() if stops is None else stops, ledger or Ledger("test")
    shapes = CLASSES
    train_on_rows(model, table(), settings, shapes, steps * BATCH, ledger, None, None, stops)
    return model


def noisy(count=400):
    """Held-out rows that are learnt at first, and worse later on: half of the labels are wrong."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(count, 4)).astype(np.float32)
    y = (x[:, 0] * x[:, 1] > 0).astype(np.int64)
    return HeldRows({"x": x, "y": np.where(rng.random(count) < 0.3, 1 - y, y)})


@pytest.fixture
def looks(monkeypatch):
    """Validation loss and weights after each look."""
    found, original = [], early.EarlyStopping.look

    def look(self, module, model, done):
        original(self, module, model, done)
        rows = self._held.rows
        loss = mean_losses({"": model}, [(rows["x"], rows["y"])], self._task)[""]
        module.train()
        found.append((done, loss, weights(model)))

    monkeypatch.setattr(early.EarlyStopping, "look", look)
    return found


class Lightning(pl.LightningModule):
    """A LightningModule that learns its rows by heart."""

    def __init__(self):
        super().__init__()
        self.net = MLP(4, 2, 32, 2)

    def forward(self, x):
        """Logits."""
        return self.net(x)

    def training_step(self, batch, _):
        """Cross-entropy."""
        return torch.nn.functional.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self):
        """Adam."""
        return torch.optim.Adam(self.parameters(), 0.01)


@pytest.mark.parametrize("kind", [lambda: MLP(4, 2, 8, 1), Lightning])
def test_the_best_state_is_kept(kind, looks):
    """A training stops after as many passes without a better loss as the patience, at the best."""
    settings = EARLY.model_copy(update={"patience": 3.0, "lr": 0.01})

    model = trained(net(kind), settings, noisy(), steps=60 * PER_PASS)

    losses = [loss for _, loss, _ in looks]
    best = losses.index(min(losses))
    assert [done for done, _, _ in looks] == [PER_PASS * n for n in range(len(looks))]
    assert 0 < best == len(looks) - 1 - 3
    assert len(looks) < 60
    for name, value in weights(model).items():
        np.testing.assert_array_equal(value, looks[best][2][name])


def test_a_training_that_gets_better_goes_on_to_its_end(looks):
    """The state at the start is looked at, and the last, which no whole pass ends with."""
    rows = table()
    stops = HeldRows({name: rows[name] for name in ("x", "y")})

    trained(net(), EARLY, stops)

    assert [done for done, _, _ in looks] == [0, 7, 14, 21, 28, 35, STEPS]


@pytest.mark.parametrize("settings", [EARLY, EARLY.model_copy(update={"patience": None})])
def test_rows_to_look_at_and_the_best_state_count_as_memory_where_a_training_may_stop(settings):
    """Lanes are as many as hold so much together; without patience only its own rows count."""
    model, rows, stops = net(), table(), held()
    state = sum(value.nbytes for value in weights(model).values())
    begun = begin_on_rows(
        model, rows, settings, CLASSES, BATCH, Ledger("test"), None, None, {}, stops
    )

    own = rows["x"].nbytes + rows["y"].nbytes
    assert begun.lean.held == own + (settings.patience is not None) * (stops.nbytes + state)


def test_without_patience_or_rows_nothing_is_looked_at(looks):
    """Bits and cost are those of a training without validation."""
    ledgers = [Ledger("test") for _ in range(3)]
    plain = EARLY.model_copy(update={"patience": None})

    first = trained(net(), plain, held(), ledgers[0])
    second = trained(net(), EARLY, HeldRows({}), ledgers[1])
    trained(net(), EARLY, None, ledgers[2])

    assert {n: v.tobytes() for n, v in weights(first).items()} == {
        n: v.tobytes() for n, v in weights(second).items()
    }
    assert ledgers[0].flops == ledgers[1].flops
    assert ledgers[0].unspent == 0
    assert ledgers[2].unspent > 0
    assert [done for done, _, _ in looks] == [0, 7, 14]  # of the third


def test_the_ledger_has_what_was_spent_and_what_was_left():
    """Steps and looks that were done are counted, and what those that were not would have cost."""
    whole, ledger = Ledger("test"), Ledger("test")
    trained(net(), EARLY.model_copy(update={"patience": None}), held(), whole)
    look = 60 * 2 * (4 * 8 + 8 * 2)

    trained(net(), ledger=ledger)

    step = whole.flops / STEPS
    assert ledger.rows_seen == 14 * BATCH
    assert ledger.flops == 14 * step + 3 * look
    assert ledger.unspent == 26 * step + 4 * look
    assert ledger.detail == {"validation": 3 * look}


class Distance(torch.nn.Module):
    """A model with a loss of its own and no forward pass: how far a linear answer is."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 2)

    def row_losses(self, batch):
        """Squared distance of each row's labels, ``(rows,)``."""
        return (self.linear(batch[0]) - batch[1]).square().sum(dim=1)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_model_with_a_loss_of_its_own_stops_by_it(sign):
    """It looks at the labels of validation rows; a look costs what the losses of rows cost."""
    x = table()["x"]
    rows, ledger = {"x": x, "y": x[:, :2]}, Ledger("test")
    stops = HeldRows({"x": x[:10], "y": sign * 9 * x[:10, :2]})

    train_on_rows(net(Distance), rows, EARLY, OWN, STEPS * BATCH, ledger, None, None, stops)

    assert (ledger.unspent == 0) == (sign == 1)
    looks = 7 if sign == 1 else 3
    assert ledger.detail == {"validation": looks * 10 * 2 * 4 * 2}


def test_a_start_that_nothing_improves_is_kept():
    """A specialist whose rows teach it nothing is its base."""
    model = net()
    before = weights(model)

    trained(model)

    for name, value in weights(model).items():
        assert value.tobytes() == before[name].tobytes()


def test_a_loss_that_is_no_number_is_no_better():
    """Where none is a number, the last state is left."""
    stops = HeldRows({"x": np.full((4, 4), np.nan, np.float32), "y": np.zeros(4, np.int64)})
    model = trained(net(), EARLY, stops)

    assert np.isfinite(predict(model, table()["x"], "classification")).all()


def test_lanes_stop_early_with_the_bits_of_a_training_alone(monkeypatch):
    """Neither the step at which a member stops nor its best state depends on its neighbours."""
    deterministic(1)
    monkeypatch.setattr(lanes, "FEWEST", 2)
    settings = EARLY.model_copy(update={"batch_size": 32, "lr": 0.01, "patience": 2.0})

    def begun(number):
        model = net()
        rows = {name: array[number:] for name, array in table().items()}
        own, ledger = settings.model_copy(update={"seed": number}), Ledger("test")
        stops = noisy(50 + 10 * number)
        return model, ledger, begin_on_rows(
            model, rows, own, CLASSES, 32 * 300, ledger, None, None, {}, stops
        )  # fmt: skip

    alone, together = [begun(number) for number in range(5)], [begun(n) for n in range(5)]
    for _, _, each in alone:
        each.run()
        each.close()
    for run in Lanes().train(("kind", each.lean) for _, _, each in together):
        assert run.failure is None
    for _, _, each in together:
        each.close()

    for (first, cost, _), (second, own, _) in zip(alone, together, strict=True):
        assert cost.unspent == own.unspent > 0
        for name, value in weights(first).items():
            assert value.tobytes() == weights(second)[name].tobytes()
    assert len({cost.rows_seen for _, cost, _ in alone}) > 1


def scheduled(**changes):
    return TRAINING.model_copy(update={"lr": 0.5, **changes})


def test_rates_of_the_schedules():
    """Half a cosine over all steps, or constant; the warm-up rises in a line before either."""
    cosine = [rate_of(scheduled(), step, 4, 2) for step in range(4)]
    warm = [rate_of(scheduled(warm_up=0.5), step, 8, 2) for step in range(8)]
    constant = [
        rate_of(scheduled(schedule="constant", warm_up=0.25), step, 8, 2) for step in range(8)
    ]

    assert cosine == [0.25 * (1 + math.cos(math.pi * n / 4)) for n in range(4)]
    assert warm == pytest.approx([0.125, 0.25, 0.375, 0.5, *cosine])
    assert constant == [0.25, *[0.5] * 7]


def own(target, **arguments):
    return Schedule.model_validate({"_target_": f"torch.optim.lr_scheduler.{target}", **arguments})


def test_a_scheduler_of_torch_steps_after_each_pass():
    """The rate of a step is that of its pass."""
    settings = scheduled(schedule=own("StepLR", step_size=1, gamma=0.1))

    rates = [rate_of(settings, step, 7, 3) for step in range(8)]

    assert rates == pytest.approx([0.5] * 3 + [0.05] * 3 + [0.005] * 2)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (own("ReduceLROnPlateau"), "whose step takes no loss"),
        (own("Nothing"), "has no 'Nothing'"),
        (own("StepLR", steps=1), "has no argument 'steps'"),
        (own("StepLR", step_size=1, gamma=-1.0), "gives the rate -0.5 for pass 2"),
        (own("LinearLR", start_factor=-1.0), "raises ValueError"),
    ],
)
def test_a_scheduler_that_cannot_be_used_is_one_line(schedule, message):
    """The line names it."""
    with pytest.raises(ModelError, match=message):
        rate_of(scheduled(schedule=schedule), 0, 4, 2)


def test_lightning_trains_at_the_same_rates_as_the_lean_loop(monkeypatch):
    """A plain module on several devices steps in Lightning: with warm-up and a scheduler."""
    settings = scheduled(schedule=own("StepLR", step_size=1, gamma=0.5), warm_up=0.2, lr=0.01)
    deterministic(1)
    first = trained(net(), settings.model_copy(update={"patience": None}))
    monkeypatch.setattr("shoal.training.loop.is_lean", lambda *_: False)

    second = trained(net(), settings.model_copy(update={"patience": None}))

    for name, value in weights(first).items():
        np.testing.assert_allclose(value, weights(second)[name], rtol=0, atol=1e-6)


def test_lightning_stops_a_plain_module_where_the_lean_loop_does(monkeypatch):
    """After as many steps, at a state that only the optimiser's rounding tells apart."""
    deterministic(1)
    ledgers = [Ledger("test"), Ledger("test")]
    first = trained(net(), ledger=ledgers[0])
    monkeypatch.setattr("shoal.training.loop.is_lean", lambda *_: False)

    second = trained(net(), ledger=ledgers[1])

    assert ledgers[0].rows_seen == ledgers[1].rows_seen == 14 * BATCH
    assert ledgers[0].flops == ledgers[1].flops
    for name, value in weights(first).items():
        np.testing.assert_allclose(value, weights(second)[name], rtol=0, atol=1e-6)
