"""Identities of an experiment's stages: hashes over settings, code and what is upstream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shoal.formats.hashing import settings_id
from shoal.plan.code import code_digest
from shoal.plan.slots import decided
from shoal.plan.stages import AFTER_INDEX, STAGES
from shoal.search.steps import Steps

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from shoal.plan.stages import Stage
    from shoal.settings import Section, Settings
    from shoal.settings.learning import Model, Training

FIT_MODULES = {each.identity: each.code for each in STAGES.values() if each.frozen and each.code}
"""Module of the command that fits each stage's part of a generation."""

PROBING_MODULE = "cluster.probe_command"
"""Module of the command that fits an assigner which trains probes."""

APPLY_MODULES = {
    each.identity: each.code
    for each in STAGES.values()
    if each.code and not each.frozen and each.place != "experiment"
}
"""Module of the command that applies each stage, or makes what is no part of a generation."""

_WITH_MODEL = (
    "base",
    "mixes",
    *dict.fromkeys(each.identity for each in AFTER_INDEX if each.per != "variants"),
)


def fit_ids(settings: Settings, points: Iterable[str]) -> dict[str, str]:
    """Identity of each fit: its settings and those of everything upstream, without code.

    Args:
        settings: The experiment's settings.
        points: Ids of its grid points.
    """
    columns = settings.sources.as_json()
    del columns["folder"], columns["files"], columns["batch_rows"]
    # Folds of these methods are fitted with units since; those without are of another id.
    units = ["units"] if settings.split.method in ("similarity", "time") else []
    ids = {"split": settings_id(columns, *_json(settings.split), *units)}
    ids["transform"] = settings_id(ids["split"], *_json(settings.transform))
    compute = settings.compute.as_json()
    del compute["checkpoint_seconds"], compute["memory"]
    ids["encode"] = settings_id(ids["transform"], *_json(settings.encode), compute)
    ids["embed"] = settings_id(ids["encode"], *_json(settings.embed))
    ids["base"] = settings_id(ids["encode"], *_json(settings.model, settings.train_specialists))
    probed = [ids["base"]] if settings.cluster.trains_probes else []
    ids["cluster"] = settings_id(ids["embed"], *_json(settings.cluster), *probed)
    steps, first = Steps.of(settings), sorted(points)
    pool = [ids["cluster"], ids["base"], first, steps.identity, steps.slots(len(first))]
    ids["baselines"] = settings_id(*pool, *_json(settings.train_router), settings.evaluate.seed)
    return ids


def made_ids(
    settings: Settings,
    fits: Mapping[str, str],
    codes: Mapping[str, str],
    shards: Iterable[str],
    points: Iterable[str],
    grown: Sequence[str] = (),
) -> dict[str, str]:
    """Identity of what applies the fits: their ids, the code, and everything upstream.

    Args:
        settings: The experiment's settings.
        fits: What :func:`fit_ids` gave.
        codes: What :func:`apply_codes` gave.
        shards: Names of the shards.
        points: Ids of the grid points.
        grown: Growths of the assigner. They are no part of a specialist's identity, so that those
            of partitions with the same rows stay.
    """
    made: dict[str, str] = {}
    upstream, last = "", grown[-1:]
    for stage in ("split", "transform", "encode"):
        upstream = made[stage] = settings_id(upstream, fits[stage], codes[stage])
    made["cluster"] = settings_id(upstream, fits["cluster"], codes["cluster"], *last)
    # Trainings that stop early make a specialist's rows others, and so the index.
    stops_early = settings.train_specialists.patience is not None
    made["index"] = settings_id(made["cluster"], stops_early)
    made["content"] = settings_id(fits["encode"], codes["transform"], codes["encode"])
    made["check"] = settings_id(made["split"], sorted(shards), settings.cluster.route_by)
    steps, first = Steps.of(settings), tuple(sorted(points))
    made["specialists"] = settings_id(fits["cluster"], fits["base"], codes["specialists"])
    if steps.drops:
        made["specialists"] = settings_id(made["specialists"], steps.divisors(0))
    made["search"] = settings_id(codes["choices"], steps.identity)
    made["mixes"] = ""
    if settings.continuing.method == "auto":
        made["mixes"] = settings_id(fits["baselines"], made["specialists"], codes["mixes"])
    made["chosen"] = ""  # a choice among variants is no matter of one of them
    later = (tuple(map(str, range(count))) for count in steps.slots(len(first))[1:])
    made["choices"] = decided(made["specialists"], made["search"], (first, *later), is_last=True)
    for each in AFTER_INDEX:
        if not each.frozen and each.place == "generation" and each.identity not in made:
            awaited = [up for up in _awaited(each) if up.per != "growth"]
            before = [(fits if up.frozen else made)[up.identity] for up in awaited]
            own = _sections(settings, each)
            of_growth = last if _takes_the_assigner(each) else ()
            made[each.identity] = settings_id(before, own, codes[each.identity], *of_growth)
    return made


