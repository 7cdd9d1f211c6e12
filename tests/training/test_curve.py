"""The loss of a training as it goes."""

import pytest

from shoal.errors import ModelError
from shoal.formats.ledger import Ledger
from shoal.training.curve import LearningCurve


def watch(curve, losses, start=0):
    """Give a curve the losses of steps of a training."""
    for step, loss in enumerate(losses, start + 1):
        curve.add(step, loss)


@pytest.mark.parametrize(("steps", "points"), [(1, 1), (7, 7), (20, 20), (41, 20), (1000, 20)])
def test_a_curve_has_a_point_for_each_twentieth(steps, points):
    """Of few steps each is a point; the last point is the last step."""
    curve = LearningCurve("Net", steps)

    watch(curve, [1.0] * steps)

    assert len(curve.points) == points
    assert curve.points[-1][0] == steps


def test_a_point_is_the_mean_since_the_one_before():
    """Forty losses make twenty means of two, each with the job's seconds by then."""
    ledger = Ledger("test")
    ledger.resume(100)
    curve = LearningCurve("Net", 40, ledger)

    watch(curve, [float(step) for step in range(40)])

    assert [(step, loss) for step, _, loss in curve.points[:2]] == [(2, 0.5), (4, 2.5)]
    assert 100 <= curve.points[0][1] <= curve.points[-1][1] <= ledger.seconds + 0.001


def test_a_curve_goes_on_from_a_checkpoint():
    """One that was kept in the middle of a part ends as if nothing had happened."""
    losses = [0.1 * step**2 for step in range(100)]
    whole, first, second = (LearningCurve("Net", 100) for _ in range(3))
    watch(whole, losses)

    watch(first, losses[:33])
    second.load_state_dict(first.state_dict())
    watch(second, losses[33:], start=33)

    assert second.points == whole.points


def test_a_loss_that_is_no_number_ends_the_training():
    """The message names the model, the step and what to do."""
    with pytest.raises(ModelError, match="Net: the loss became nan at step 3 of 9; lower"):
        watch(LearningCurve("Net", 9), [1.0, 1.0, float("nan")])
