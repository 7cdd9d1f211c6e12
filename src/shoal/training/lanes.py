"""Many small models in one program, each with the bits that it has alone.

Kernels for one small model spend most of their time being called. Here a call serves as many
models as there are lanes: parameters lie in one matrix ``(lanes, size)``, ``vmap`` batches the
forward and backward pass over lanes, and the optimiser takes a row for each.

A model's bits depend neither on its lane, nor its neighbours, nor the number of lanes, and are
those of :mod:`shoal.training.lean`, because

- torch's kernels round alike at every place (:mod:`shoal.training.determinism`), on one thread;
- a batch has a multiple of 32 rows, so that no element-wise kernel leaves a tail to code that
  rounds otherwise;
- each parameter begins at a multiple of 64 bytes, in a lane as alone;
- the layers are of kinds whose batched formulas are those of one model (:data:`LAYERS`).

A program is proven before it steps: each lane's loss, gradient, moments and parameters after a step
are compared with those that its model has alone. Where a bit differs its models train alone, and
the log says so. So lanes never change a result, and are no part of an identity.
"""

from __future__ import annotations

import copy
import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from shoal.terminal import say
from shoal.training.adam import adamw_
from shoal.training.keep import SAVE, end
from shoal.training.lane_limits import FEWEST, HELD_BYTES, MOST
from shoal.training.lean import views
from shoal.training.processes import set_random_state

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Sequence

    from shoal.training.lean import LeanRun
    from shoal.training.loop import Begun
    from shoal.training.module import Supervised

LAYERS = (
    nn.Linear,
    nn.Flatten,
    nn.Identity,
    nn.ReLU,
    nn.LeakyReLU,
    nn.ELU,
    nn.GELU,
    nn.SiLU,
    nn.Tanh,
    nn.Sigmoid,
)
"""Layers whose formulas for many models have the bits of those for one."""

TILE = 32
"""Rows of a batch are a multiple of it; kernels for AVX-512 take as many numbers at a time."""

_LARGEST = 16_384
_ROWS = 4096
_HELD = 64


def side_by_side(
    trainings: Iterable[tuple[Hashable, Begun]],
) -> Iterator[tuple[Begun, Exception | None]]:
    """Do the steps of trainings, those of small models in lanes.

    Args:
        trainings: What each is, see :meth:`Lanes.train`, and the training, begun when it is taken.

    Yields:
        Each when it is over, not necessarily in order, and why it ended early, if it did.

    Raises:
        SystemExit: SIGTERM has told the process to end, see :meth:`Lanes.train`.
    """
    begun: dict[LeanRun, Begun] = {}
    over: list[tuple[Begun, Exception | None]] = []

    def line() -> Iterator[tuple[Hashable, LeanRun]]:
        for kind, training in trainings:
            if training.lean is None:
                over.append((training, _ended_by(training.run)))
            else:
                begun[training.lean] = training
                yield (kind, training.lean.batch_size), training.lean

    for run in Lanes().train(line()):
        yield begun.pop(run), run.failure
        while over:
            yield over.pop(0)
    yield from over


def _ended_by(work: Callable[[], None]) -> Exception | None:
    """The exception of some work; None where it ends well."""
    try:
        work()
    except Exception as error:  # the training's own, whatever it is
        return error
    return None