def growth_id(
    fits: Mapping[str, str], grown: Sequence[str], code: str, shards: Iterable[str]
) -> str:
    """Identity of a growth: the assigner before, the code, and the rows that are looked at.

    Args:
        fits: What :func:`fit_ids` gave.
        grown: Growths before it.
        code: Digest of the code behind it.
        shards: Names of the shards.
    """
    return settings_id(fits["cluster"], list(grown), code, sorted(shards))


def _takes_the_assigner(stage: Stage) -> bool:
    return any(origin.or_grown for each in stage.inputs.values() for origin in each.origins)


def _awaited(stage: Stage) -> list[Stage]:
    """The stages that a stage waits for."""
    inputs = (each for each in stage.inputs.values() if each.awaited)
    names = dict.fromkeys(origin.stage for each in inputs for origin in each.origins)
    return [STAGES[name] for name in names]


def _sections(settings: Settings, stage: Stage) -> dict[str, Any]:
    """Settings that a stage reads, as far as they change its outputs."""
    names = [name for name in stage.settings if name not in ("compute", "changes")]
    found = {name: getattr(settings, name).as_json() for name in names}
    if "changes" in stage.settings:
        found["changes"] = settings.changes.drift.as_json()
    if any(each.identity == "baselines" for each in _awaited(stage)):
        found["baselines"] = settings.changes.baselines
    return found


def apply_codes(settings: Settings) -> dict[str, str]:
    """Digest of the code behind each stage that is no fit."""
    return _codes(settings, APPLY_MODULES)


def fit_codes(settings: Settings) -> dict[str, str]:
    """Digest of the code behind each fit."""
    if settings.cluster.trains_probes:
        modules = FIT_MODULES | {"cluster": PROBING_MODULE}
        return _codes(settings, modules, (*_WITH_MODEL, "cluster"))
    return _codes(settings, FIT_MODULES)


def specialists_code(model: Model, training: Training) -> str:
    """Digest of the code by which specialists of the user's model are trained."""
    targets = [model.target, *training.targets]
    return code_digest(APPLY_MODULES["specialists"], targets, model.files)


def _codes(
    settings: Settings, modules: Mapping[str, str], with_model: Sequence[str] = _WITH_MODEL
) -> dict[str, str]:
    model, own = settings.model, [settings.model.target, *settings.train_specialists.targets]
    users: dict[str, tuple[Sequence[str], Sequence[str]]] = {
        **dict.fromkeys(with_model, (own, model.files)),
        "transform": (settings.transform.targets, ()),
        "encode": (settings.encode.targets, settings.encode.token_files),
        "evaluate": ([*own, *settings.evaluate.targets], model.files),
    }
    return {
        stage: code_digest(module, *users.get(stage, ((), ()))) for stage, module in modules.items()
    }


def _json(*sections: Section) -> list[Any]:
    return [section.as_json() for section in sections]
