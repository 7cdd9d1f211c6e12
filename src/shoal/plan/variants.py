"""Variants: the points of the grid over how data is processed, over models and their budgets.

A setting of split, transform, encode, embed, cluster or model that takes no list may be one, and
so may the budget of ``train_specialists``: its values are tried one by one. ``{cross: […]}`` says
the same of any setting, also of one that takes a list, and of a whole stage, whose values are then
names of choices or changed settings. The lists of a stage that are written ``{zip: […]}`` advance
together. ``seed`` may be a list too. All other lists combine with each other.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from shoal.errors import SettingsError, nearest
from shoal.formats.hashing import settings_id
from shoal.plan.first_look import settled
from shoal.plan.ways import check_values, refuse_ways, ways_of
from shoal.settings import Settings, parse
from shoal.settings.compose import composed, resolved
from shoal.settings.config_files import BUDGET, STAGES, VARYING
from shoal.settings.sampling import distinct, index
from shoal.settings.search import Search

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from omegaconf import DictConfig

    from shoal.plan.ways import Way

CHOICE = "variant="
_SEARCH = "search.variants"


@dataclass(frozen=True)
class Variant:
    """One point of the grid.

    Attributes:
        changes: What tells it from the others: settings by name, in the order of the stages.
        settings: All of its settings.
        among: How many points the grid has.
        found: Why the settings have values that stand as ``auto`` in the experiment, by name.
    """

    changes: dict[str, Any]
    settings: Settings
    among: int
    found: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def id(self) -> str:
        """A hash of how it processes data, its model, budget and seed, whatever else there is."""
        stages = [getattr(self.settings, stage).as_json() for stage in STAGES]
        budget = [getattr(self.settings.train_specialists, name) for name in BUDGET]
        return settings_id(self.settings.seed, *stages, budget)

    @cached_property
    def question(self) -> str:
        """See :func:`question_of`."""
        return question_of(self.settings.as_json())


def question_of(settings: Mapping[str, Any]) -> str:
    """A hash of seed and split: variants that agree in them answer for the same unseen rows.

    Args:
        settings: All settings of a variant, as JSON.
    """
    return settings_id(settings["seed"], settings["split"])


def variants(config: Path, experiment: str, overrides: list[str]) -> list[Variant]:
    """Every variant of an experiment, or a sample; one where no setting is a list.

    Args:
        config: The folder of Hydra config groups.
        experiment: Name of a file in ``config/experiment``.
        overrides: Changes in Hydra's syntax; ``variant=ID`` among them takes that variant alone.

    Raises:
        SettingsError: The settings do not compose, a value is wrong, a list is empty or holds a
            value twice, or lists that advance together have different lengths.
    """
    chosen = [each.removeprefix(CHOICE) for each in overrides if each.startswith(CHOICE)]
    found = _all(config, experiment, [each for each in overrides if not each.startswith(CHOICE)])
    if not chosen:
        return found
    known = {variant.id: variant for variant in found}
    for name in chosen:
        if name not in known:
            raise SettingsError(f"variant {name!r} is unknown; {nearest(name, known)}")
    return [known[name] for name in dict.fromkeys(chosen)]


def only_variant(config: Path, experiment: str, overrides: list[str]) -> Variant:
    """The variant of an experiment that has one.

    Raises:
        SettingsError: It has several, or see :func:`variants`.
    """
    found = variants(config, experiment, overrides)
    refuse_several(experiment, len(found))
    return found[0]


def refuse_several(experiment: str, count: int) -> None:
    """Refuse an experiment of several variants where one is asked for.

    Raises:
        SettingsError: It has several; the message says how to choose.
    """
    if count > 1:
        raise SettingsError(
            f"experiment {experiment!r} has {count} variants; `shoal variants {experiment}` "
            f"lists them, {CHOICE}ID among the overrides takes one"
        )


class _Seeded(NamedTuple):
    """The settings for one seed, every way in which each stage may be set, and what was found."""

    seed: dict[str, Any]
    content: dict[str, Any]
    ways: list[list[Way]]
    found: dict[str, str]

    @property
    def combinations(self) -> int:
        return math.prod(map(len, self.ways))


def _all(config: Path, experiment: str, overrides: list[str]) -> list[Variant]:
    seeded = _seeded(config, experiment, overrides)
    among = sum(each.combinations for each in seeded)
    found: dict[str, Variant] = {}
    taken = list(_taken(seeded, among))
    flops = _share(seeded[0].content, len(taken))
    for number, chosen in taken:
        seed, content, ways, reasons = seeded[number]
        combination = [own[n] for own, n in zip(ways, chosen, strict=True)]
        stages = {s: way.content for s, way in zip(VARYING, combination, strict=True)}
        if flops:
            stages["train_specialists"] = stages["train_specialists"] | flops
        changes = {name: value for way in combination for name, value in way.changes.items()}
        variant = Variant(seed | changes, parse(Settings, content | stages, ""), among, reasons)
        if variant.id in found:
            raise SettingsError(
                f"two variants are the same, {_said(found[variant.id].changes)} and "
                f"{_said(variant.changes)}: a list holds a value twice"
            )
        found[variant.id] = variant
    return list(found.values())


def _share(content: Mapping[str, Any], variants: int) -> dict[str, float]:
    """The budget of each variant's training, where all have one together.

    Raises:
        SettingsError: There is another budget besides.
    """
    search: Search = parse(Search, content.get("search"), "search")
    flops = search.budget.each(variants)
    if flops is None:
        return {}
    own = content.get("train_specialists")
    for name in ("flops", "epochs"):
        if isinstance(own, dict) and own.get(name) is not None:
            raise SettingsError(
                f"search.budget: train_specialists.{name} is given too, {own[name]!r}; set one of "
                f"them null"
            )
    return {"flops": flops}


def _taken(seeded: Sequence[_Seeded], among: int) -> Iterable[tuple[int, tuple[int, ...]]]:
    """Which combinations are taken, in order: number of the seed, of each stage's way."""
    search: Search = parse(Search, seeded[0].content.get("search"), "search")
    sampling = search.variants
    if sampling.samples is None or sampling.samples >= among:
        return (
            (number, combination)
            for number, each in enumerate(seeded)
            for combination in itertools.product(*(range(len(own)) for own in each.ways))
        )
    widths = [
        max(len(way.place) for each in seeded for way in each.ways[stage])
        for stage in range(len(VARYING))
    ]

    def place(unit: NDArray[Any]) -> tuple[int, tuple[int, ...]]:
        number, rest = index(unit[0], len(seeded)), unit[1:].tolist()
        numbers = []
        for ways, width in zip(seeded[number].ways, widths, strict=True):
            numbers.append(_way_at(ways, rest[:width]))
            rest = rest[width:]
        return number, tuple(numbers)

    return sorted(distinct(sampling, 1 + sum(widths), place, _SEARCH))


