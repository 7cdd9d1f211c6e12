"""Grid points that one of Optuna's samplers proposes, by what others have lost.

Source:
    Bergstra et al. 2011, Algorithms for Hyper-Parameter Optimization (TPE); Akiba et al. 2019,
    Optuna.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from shoal.formats.hashing import canonical_json, settings_id
from shoal.search.space import drawn, in_range
from shoal.settings.search import Range, space_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler

    from shoal.formats.documents.choice import Point
    from shoal.search.space import Space
    from shoal.search.steps import Tried
    from shoal.settings.search import GridSampling

_TRIES = 20
"""Proposals of points that were tried already, before the next drawn one is taken."""


def propose(space: Space, sampling: GridSampling, told: Sequence[Tried]) -> list[Point]:
    """The points of the next batch, none of which was tried: a function of the arguments alone.

    As long as no loss is known, the next ones that would be drawn. A point that diverged counts as
    the worst. The last batch may train fewer of them.

    Args:
        space: Values or ranges by name.
        sampling: Sampler, seed, points of a batch.
        told: The points of all batches before, in order.
    """
    tried = {settings_id(each.point) for each in told}
    count = int(min(sampling.batch, space_size(space) - len(tried)))
    known = any(each.loss is not None for each in told)
    asked = _asked(space, sampling, told) if known else iter(())
    found: dict[str, Point] = {}
    for point in itertools.islice(asked, _TRIES * count):
        identity = settings_id(point)
        if identity not in tried:
            found[identity] = point
        if len(found) == count:
            break
    others = drawn(space, sampling.drawn(len(tried) + count))
    for point in others if len(found) < count else ():
        if len(found) < count and settings_id(point) not in tried:
            found.setdefault(settings_id(point), point)
    return list(found.values())


def _asked(space: Space, sampling: GridSampling, told: Sequence[Tried]) -> Iterator[Point]:
    """Points as the sampler gives them; it takes those whose loss is not known for poor."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {name: _distribution(values) for name, values in space.items()}
    study = optuna.create_study(sampler=_sampler(sampling, len(told)))
    worst = max(each.loss for each in told if each.loss is not None)
    for each in told:
        if each.loss is not None or each.diverged is not None:
            value = worst if each.loss is None else each.loss
            params = {name: _place(space[name], v) for name, v in each.point.items()}
            study.add_trial(
                optuna.trial.create_trial(params=params, distributions=distributions, value=value)
            )
    while True:
        params = study.ask(distributions).params
        yield {name: _value(space[name], params[name]) for name in space}


def _sampler(sampling: GridSampling, number: int) -> BaseSampler:
    """The sampler of a batch; each has a seed of its own."""
    import warnings

    from optuna.samplers import GPSampler, TPESampler

    seed = int(settings_id(sampling.seed, number)[:8], 16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some of what we use is called experimental
        if sampling.sampler == "tpe":
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
