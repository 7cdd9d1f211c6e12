"""Trainings in parts, and what a slot of a search trains."""

import random

import numpy as np
import pytest
import torch

from shoal.formats.checkpoint import read_checkpoint
from shoal.formats.json_file import write_json
from shoal.formats.ledger import Ledger
from shoal.search.steps import Steps
from shoal.settings.search import GridSampling, Halving
from shoal.train_specialists.candidate import Candidate, candidate
from shoal.training.determinism import deterministic
from shoal.training.fit import train_on_rows
from shoal.training.model import weights
from shoal.training.resume import Checkpoints, Part, one_in
from tests.trainings import BATCH, CLASSES, STEPS, TRAINING, Odd, Plain, table


def trained(kind, parts, seen=STEPS * BATCH):
    """Weights and ledger of a training, whole or in parts, each in a module of its own."""
    deterministic(1)
    ledger = Ledger("test")
    for part in parts:
        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        net = kind()
        train_on_rows(net, table(), TRAINING, CLASSES, seen, ledger, part=part)
    return {name: value.tobytes() for name, value in weights(net).items()}, ledger


def in_parts(folder, *divisors):
    """Parts that end after one in so many steps, each going on from the one before."""
    found, before = [], None
    for number, divisor in enumerate(divisors):
        begun = found[-1].left if found else None
        found.append(Part(divisor, before, begun, folder / f"{number}.safetensors"))
        before = divisor
    return found


@pytest.mark.parametrize("kind", [Plain, Odd])
@pytest.mark.parametrize("divisors", [(9, 3, 1), (4, 2, 1), (40, 1)])
def test_a_training_in_parts_has_the_bits_of_one_at_once(kind, divisors, tmp_path):
    """Optimiser, learning rate, order of rows and all draws go on exactly; so does the account."""
    whole, once = trained(kind, [None])

    parts, ledger = trained(kind, in_parts(tmp_path, *divisors))

    assert parts == whole
    assert (ledger.rows_seen, ledger.flops) == (once.rows_seen, once.flops)


def test_a_part_ends_where_it_should(tmp_path):
    """After a ninth of the steps, rounded up, its state says how many are done."""
    _, ledger = trained(Plain, in_parts(tmp_path, 9))

    assert read_checkpoint(tmp_path / "0.safetensors")["shoal"]["batches"] == 5
    assert ledger.rows_seen == 5 * BATCH


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_training_too_short_for_parts_is_done_in_the_first(steps, tmp_path):
    """No part is left that would begin before the last step, and the bits are the same."""
    whole, _ = trained(Plain, [None], steps * BATCH)

    parts, ledger = trained(Plain, in_parts(tmp_path, 9, 3, 1), steps * BATCH)

    assert parts == whole
    assert ledger.rows_seen == steps * BATCH


def test_a_part_that_is_kept_in_the_jobs_checkpoint_is_not_done_again(tmp_path):
    """A job with several trainings that starts anew finds each part where it left it."""
    deterministic(1)

    def run():
        checkpoints = Checkpoints(tmp_path / "out.safetensors", 1e9, Ledger("test"), {})
        net, before, begun = None, None, None
        for divisor in (4, 1):
            left = checkpoints.upcoming
            part = Part(divisor, before, begun, left)
            torch.manual_seed(0)
            net = Plain()
            seen = STEPS * BATCH
            ledger = Ledger("test")
            train_on_rows(net, table(), TRAINING, CLASSES, seen, ledger, checkpoints, part)
            before, begun = divisor, left
        return {name: value.tobytes() for name, value in weights(net).items()}

    first = run()
    kept = sorted(tmp_path.glob("*.checkpoint*"), reverse=True)
    batches = read_checkpoint(kept[0])["shoal"]["batches"]

    assert (len(kept), batches) == (2, STEPS // 4)
    assert run() == first == trained(Plain, [None])[0]


def test_a_share_of_the_steps_never_leaves_one():
    """From before its last step Lightning goes on with none, so that step is taken too."""
    assert [one_in(3, steps) for steps in (1, 2, 3, 4, 9, 10)] == [1, 2, 1, 2, 3, 4]
    assert one_in(1, 10) == 10
    assert [one_in(2, steps) for steps in (2, 3, 4)] == [2, 3, 2]


def test_slots_are_fixed_before_anything_has_run():
    """One in three goes on and trains three times as long, but never fewer than one."""
    halving = Halving(rungs=3, reduction_factor=3)

    assert halving.slots(27) == (27, 9, 3)
    assert halving.slots(4) == (4, 1, 1)
    assert [halving.divisor(rung) for rung in range(3)] == [9, 3, 1]
    assert halving.trainings(27) == pytest.approx(27 / 9 + 9 * 2 / 9 + 3 * 6 / 9)
    assert Halving(rungs=1, reduction_factor=3).trainings(27) == 27


def steps(sampler="sobol", rungs=1):
    sampling = GridSampling(sampler=sampler, samples=4, batch=2, seed=0)
    return Steps({"lr": [1, 2, 3, 4, 5]}, sampling, Halving(rungs=rungs, reduction_factor=3))


def decision(tmp_path, following):
    write_json(tmp_path / "decision.json", CHOICE | {"next": following})
    return tmp_path / "decision.json"


CHOICE = {
    "partition": 0,
    "digests": {"train": "t", "validation": "v"},
    "rows": 1,
    "point": "p",
    "points": {},
    "specialist": "s",
    "losses": {},
    "margin": None,
    "made_from": {"files": {}},
}


def test_a_slot_of_a_plain_grid_trains_its_point_as_a_whole(tmp_path):
    """It fails if it diverges."""
    found = candidate(steps(), 0, "ab", tmp_path / "model", {"lr": 1}, None, {})

    assert found == Candidate({"lr": 1})


def test_under_halving_a_slot_goes_on_from_the_state_of_the_one_that_was_kept(tmp_path):
    """Slot s goes on with the s-th best; one that diverged does not train."""
    following = [
        {"point": {"lr": 2}, "after": "b", "diverged": None},
        {"point": {"lr": 1}, "after": "a", "diverged": "its loss"},
    ]
    path, out = decision(tmp_path, following), tmp_path / "model.safetensors"
    states = {slot: tmp_path / slot / "state.safetensors" for slot in "ab"}
    left = tmp_path / "state.safetensors"

    found = [candidate(steps(rungs=3), 1, f"v-{n}", out, None, path, states) for n in (0, 1)]

    assert found == [
        Candidate({"lr": 2}, Part(3, 9, states["b"], left), True),
        Candidate({"lr": 1}, Part(3, 9, states["a"], left), True, "its loss"),
    ]


def test_a_proposed_slot_starts_anew(tmp_path):
    """It trains the s-th proposed point as a whole, and may diverge."""
    following = [{"point": {"lr": lr}, "after": None, "diverged": None} for lr in (3, 4)]
    path = decision(tmp_path, following)

    found = [candidate(steps("tpe"), 1, f"v-{n}", tmp_path, None, path, {}) for n in (0, 1)]

    assert found == [Candidate({"lr": lr}, may_diverge=True) for lr in (3, 4)]
