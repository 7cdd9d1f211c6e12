"""Command ``replay``: run the history of an experiment again, from nothing, and compare."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from shoal.archive.kept import Archive, Role, is_of, kept_files, role_of
from shoal.errors import ShoalError, SourceError
from shoal.formats.documents.index import PartitionIndex
from shoal.formats.documents.plan import KeptRelease, Replay
from shoal.formats.files import replacing
from shoal.formats.hashing import file_hash
from shoal.formats.json_file import read_json, read_made, write_json
from shoal.operate.grow import grow
from shoal.operate.plan_report import run_snakemake
from shoal.plan.history import HISTORY, History
from shoal.plan.ids import apply_codes, fit_codes
from shoal.plan.layout import Layout
from shoal.plan.plan import Plan, fit_code
from shoal.plan.run_file import FOLDER, RunFile
from shoal.plan.stages import BEFORE_INDEX, STAGES
from shoal.settings import Settings, parse
from shoal.settings.config_files import EXPERIMENT
from shoal.settings.deploying import from_deployed
from shoal.sources.shards import name_shards
from shoal.terminal import say

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from shoal.formats.documents.plan import Release
    from shoal.settings.data import ArraySource

    Source = tuple[Path, ArraySource | None]

MARK = "replay.json"
"""What a folder is a replay of, and how far that has come."""

_CONFIG = Path("config")
_OWN = {"results", "logs", MARK, _CONFIG.name}
_MAKE_MODELS = ("split", "transform", "encode", "cluster", "specialists", "choices", "router")
"""Identities of the stages, fits aside, whose code decides what the models are."""
_COPIES = "deploy"
"""The same of copies for devices."""


@dataclass(frozen=True)
class Replayed:
    """A release that was made again.

    Attributes:
        line: The release, its rows and links, and how it compares.
        agrees: Whether names and bits are the same, as far as they are still there.
    """

    line: str
    agrees: bool


def replay(plan: Plan, folder: Path, cores: str) -> Iterator[Replayed]:
    """Make the releases of a generation again, one after the other, in a folder of its own.

    Each is made from its own source files and settings, by the code of now, after those before it.
    A folder in which a replay of the same history has begun is gone on with.

    Args:
        plan: The experiment, or one of its variants.
        folder: A folder that does not exist or is empty; it becomes a working folder.
        cores: Snakemake's number of cores, or ``all``.

    Yields:
        Each release as it is made.

    Raises:
        SourceError: There is no history, a source file is gone or edited, every release was made
            by other code, or there is something else in the folder.
        SystemExit: Snakemake failed; with its exit code.
    """
    releases = list(_releases(plan))
    if not releases:
        raise SourceError(
            f"{plan.home / HISTORY}: no release of generation {plan.settings.generation}, so there "
            f"is nothing to replay"
        )
    changed = [_changed_code(plan, each) for each in releases]
    if all(changed):
        stages = ", ".join(dict.fromkeys(name for each in changed for name in each))
        raise SourceError(
            f"{plan.home / HISTORY}: its releases of generation {plan.settings.generation} were "
            f"made by other code than there is now ({stages}), whose models would be others; "
            f"replay them with the code of then"
        )
    done = _done(plan, folder, [each["release"] for each in releases])
    sources = _sources(plan, releases)
    _lay_out(plan, folder, done)
    other: list[str] = []
    for number, release in enumerate(releases):
        other = list(dict.fromkeys([*other, *changed[number]]))
        if number == len(done):
            say(f"release {number + 1} of {len(releases)}")
            files = [sources[shard] for shard in release["layout"]["shards"]]
            done.append([release["release"], _make(folder, release, files, cores)])
            _note(plan, folder, done)
        made = _last(History(folder / release["layout"]["root"]), done[number][1])
        reasons = [f"code of {', '.join(other)} has changed since"] if other else []
        reasons += _reasons(plan, release, made, releases[0])
        yield _compared(plan, folder, number + 1, release, made, reasons)


def _releases(plan: Plan) -> Iterator[Release]:
    """A generation's releases, each once: one is published again after a crash."""
    before = ""
    for each in plan.history.entries:
        if each["layout"]["generation"] == plan.layout.generation:
            if each["release"] != before:
                yield each
            before = each["release"]


def _last(history: History, release: str) -> Release:
    own: Iterator[Release] = (e for e in reversed(history.entries) if e["release"] == release)
    return next(own)


# Before anything runs ----------------------------------------------------------------------------


