"""Models that step together, with the bits that each has alone."""

import json
import signal
import time

import numpy as np
import pytest
import torch
from torch import nn

from shoal.errors import DivergedError
from shoal.formats.ledger import Ledger
from shoal.models import MLP
from shoal.training import lanes
from shoal.training.determinism import deterministic
from shoal.training.fit import begin_on_rows
from shoal.training.lanes import LAYERS, Lanes, most_lanes
from shoal.training.model import weights
from shoal.training.module import trainable
from shoal.training.resume import Part
from tests.trainings import CLASSES, TRAINING, run_attempt

SETTINGS = TRAINING.model_copy(update={"batch_size": 32})


@pytest.fixture(autouse=True)
def small_programs(monkeypatch):
    """Two models are enough for a program, on one thread."""
    deterministic(1)
    monkeypatch.setattr(lanes, "FEWEST", 2)


def layers(*own):
    return nn.Sequential(nn.Flatten(), nn.Linear(5, 7), *own, nn.Linear(7, 3))


class Member:
    """A training of a small network on rows of its own."""

    def __init__(self, number, kind=layers, part=None, steps=None):
        torch.manual_seed(0)
        rng = np.random.default_rng(number)
        rows = 40 + 23 * number
        self.arrays = {"x": rng.normal(size=(rows, 5)).astype(np.float32)}
        self.arrays["y"] = rng.integers(0, 3, rows)
        self.settings = SETTINGS.model_copy(
            update={
                "lr": (0.001, 0.003)[number % 2],
                "seed": number,
                "weight_decay": number / 9,
                "epsilon": (1e-8, 0.1)[number // 2 % 2],
            }
        )
        self.ledger, self.net, self.part = Ledger("test"), kind(), part
        self.seen = 32 * (steps or 5 + number * 7 % 5)

    def begin(self):
        """What it is and its steps, drawing as any other."""
        torch.manual_seed(0)
        self.begun = begin_on_rows(
            self.net, self.arrays, self.settings, CLASSES, self.seen, self.ledger, None,
            self.part, {(32, 5): 1},
        )  # fmt: skip
        return "kind", self.begun.lean

    def alone(self):
        """Weights after training alone."""
        self.begin()
        self.begun.run()
        self.begun.close()
        return self.result()

    def result(self):
        """Its weights."""
        return {name: value.tobytes() for name, value in weights(self.net).items()}


def together(members):
    """Weights of members that trained in lanes, each of whose failures is raised."""
    over = {}
    for run in Lanes().train(member.begin() for member in members):
        begun = (each for each in members if hasattr(each, "begun"))
        (member,) = (each for each in begun if each.begun.lean is run)
        if run.failure is None:
            member.begun.close()
        over[members.index(member)] = run.failure
    assert len(over) == len(members)
    return [over[number] or member.result() for number, member in enumerate(members)]


def test_a_member_has_the_same_bits_in_any_company(capfd):
    """Not its lane, nor neighbours, nor when it begins, nor the number of lanes changes a bit."""
    alone = [Member(number).alone() for number in range(9)]

    for order in (range(9), reversed(range(9)), [4], [8, 1], [3, 0, 7, 5, 2]):
        numbers = list(order)
        found = together([Member(number) for number in numbers])
        assert found == [alone[number] for number in numbers]
    assert "trains alone" not in capfd.readouterr().err


def test_no_more_step_together_than_the_room_for_their_rows_allows(monkeypatch):
    """Rows of four members fill it, so a program has four lanes; larger ones train alone."""
    members = [Member(number) for number in range(9)]
    alone = [Member(number).alone() for number in range(9)]
    stepped = []
    original = lanes._Program.step
    monkeypatch.setattr(
        lanes._Program, "step", lambda self: (stepped.append(len(self.live)), original(self))
    )
    sizes = [sum(array.nbytes for array in member.arrays.values()) for member in members]
    monkeypatch.setattr(lanes, "HELD_BYTES", sum(sizes[:4]))

    assert together(members) == alone

    assert max(stepped) == 4
    monkeypatch.setattr(lanes, "HELD_BYTES", 1)
    stepped.clear()
    assert together([Member(number) for number in range(9)]) == alone
    assert stepped == []


def test_members_step_together(monkeypatch):
    """One call of the program serves all lanes: nine members need far fewer than their steps."""
    calls = []
    original = lanes._Program.step
    monkeypatch.setattr(
        lanes._Program, "step", lambda self: (calls.append(len(self.live)), original(self))
    )

    together([Member(number, steps=10) for number in range(8)])

    assert calls[0] == 8
    assert len(calls) <= 11


def test_a_run_begins_when_those_before_hold_few_rows(monkeypatch):
    """With room for one run's rows and a little, two are held, and the third begins after them."""
    members, events = [Member(number) for number in range(4)], []
    first = sum(array.nbytes for array in members[0].arrays.values())
    monkeypatch.setattr(lanes, "HELD_BYTES", first + 1)

    def line():
        for member in members:
            events.append("begin")
            yield member.begin()

    for _ in Lanes().train(line()):
        events.append("end")

    held = [events[: n + 1].count("begin") - events[: n + 1].count("end") for n in range(8)]
    assert max(held) == 2


def test_few_models_train_one_after_the_other(monkeypatch):
    """A program of fewer than eight is slower than they are, so none is made."""
    monkeypatch.setattr(lanes, "FEWEST", 8)
    alone = [Member(number).alone() for number in range(7)]
    monkeypatch.setattr(lanes, "_Program", None)

    assert together([Member(number) for number in range(7)]) == alone


@pytest.mark.parametrize("layer", LAYERS)
def test_every_layer_of_the_rule_has_its_bits(layer, capfd):
    """None of the listed kinds is refused by the comparison before the first step."""
    own = {nn.Linear: (7, 7), nn.Flatten: ()}.get(layer, ())
    kind = lambda: layers(layer(*own))  # noqa: E731 - a model's builder
    alone = [Member(number, kind).alone() for number in range(4)]

    assert together([Member(number, kind) for number in range(4)]) == alone
    assert "trains alone" not in capfd.readouterr().err


def test_a_part_leaves_the_same_state(tmp_path):
    """The state that another job goes on from is the same file, and so is what follows."""
    ends = []
    for folder, train in ((tmp_path / "a", together), (tmp_path / "b", None)):
        folder.mkdir()
        left = [folder / f"{number}.safetensors" for number in range(3)]
        first = [Member(n, part=Part(2, None, None, left[n]), steps=9) for n in range(3)]
        train(first) if train else [member.alone() for member in first]
        last = [folder / f"{number}-end.safetensors" for number in range(3)]
        second = [Member(n, part=Part(1, 2, left[n], last[n]), steps=9) for n in range(3)]
        train(second) if train else [member.alone() for member in second]
        ends.append([path.read_bytes() for path in (*left, *last)])

    assert ends[0] == ends[1]


def test_a_member_that_diverges_fails_alone():
    """Its neighbours get their bits, and it names its own step."""
    alone = [Member(number).alone() for number in range(4)]
    members = [Member(number) for number in range(4)]
    spoiled = Member(2)
    for member in (members[2], spoiled):
        member.arrays["x"][50, 0] = np.inf

    found = together(members)

    with pytest.raises(DivergedError) as own:
        spoiled.alone()
    assert str(found[2]) == str(own.value)
    assert [found[n] for n in (0, 1, 3)] == [alone[n] for n in (0, 1, 3)]


def test_a_member_whose_step_raises_fails_alone():
    """A label that is no class is its own mistake, not that of those beside it."""
    alone = [Member(number).alone() for number in range(4)]
    members = [Member(number) for number in range(4)]
    members[1].arrays["y"][:] = 7

    found = together(members)

    assert isinstance(found[1], IndexError)
    assert [found[n] for n in (0, 2, 3)] == [alone[n] for n in (0, 2, 3)]


class _Noisy(nn.Sequential):
    """Draws random numbers, which no layer of the rule does."""

    def __init__(self):
        super().__init__(nn.Linear(5, 7), nn.Linear(7, 3))

    def forward(self, x):
        return super().forward(x + torch.rand(()))


class _Counting(nn.Sequential):
    """Remembers how often it was called."""

    def __init__(self):
        super().__init__(nn.Linear(5, 7), nn.Linear(7, 3))
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x)