def most_lanes(module: Supervised, batch_size: int) -> int:
    """How many models of this kind train side by side at most; 1 is alone.

    The rule, measured by ``benchmarks/speed_training.py``: networks of :data:`LAYERS` with at most
    16,384 parameters, all trained, whose batches have a multiple of 32 rows and at most 512, on one
    CPU thread; 32 lanes, or fewer so that together they take at most 4,096 rows per step. Large
    partitions may leave room for fewer, see :data:`shoal.training.lane_limits.HELD_BYTES`.
    """
    leaves = [part for part in module.model.modules() if not any(part.children())]
    parameters = list(module.parameters())
    fits = (
        not torch.cuda.is_available()
        and torch.get_num_threads() == 1
        and batch_size % TILE == 0
        and all(type(leaf) in LAYERS for leaf in leaves)
        and all(p.requires_grad for p in parameters)
        and not any(True for _ in module.buffers())
        and sum(p.numel() for p in parameters) <= _LARGEST
        and FEWEST * batch_size <= _ROWS
    )
    return min(MOST, _ROWS // batch_size) if fits else 1


class _Program:
    """Some models of one architecture that step together."""

    def __init__(self, runs: Sequence[LeanRun]) -> None:
        """Give each training a lane."""
        lanes, first = len(runs), runs[0]
        self.runs: list[LeanRun | None] = list(runs)
        self._skeleton = copy.deepcopy(first.module).to("meta")
        shapes = [p.shape for p in first.row.parameters]
        self._numbers = torch.zeros(4, lanes, first.row.numbers.shape[1])
        self._rows = [list(rows.unbind(0)) for rows in self._numbers]
        self._counts = [torch.zeros(()) for _ in range(lanes)]
        self._gradients = views(self._numbers[1], shapes)
        self._names = [name for name, _ in first.module.named_parameters()]
        self._values = [value.requires_grad_() for value in views(self._numbers[0], shapes)]
        self._losses = torch.func.vmap(self._loss, randomness="error")
        for lane, run in enumerate(runs):
            self.put(lane, run)

    def _loss(self, values: list[torch.Tensor], *batch: torch.Tensor) -> Any:  # noqa: ANN401
        named = dict(zip(self._names, values, strict=True))
        return torch.func.functional_call(self._skeleton, named, batch)

    def put(self, lane: int, run: LeanRun) -> None:
        """Give a lane to a training."""
        self.runs[lane] = run
        with torch.no_grad():
            self._numbers[:, lane] = run.row.numbers
        self._counts[lane].copy_(run.row.count)
        run.fetch = lambda: self._fetch(lane, run)

    def _fetch(self, lane: int, run: LeanRun) -> None:
        run.row.numbers.copy_(self._numbers[:, lane])
        run.row.count.copy_(self._counts[lane])

    def take(self, lane: int) -> LeanRun:
        """Take a training out of its lane."""
        run = self.runs[lane]
        if run is None:
            raise ValueError(f"lane {lane} is empty")
        self._fetch(lane, run)
        run.fetch = self.runs[lane] = None
        return run

    @property
    def live(self) -> list[tuple[int, LeanRun]]:
        """Lanes that are taken, and their trainings."""
        return [(lane, run) for lane, run in enumerate(self.runs) if run is not None]

    def differentiate(self) -> torch.Tensor:
        """Losses of the next step, ``(lanes,)``; the gradients are kept."""
        ahead = [run.ahead if run else None for run in self.runs]
        spare = next(batch for batch in ahead if batch is not None)
        filled = [spare if batch is None else batch for batch in ahead]
        stacked = [torch.stack(parts) for parts in zip(*filled, strict=True)]
        losses: torch.Tensor = self._losses(self._values, *stacked)
        # Each lane's gradient is that of its own loss.
        ones = torch.ones_like(losses)
        found = torch.autograd.grad(losses, self._values, ones, materialize_grads=True)
        torch._foreach_copy_(self._gradients, list(found))
        return losses.detach()

    def step(self) -> None:
        """Change the parameters by one step; lanes of equal rates share a call."""
        rates: dict[tuple[float, float, float], list[int]] = {}
        for lane, run in self.live:
            rates.setdefault(run.rates, []).append(lane)
        for own, lanes in rates.items():
            values, gradients, means, squares = (
                [rows[lane] for lane in lanes] for rows in self._rows
            )
            counts = [self._counts[lane] for lane in lanes]
            adamw_(values, gradients, means, squares, counts, *own)

    def unlike_alone(self) -> str | None:
        """Do one step in all lanes and alone, and put things back; why they differ, or None."""
        before = _attributes(self._skeleton)
        kept = self._numbers.detach().clone(), [count.clone() for count in self._counts]
        try:
            losses = self.differentiate()
            self.step()
            found = self._numbers.detach().clone()
        except Exception as error:  # whatever a user's module does that has no batched formula
            return f"{type(error).__name__}: {error}".splitlines()[0]
        finally:
            with torch.no_grad():
                self._numbers.copy_(kept[0])
            for count, was in zip(self._counts, kept[1], strict=True):
                count.copy_(was)
        if _attributes(self._skeleton) != before:
            return "a step changes its attributes"
        for lane, run in self.live:
            own = run.row.numbers.clone(), run.row.count.clone()
            loss = run.step(run.ahead) if run.ahead else None
            same = loss == float(losses[lane]) and torch.equal(run.row.numbers, found[:, lane])
            run.row.numbers.copy_(own[0])
            run.row.count.copy_(own[1])
            if not same:
                return "bits differ from those of a model alone"
        return None


def _held(runs: Iterable[LeanRun]) -> int:
    """Bytes that trainings hold."""
    return sum(run.held for run in runs)


def _attributes(module: nn.Module) -> list[dict[str, object]]:
    """Attributes of the modules beside parameters, buffers and parts."""
    torchs = vars(nn.Module())
    return [
        {name: repr(value) for name, value in vars(part).items() if name not in torchs}
        for part in module.modules()
    ]


class Lanes:
    """Trains runs, as many side by side as :func:`most_lanes` says, and one after the other.

    Runs are taken when a lane is free, so hardly more of them are held than there are lanes, and no
    further one begins where those that have begun hold :data:`HELD_BYTES`.
    """

    def __init__(self) -> None:
        self._line: Iterator[tuple[Hashable, LeanRun]] = iter(())
        self._waiting: list[tuple[Hashable, LeanRun]] = []
        self._told = False
        self._stepping = False

    def train(self, runs: Iterator[tuple[Hashable, LeanRun]]) -> Iterator[LeanRun]:
        """Do all steps of trainings.

        Args:
            runs: The trainings and what they are; those of one kind are of one architecture, loss
                and size of batch, and those of different kinds never step together.

        Yields:
            Each when it is over; its ``failure`` says why it ended early, if it did.

        Raises:
            SystemExit: SIGTERM has told the process to end; the state of all that have begun was
                saved, where their jobs keep checkpoints.
        """
        self._line = runs
        with self._listening():
            while (first := self._next()) is not None:
                self._waiting.insert(0, first)
                yield from self._all_of(first[0], most_lanes(first[1].module, first[1].batch_size))

    def _next(self, kind: Hashable = None) -> tuple[Hashable, LeanRun] | None:
        """The next training, or the next of a kind; others are held back, some at most."""
        for place, waiting in enumerate(self._waiting):
            if kind in (None, waiting[0]):
                return self._waiting.pop(place)
        while len(self._waiting) < _HELD and _held(run for _, run in self._waiting) < HELD_BYTES:
            new = next(self._line, None)
            if new is None or kind in (None, new[0]):
                return new
            self._waiting.append(new)
        return None

    def _ready(self, kind: Hashable) -> Generator[LeanRun, None, LeanRun | None]:
        """The next training of a kind that has steps left; those that have none are yielded."""
        while (new := self._next(kind)) is not None:
            if new[1].next() is not None:
                return new[1]
            yield self._ended(new[1])
        return None

    def _all_of(self, kind: Hashable, most: int) -> Iterator[LeanRun]:
        """Train all runs of a kind that are next in line."""
        while True:
            ready: list[LeanRun] = []
            while len(ready) < most and _held(ready) < HELD_BYTES:
                if (run := (yield from self._ready(kind))) is None:
                    break
                ready.append(run)
            if not ready:
                return
            if len(ready) < FEWEST:
                yield from self._one_by_one(kind, ready)
                continue
            program = _Program(ready)
            reason = program.unlike_alone()
            fits = reason is None
            if fits:
                fits = yield from self._together(program, kind)
            else:
                most = 1
                name = type(ready[0].module.model).__name__
                say(f"{name}: trains alone, not in lanes: {reason}")
            left = [program.take(lane) for lane, _ in program.live]
            if fits:
                self._hold(kind, left)
            else:
                yield from self._one_by_one(kind, left)

    def _one_by_one(self, kind: Hashable, runs: Sequence[LeanRun]) -> Iterator[LeanRun]:
        self._hold(kind, runs)
        for _ in runs:
            yield self._by_itself(self._waiting.pop(0)[1])

    def _hold(self, kind: Hashable, runs: Sequence[LeanRun]) -> None:
        self._waiting = [*((kind, run) for run in runs), *self._waiting]

    def _together(self, program: _Program, kind: Hashable) -> Generator[LeanRun, None, bool]:
        """Step until half of the lanes are empty; False where a step fails."""
        since = time.perf_counter()
        self._stepping = True
        while True:
            for lane, run in program.live:
                if run.next() is None:
                    yield self._ended(program.take(lane))
                    new = yield from self._ready(kind)
                    if new is not None:
                        program.put(lane, new)
                    since = time.perf_counter()
            live = program.live
            if 2 * len(live) <= len(program.runs):
                self._stepping = False
                return True
            self._keep([run for _, run in live])
            try:
                losses = program.differentiate().tolist()
            except Exception:  # alone, the training to blame says what it is
                self._stepping = False
                return False
            program.step()
            for lane, run in live:
                try:
                    run.add(losses[lane])
                except Exception as error:  # its own, whatever it is
                    run.failure = error
            now = time.perf_counter()
            for _, run in live:
                run.seconds += (now - since) / len(live)
            since = now

    def _keep(self, runs: Sequence[LeanRun]) -> None:
        """Save what is due; if told to end, save all that has begun and end."""
        for run in runs:
            run.keep.act(SAVE if self._told else min(SAVE, run.keep.wish()), run.save)
        if self._told:
            self._save_waiting()
            end()

    def _save_waiting(self) -> None:
        for _, run in self._waiting:
            run.keep.act(SAVE if run.done else 0, run.save)

    def _by_itself(self, run: LeanRun) -> LeanRun:
        """Do all that is left of a training."""
        run.since = time.perf_counter()
        set_random_state(run.random)
        try:
            run.steps()
        except SystemExit:
            self._save_waiting()
            raise
        except Exception as error:  # its own, whatever it is
            run.failure = error
        run.seconds, run.since = run.clock(), None
        return run

    def _ended(self, run: LeanRun) -> LeanRun:
        set_random_state(run.random)
        if run.failure is None:
            run.finish()
        return run

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """End the process at SIGTERM; where a program steps, before its next step."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def tell(*_: object) -> None:
            self._told = True
            if not self._stepping:
                end()

        before = signal.signal(signal.SIGTERM, tell)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)