def _changed_code(plan: Plan, release: Release) -> list[str]:
    """Stages that make a release's models, or its generation, whose code is another one now."""
    settings: Settings = parse(Settings, release["settings"], "")
    now, fits = apply_codes(settings), fit_codes(settings)
    made = (*_MAKE_MODELS, "deploy") if from_deployed(release["settings"]) else _MAKE_MODELS
    found = [name for name in made if release["codes"].get(name) != now[name]]
    layout = replace(Layout.from_json(release["layout"]), root=str(plan.root))
    index = layout.read_index()
    for stage in STAGES.values():
        if stage.frozen and (stage in BEFORE_INDEX or index is not None):
            code = fit_code(layout, stage, index)
            found += [stage.identity] if code not in (None, fits[stage.identity]) else []
    return list(dict.fromkeys(found))


def _sources(plan: Plan, releases: Sequence[Release]) -> dict[str, Source]:
    """The source file of each shard: where it was, or among the sources of now.

    Raises:
        SourceError: One is gone, or has other content.
    """
    paths = {plan.root / FOLDER / f"{each.get('run')}.json" for each in releases}
    runs = [RunFile(path) for path in sorted(paths) if path.exists()]
    known = {shard: run.source(shard) for run in runs for shard in run.layout.shards}
    places = {str(source[0]): source for source in (*known.values(), *plan.shards.values())}
    there = [source for source in places.values() if source[0].is_file()]
    found = name_shards(there, plan.root / ".source-hashes.json")
    for release in releases:
        for shard in release["layout"]["shards"]:
            if shard not in found:
                path = known[shard][0] if shard in known else None
                name = f"a file whose content is {shard}" if path is None else str(path)
                happened = "was edited" if path is not None and path.exists() else "is gone"
                raise SourceError(
                    f"{name}: {happened}, and release {release['release']} was made from it; bring "
                    f"it back as it was then, or put it among the sources until this is done"
                )
    return found


def _name(plan: Plan) -> str:
    return f"{plan.home.resolve()}, {plan.layout.generation}"


