"""The loss of a training as it goes."""

from types import SimpleNamespace

import pytest
import torch

from shoal.errors import ModelError
from shoal.formats.ledger import Ledger
from shoal.training.loop import LearningCurve


def watch(curve, losses, steps, start=0):
    """Give a curve the losses of steps of a training, as Lightning does."""
    for step, loss in enumerate(losses, start + 1):
        trainer = SimpleNamespace(global_step=step, max_steps=steps, world_size=1)
        curve.on_train_batch_end(trainer, torch.nn.Linear(1, 1), {"loss": torch.tensor(loss)})


@pytest.mark.parametrize(("steps", "points"), [(1, 1), (7, 7), (20, 20), (41, 20), (1000, 20)])
def test_a_curve_has_a_point_for_each_twentieth(steps, points):
    """Of few steps each is a point; the last point is the last step."""
    curve = LearningCurve(None)

    watch(curve, [1.0] * steps, steps)

    assert len(curve.points) == points
    assert curve.points[-1][0] == steps


def test_a_point_is_the_mean_since_the_one_before():
    """Forty losses make twenty means of two, each with the job's seconds by then."""
    ledger = Ledger("test")
    ledger.resume(100)
    curve = LearningCurve(ledger)

    watch(curve, [float(step) for step in range(40)], 40)

    assert [(step, loss) for step, _, loss in curve.points[:2]] == [(2, 0.5), (4, 2.5)]
    assert 100 <= curve.points[0][1] <= curve.points[-1][1] <= ledger.seconds + 0.001


def test_a_curve_goes_on_from_a_checkpoint():
    """One that was kept in the middle of a part ends as if nothing had happened."""
    losses = [0.1 * step**2 for step in range(100)]
    whole, first, second = (LearningCurve(None) for _ in range(3))
    watch(whole, losses, 100)

    watch(first, losses[:33], 100)
    second.load_state_dict(first.state_dict())
    watch(second, losses[33:], 100, start=33)

    assert second.points == whole.points


def test_a_loss_that_is_no_number_ends_the_training():
    """The message names the model, the step and what to do."""
    with pytest.raises(ModelError, match="Linear: the loss became nan at step 3 of 9; lower"):
        watch(LearningCurve(None), [1.0, 1.0, float("nan")], 9)
