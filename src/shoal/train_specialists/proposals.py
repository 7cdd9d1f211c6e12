"""Grid points that one of Optuna's samplers proposes, and command ``train-propose``.

Source:
    Bergstra et al. 2011, Algorithms for Hyper-Parameter Optimization (TPE); Akiba et al. 2019,
    Optuna.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from shoal.formats.hashing import canonical_json, settings_id
from shoal.formats.json_file import parse_json
from shoal.formats.ledger import Ledger
from shoal.search.space import drawn, in_range
from shoal.settings.search import GridSampling, Range, space_size
from shoal.settings.section import parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler

    from shoal.search.points import Point
    from shoal.search.space import Space
    from shoal.settings.learning import Model

_TRIES = 20
"""Proposals of points that are there already, before the next drawn one is taken."""


@dataclass(frozen=True)
class Told:
    """What is known of a point that was tried.

    Attributes:
        point: Its values.
        loss: What it lost; None where it diverged, or where there are no rows to tell.
        diverged: Why it was trained no further; None where it was.
    """

    point: Point
    loss: float | None
    diverged: str | None


@dataclass(frozen=True)
class Proposer:
    """Proposes the points of a space batch by batch, a function of what it is told alone.

    Attributes:
        space: Values or ranges by name.
        sampling: Sampler, seed, points of a batch.
    """

    space: Space
    sampling: GridSampling

    @classmethod
    def from_text(cls, text: str) -> Self:
        """From the JSON text that a rule passes to its command."""
        content = parse_json(text, "proposer", dict[str, Any])
        space = {
            name: parse(Range, values, name) if isinstance(values, dict) else values
            for name, values in content["space"]
        }
        return cls(space, parse(GridSampling, content["sampling"], "search.grid"))

    @property
    def batches(self) -> tuple[int, ...]:
        """How many points each batch trains."""
        return self.sampling.batches(space_size(self.space))

    def propose(self, told: Sequence[Told]) -> list[Point]:
        """The points of the next batch, none of which was tried.

        As long as nothing is known of any, the next ones that are drawn. A point that diverged
        counts as the worst. The last batch may train fewer of them.

        Args:
            told: The points of all batches before, in order.
        """
        tried = {settings_id(each.point) for each in told}
        count = int(min(self.sampling.batch, space_size(self.space) - len(tried)))
        asked = self._asked(told) if any(each.loss is not None for each in told) else iter(())
        found: dict[str, Point] = {}
        for point in itertools.islice(asked, _TRIES * count):
            identity = settings_id(point)
            if identity not in tried:
                found[identity] = point
            if len(found) == count:
                break
        others = drawn(self.space, self.sampling.drawn(len(tried) + count))
        for point in others if len(found) < count else ():
            if len(found) < count and settings_id(point) not in tried:
                found.setdefault(settings_id(point), point)
        return list(found.values())

    def _asked(self, told: Sequence[Told]) -> Iterator[Point]:
        """Points as the sampler gives them; it takes those whose loss is not known for poor."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        space = {name: _distribution(values) for name, values in self.space.items()}
        study = optuna.create_study(sampler=self._sampler(len(told)))
        worst = max(each.loss for each in told if each.loss is not None)
        for each in told:
            if each.loss is not None or each.diverged is not None:
                value = worst if each.loss is None else each.loss
                params = {name: _place(self.space[name], v) for name, v in each.point.items()}
                trial = optuna.trial.create_trial(params=params, distributions=space, value=value)
                study.add_trial(trial)
        while True:
            params = study.ask(space).params
            yield {name: _value(self.space[name], params[name]) for name in self.space}

    def _sampler(self, number: int) -> BaseSampler:
        """The sampler for a batch; each gets a seed of its own."""
        import warnings

        from optuna.samplers import GPSampler, TPESampler

        seed = int(settings_id(self.sampling.seed, number)[:8], 16)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some of what we use is called experimental
            if self.sampling.sampler == "tpe":
                return TPESampler(seed=seed, n_startup_trials=0, multivariate=True)
            return GPSampler(seed=seed, n_startup_trials=0)


def _distribution(values: list[Any] | Range) -> BaseDistribution:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if isinstance(values, list):
        return CategoricalDistribution(range(len(values)))
    if values.is_whole:
        return IntDistribution(int(values.low), int(values.high), log=values.log)
    return FloatDistribution(values.low, values.high, log=values.log)


def _place(values: list[Any] | Range, value: Any) -> Any:  # noqa: ANN401 - a setting's
    """A value as the sampler knows it: of a list, its place there."""
    if isinstance(values, Range):
        return value
    return [canonical_json(each) for each in values].index(canonical_json(value))


def _value(values: list[Any] | Range, place: Any) -> Any:  # noqa: ANN401 - the same
    return in_range(values, place) if isinstance(values, Range) else values[place]


def proposed(slot: str, proposals: Path) -> Point:
    """The point of a slot of a later batch.

    Args:
        slot: The slot's name, which ends in its number.
        proposals: What followed the batch before.
    """
    from shoal.formats.documents.choice import Proposals
    from shoal.formats.json_file import read_made

    point: Point = read_made(proposals, Proposals)["points"][int(slot.rpartition("-")[2])]
    return point


def train_propose(
    model: Model,
    proposer: Proposer,
    before: Sequence[Path],
    index_path: Path,
    digests: tuple[str, str],
    base_path: Path,
    shapes_path: Path,
    specialists: Sequence[Path],
    out: Path,
) -> None:
    """Propose a partition's next batch, by losses on the half of validation that chooses points.

    Args:
        model: The user's model.
        proposer: How.
        before: The proposals before, which hold what was known then; none before the first.
        index_path: The partition index.
        digests: Of the partition's training and validation rows.
        base_path: The base.
        shapes_path: Shape of rows and labels.
        specialists: Weights of the trials of the last batch, in order.
        out: The proposals.
    """
    from shoal.formats.documents.choice import Proposals
    from shoal.formats.json_file import read_made
    from shoal.train_specialists.choice import measure, write_measured

    ledger = Ledger("train_propose")
    measured = measure(model, index_path, digests, base_path, shapes_path, specialists, ledger)
    known = [each for path in before for each in read_made(path, Proposals)["told"]]
    by_path = {each.path: each for each in measured.candidates}
    for each in (by_path[path] for path in specialists):
        known.append({"point": each.point, "loss": each.loss, "diverged": each.diverged})
    content = {
        "told": known,
        "points": proposer.propose([Told(**each) for each in known]),
    }
    write_measured(out, measured, digests, content, ledger)
