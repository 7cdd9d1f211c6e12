"""The loop for plain modules, beside Lightning."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from shoal.errors import ModelError
from shoal.formats.ledger import Ledger
from shoal.models import MLP
from shoal.training.batches import MemoryRows
from shoal.training.curve import LearningCurve
from shoal.training.determinism import deterministic
from shoal.training.fit import train_on_rows
from shoal.training.keep import Keep
from shoal.training.lean import Row, places
from shoal.training.loop import run_steps
from shoal.training.model import weights
from shoal.training.module import is_lean, trainable
from tests.trainings import BATCH, CLASSES, NUMBERS, STEPS, TRAINING, Odd, table


def net(kind=lambda: MLP(4, 2, 8, 1)):
    torch.manual_seed(0)
    return kind()


def lean(model, settings=TRAINING):
    """A model after the training by the loop of Shoal's own."""
    ledger = Ledger("test")
    train_on_rows(model, table(), settings, CLASSES, STEPS * BATCH, ledger)
    return model


def by_lightning(model, settings=TRAINING):
    """The same by Lightning."""
    from shoal.training.with_lightning import lightning_steps

    rows = MemoryRows(tuple(table().values()), BATCH, STEPS, settings.seed)
    module, curve = trainable(model, settings, CLASSES), LearningCurve("Net", STEPS)
    module.train()
    lightning_steps(module, rows, STEPS, Keep(None, STEPS, None), curve, 1, None)
    return model


@pytest.mark.parametrize("epsilon", [1e-8, 0.1])
def test_the_training_is_the_one_that_lightning_does(epsilon):
    """The same rows, losses and rates: weights agree but for the optimiser's rounding, 1e-6."""
    deterministic(1)
    settings = TRAINING.model_copy(update={"epsilon": epsilon})

    first, second = weights(lean(net(), settings)), weights(by_lightning(net(), settings))

    for name in first:
        np.testing.assert_allclose(first[name], second[name], rtol=0, atol=1e-6)


def test_weights_whose_gradients_are_far_below_epsilon_hardly_move():
    """However small a gradient, AdamW moves a weight by its rate, unless epsilon is larger."""
    settings = TRAINING.model_copy(update={"weight_decay": 0.0})
    start = weights(net())

    moved, held = (
        weights(lean(net(), settings.model_copy(update={"epsilon": epsilon})))
        for epsilon in (1e-8, 1e4)
    )

    for name, values in start.items():
        assert np.abs(moved[name] - values).max() > 1e-3
        assert np.abs(held[name] - values).max() < 1e-4


def test_nothing_that_is_slow_is_imported():
    """A training of a plain module needs neither Lightning nor torch's optimisers."""
    code = (
        "import sys, torch\n"
        "from shoal.models import MLP\n"
        "from shoal.training.loop import run_steps\n"
        "from shoal.training.batches import MemoryRows\n"
        "from shoal.training.module import trainable\n"
        "from shoal.settings.learning import Training\n"
        "import numpy as np\n"
        "from shoal.formats.shapes import Shapes\n"
        "shapes = Shapes([4], 2, 'classification', ['a', 'b'], 1, [*'abcd'], [])\n"
        "training = Training(loss='auto', class_weights=None, lr=0.01, weight_decay=0.1,"
        " epsilon=1e-8, batch_size=4, rows_seen=1, schedule='cosine', warm_up=0, epochs=None,"
        " flops=None, patience=None,"
        " base_share=0.5, buffer_rows=4, seed=0)\n"
        "rows = MemoryRows((np.ones((8, 4), np.float32), np.zeros(8, np.int64)), 4, 3, 0)\n"
        "run_steps(trainable(MLP(4, 2, 8, 1), training, shapes), rows, 3)\n"
        "slow = ('pytorch_lightning', 'torch._dynamo')\n"
        "print([name for name in slow if name in sys.modules])\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


class _Unused(torch.nn.Module):
    """Has a layer that no step uses, one that is frozen, and two names for one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(4, 4)
        self.again = self.first
        self.frozen = torch.nn.Linear(4, 4)
        self.frozen.requires_grad_(False)
        self.unused = torch.nn.Linear(3, 3)
        self.last = torch.nn.Linear(4, 2)

    def forward(self, x):
        return self.last(self.again(torch.relu(self.frozen(self.first(x)))))


def test_what_no_step_uses_has_no_gradient():
    """It only decays, what is frozen stays, and tied weights stay one."""
    model = net(_Unused)
    before = weights(model)

    after = weights(lean(model))

    assert model.again.weight is model.first.weight
    assert (after["frozen.weight"] == before["frozen.weight"]).all()
    assert (np.abs(after["unused.weight"]) < np.abs(before["unused.weight"])).all()
    np.testing.assert_allclose(np.sign(after["unused.weight"]), np.sign(before["unused.weight"]))


def test_parameters_have_storage_of_their_own_after_the_training():
    """A trained model holds neither moments nor its neighbours' weights."""
    model = lean(net())

    sizes = [p.untyped_storage().nbytes() // 4 for p in model.parameters()]

    assert sizes == [p.numel() for p in model.parameters()]


def test_parameters_begin_at_64_bytes():
    """So that kernels see each as they see a tensor of its own."""
    model = net(lambda: MLP(5, 3, 7, 1))
    row = Row(model)

    assert places([35, 7, 21, 3]) == ([0, 48, 64, 96], 112)
    assert [p.data_ptr() % 64 for p in row.parameters] == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("kind", "devices", "wanted"),
    [
        (lambda: MLP(4, 2, 8, 1), 1, True),
        (lambda: MLP(4, 2, 8, 1), 2, False),
        (lambda: MLP(4, 2, 8, 1).double(), 1, False),
        (Odd, 1, False),
    ],
)
def test_the_rule_of_who_trains(kind, devices, wanted):
    """Plain modules of float32 on one device train here; all else in Lightning."""
    assert is_lean(trainable(kind(), TRAINING, CLASSES), devices) is wanted


def test_a_module_of_other_types_trains_in_lightning():
    """What the loop leaves out is trained all the same."""
    model = net(lambda: MLP(4, 1, 8, 1).double())
    rows = {"x": table()["x"].astype(np.float64), "y": table(kind="number")["y"].astype(np.float64)}
    before = weights(model)

    train_on_rows(model, rows, TRAINING, NUMBERS, 320, Ledger("test"))

    assert (weights(model)["layers.1.weight"] != before["layers.1.weight"]).all()


def test_a_model_without_anything_to_train_is_one_line():
    """Its loss has no gradient; the message is the user's, not a traceback."""
    model = net(lambda: MLP(4, 2, 8, 1).requires_grad_(False))

    with pytest.raises(ModelError, match="MLP"):
        lean(model)


def test_a_training_that_is_told_nothing_of_devices_has_one():
    """A batch of 16 on one device is one share."""
    rows = MemoryRows(tuple(table().values()), BATCH, 2, 0)

    run_steps(trainable(net(), TRAINING, CLASSES), rows, 2)

    assert rows.share == (0, 1)