def _way_at(ways: Sequence[Way], unit: Sequence[float]) -> int:
    """Number of the way at a place of the unit cube, one coordinate for each list."""
    left = list(range(len(ways)))
    for depth, coordinate in enumerate(unit):
        if len(left) == 1:
            break
        wanted = index(coordinate, ways[left[0]].place[depth][1])
        left = [number for number in left if ways[number].place[depth][0] == wanted]
    return left[0]


def _seeded(config: Path, experiment: str, overrides: list[str]) -> list[_Seeded]:
    """The settings for each seed, which stages refer to."""

    @cache
    def chosen(stage: str, name: str) -> DictConfig:
        others = [each for each in overrides if not each.startswith(f"{stage}=")]
        return composed(config, experiment, [*others, f"{stage}={name}"])

    whole = composed(config, experiment, overrides)
    seeds = resolved(whole)["seed"]
    if isinstance(seeds, dict) and set(seeds) == {"cross"}:
        seeds = seeds["cross"]
    alternatives: list[dict[str, Any]] = [{}]
    if isinstance(seeds, list):
        check_values("seed", seeds)
        alternatives = [{"seed": seed} for seed in seeds]
    found = []
    for seed in alternatives:

        def choice(stage: str, name: str, seed: Mapping[str, Any] = seed) -> Any:  # noqa: ANN401
            return resolved(chosen(stage, name), **seed)[stage]

        own, reasons = settled(resolved(whole, **seed))
        refuse_ways(own)
        try:
            ways = [ways_of(stage, own.get(stage), choice) for stage in VARYING]
        except RecursionError:
            raise SettingsError("a choice of a stage has itself among its alternatives") from None
        found.append(_Seeded(seed, own, ways, reasons))
    return found


def _said(changes: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in changes.items()) or "as it is"