@pytest.mark.parametrize("kind", [_Noisy, _Counting])
def test_a_model_that_is_more_than_its_parameters_trains_alone(kind, capfd):
    """It is found out before the first step, one line says so, and it gets its own bits."""
    alone = [Member(number, kind).alone() for number in range(3)]

    assert together([Member(number, kind) for number in range(3)]) == alone
    assert capfd.readouterr().err.count(f"{kind.__name__}: trains alone, not in lanes: ") == 1


def test_a_bit_that_differs_is_found_before_the_first_step(monkeypatch, capfd):
    """Where one lane's product rounds otherwise, models train alone, to the same bits."""
    alone = [Member(number).alone() for number in range(4)]
    original = lanes._Program.differentiate

    def spoiled(self):
        losses = original(self)
        with torch.no_grad():
            self._numbers[1, 2, 3] += 1e-6
        return losses

    monkeypatch.setattr(lanes._Program, "differentiate", spoiled)

    assert together([Member(number) for number in range(4)]) == alone
    assert "MLP" not in (text := capfd.readouterr().err)
    assert "Sequential: trains alone, not in lanes: bits differ" in text


@pytest.mark.parametrize(
    ("kind", "batch_size", "most"),
    [
        (layers, 32, 32),
        (layers, 256, 16),
        (layers, 512, 8),
        (layers, 1024, 1),
        (layers, 50, 1),
        (lambda: layers(nn.BatchNorm1d(7)), 32, 1),
        (lambda: layers(nn.Dropout()), 32, 1),
        (lambda: layers().requires_grad_(False), 32, 1),
        (lambda: MLP(64, 10, 16, 2), 64, 32),
        (lambda: MLP(256, 10, 256, 2), 64, 1),
    ],
)
def test_the_rule_of_lanes(kind, batch_size, most, monkeypatch):
    """Small networks of known layers, in batches that are a multiple of 32 rows."""
    monkeypatch.setattr(lanes, "FEWEST", 8)

    assert most_lanes(trainable(kind(), SETTINGS, CLASSES), batch_size) == most