def _done(plan: Plan, folder: Path, releases: Sequence[str]) -> list[list[str]]:
    """Releases that are made in a folder, and as which.

    Raises:
        SourceError: There is something else in it.
    """
    mark, done = folder / MARK, list[list[str]]()
    if mark.exists():
        state = read_json(mark, Replay)
        done = state["releases"]
        begun = [each for each, _ in done] == list(releases[: len(done)])
        if state["of"] != _name(plan) or not begun:
            raise SourceError(f"{folder}: holds the replay of another history; name another folder")
    elif os.path.lexists(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise SourceError(f"{folder}: not empty; a replay goes into a folder of its own")
    return done


def _note(plan: Plan, folder: Path, done: Sequence[list[str]]) -> None:
    write_json(folder / MARK, {"of": _name(plan), "releases": done})


def _lay_out(plan: Plan, folder: Path, done: Sequence[list[str]]) -> None:
    """Make a working folder with all that the project's has, settings and results aside."""
    _note(plan, folder, done)
    (folder / _CONFIG / EXPERIMENT).mkdir(parents=True, exist_ok=True)
    for path in Path().iterdir():
        if path.name not in _OWN and path.name[0] != "." and path.resolve() != folder.resolve():
            _link(path, folder / path.name)
    for path in _CONFIG.iterdir():
        if path.name not in ("config.yaml", EXPERIMENT):
            _link(path, folder / path)


def _link(path: Path, link: Path) -> None:
    if not os.path.lexists(link):
        link.symlink_to(path.resolve())


# A release ---------------------------------------------------------------------------------------


def _make(folder: Path, release: Release, files: Sequence[Source], cores: str) -> str:
    """Run a release's plan in the folder; its id there."""
    name = str(release["settings"]["name"])
    _write_settings(folder / _CONFIG, name, release["settings"], files)
    with contextlib.chdir(folder):
        plan = Plan(name, [], _CONFIG)
        if len(release["layout"].get("grown", ())) > len(plan.layout.grown) and plan.basis():
            list(grow([plan], None, cores))
            plan = Plan(name, [], _CONFIG)
        run_snakemake(plan, "--cores", cores, "--scheduler", "greedy")
        made = plan.history.last_of(plan.layout.generation)
        assert made is not None  # noqa: S101 - the run has ended well
        return made["release"]


def _write_settings(
    config: Path, name: str, settings: Mapping[str, Any], files: Sequence[Source]
) -> None:
    """Have an experiment compose to settings that were recorded, with these source files."""
    named = [
        str(path.absolute())
        if arrays is None
        else {"path": str(path.absolute()), "arrays": arrays.arrays}
        for path, arrays in files
    ]
    search = settings["search"]
    # A variant's part of it is in its own settings.
    budget = search["budget"] | {"train_flops": None, "hours": None}
    content = {
        **settings,
        "sources": settings["sources"] | {"folder": "/", "files": named},
        "search": search | {"budget": budget},
    }
    texts = {
        config / "config.yaml": f"defaults:\n  - _self_\n  - {EXPERIMENT}: ???\n",
        config
        / EXPERIMENT
        / f"{name}.yaml": f"# @package _global_\n{yaml.safe_dump(content, sort_keys=False)}",
    }
    for path, text in texts.items():
        with replacing(path) as aside:
            aside.write_text(text)


# How it compares ---------------------------------------------------------------------------------


def _reasons(plan: Plan, then: Release, now: Release, first: Release) -> Iterator[str]:
    """Why a release may not come out as it was, the code of models aside."""
    lacks = len(then["layout"].get("left_out", ()))
    if lacks:
        yield f"{lacks} trainings had failed"
    at_fit = plan.basis()
    if at_fit and not plan.layout.grown and at_fit != sorted(first["layout"]["shards"]):
        yield "its generation was fitted on other files than those of its first release"
    if "copy" in then:
        settings: Settings = parse(Settings, then["settings"], "")
        if then["codes"].get(_COPIES) != apply_codes(settings)[_COPIES]:
            yield f"code of {_COPIES} has changed since"
        if then["layout"].get("after") != now["layout"].get("after"):
            yield "its copy followed one that is not made here, of another generation for one"


def _compared(
    plan: Plan, folder: Path, number: int, then: Release, now: Release, reasons: Sequence[str]
) -> Replayed:
    """How a release compares with the one that was made in its place."""
    index = read_made(folder / Layout.from_json(now["layout"]).index, PartitionIndex)
    trained = [each for each in index["partitions"] if each["trained"]]
    links = [each["continued"]["links"] if "continued" in each else 0 for each in trained]
    about = (
        f"release {number}, {then['release']}: {index['rows']['train']:,} training rows, "
        f"links {min(links, default=0)} to {max(links, default=0)}"
    )
    there, here = Archive(plan.home), Archive(folder / now["layout"].get("home", ""))
    models, made = _models(there, then["release"]), _models(here, now["release"])
    names = [
        what
        for what, first, second in (
            ("the index's name", then["layout"]["index_id"], now["layout"]["index_id"]),
            ("the rows of its specialists", then["rows"], now["rows"]),
            *(
                (_said(role), _made_from(models[role]), _made_from(made.get(role)))
                for role in models
            ),
            ("the copy's name", _copy_name(then), _copy_name(now)),
        )
        if first != second
    ]
    roots = {role: _root(there, model) for role, model in models.items()}
    bits = [
        f"the bits of {_said(role)}"
        for role, root in roots.items()
        if _made_from(models[role]) == _made_from(made.get(role))
        and (models[role] != made[role] or root not in (None, _root(here, made[role])))
    ]
    what = f"{len(models)} models"
    if "copy" in then and "the copy's name" not in names:
        theirs = _bits_of(Path(then["copy"]["manifest"]))
        if theirs is not None and theirs != _bits_of(folder / now["copy"]["manifest"]):
            bits.append("the bits of the copy")
        what += " and the copy" if theirs is not None else ""
    if names or bits:
        why = f" ({'; '.join(reasons)})" if reasons else ""
        return Replayed(f"{about}: differs in {', '.join([*names, *bits])}{why}", agrees=False)
    lost = sum(root is None for root in roots.values())
    known = f", {lost} of them by six digits of a hash, for they are gone" if lost else ""
    return Replayed(f"{about}: same names, same bits of {what}{known}", agrees=True)


def _copy_name(release: Release) -> str | None:
    return release["copy"]["id"] if "copy" in release else None


def _bits_of(copy: Path) -> dict[str, str] | None:
    """SHA-256 of each file of a copy for devices, by name; None where one is gone.

    Args:
        copy: Its manifest.
    """
    with contextlib.suppress(ShoalError, FileNotFoundError):
        files = read_json(copy, dict[str, Any])["files"]
        return {name: file_hash(copy.parent / name) for name in (copy.name, *files)}
    return None


def _models(archive: Archive, release: str) -> dict[Role, str]:
    """Ids of a release's models by their roles; none where their list is gone."""
    lists = [path for path in kept_files(archive.home) if is_of(path, release)]
    listed = read_json(lists[-1], KeptRelease)["models"] if lists else []
    return {role_of(each): each["id"] for each in listed}


def _made_from(model: str | None) -> str | None:
    """The part of a model's id that says from what it was made."""
    return None if model is None else model.split("-")[0]


def _root(archive: Archive, model: str) -> str | None:
    """A hash of a model's tensors; None where they are gone."""
    with contextlib.suppress(ShoalError):
        if model in archive.store:
            return archive.tree(model).root
    return None


def _said(role: Role) -> str:
    return role.kind if role.partition is None else f"{role.kind} of partition {role.partition}"