def test_models_of_different_kinds_never_step_together():
    """Those of another size of batch wait their turn, and all get their bits."""
    wide = lambda: MLP(5, 3, 9, 1)  # noqa: E731 - a model's builder
    kinds = [layers if number % 2 else wide for number in range(6)]
    alone = [Member(number, kind).alone() for number, kind in enumerate(kinds)]
    members = [Member(number, kind) for number, kind in enumerate(kinds)]

    runs = ((str(number % 2), member.begin()[1]) for number, member in enumerate(members))
    for _ in Lanes().train(runs):
        pass

    assert [member.result() for member in members] == alone


def test_seconds_of_a_program_are_shared():
    """The clocks of members that step together count no second twice."""
    since = time.perf_counter()

    runs = list(Lanes().train(Member(number).begin() for number in range(6)))

    assert 0 < sum(run.clock() for run in runs) <= time.perf_counter() - since


def folder_result(folder):
    from shoal.formats.fitted_state import load_state

    tensors = load_state(folder / "out.safetensors")[0]
    ledger = json.loads((folder / "ledger.json").read_text())
    return {n: v.tobytes() for n, v in tensors.items()}, ledger["flops"], ledger["rows_seen"]


KILLS = [[(37, signal.SIGTERM)], [(20, signal.SIGKILL), (9, signal.SIGTERM)]]


@pytest.mark.parametrize("kills", KILLS)
def test_members_that_were_ended_go_on_to_the_same_bits(kills, tmp_path):
    """SIGTERM keeps every lane's state, SIGKILL what was kept before; none is left in the end."""
    undisturbed, ended = tmp_path / "a", tmp_path / "b"
    undisturbed.mkdir()
    ended.mkdir()
    assert run_attempt("lanes", undisturbed, 1e9) == 0

    for step, number in kills:
        assert run_attempt("lanes", ended, 0, (step, number)) in (143, -signal.SIGKILL)
    if kills[-1][1] == signal.SIGTERM:
        assert "goes on after step" not in (ended / "log").read_text() or len(kills) > 1
        assert len(list(ended.glob("*.checkpoint*"))) == 5
    assert run_attempt("lanes", ended) == 0

    assert "goes on after step" in (ended / "log").read_text()
    assert folder_result(ended) == folder_result(undisturbed)
    assert not list(ended.glob("*.checkpoint*"))
