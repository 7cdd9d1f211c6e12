"""The commands that rules call: ``shoal STAGE --settings FILE``, and the wildcards of the job.

A stage's command is the function of its name in the module that its description names
(:mod:`shoal.plan.stages`). It gets by name what its parameters ask for:

- ``NAME`` or ``NAME_path``: the stage's input of that name;
- ``NAME_out``: its output of that name; ``out``: its first output;
- a section of the settings that the stage declares; ``settings``: the first of these;
- a wildcard of the job, ``threads``, ``checkpoint_seconds``, ``memory``, and what
  :data:`_FACTS` lists.

Everything else that the settings file says stays unread, and no code is hashed.
"""

from __future__ import annotations

import argparse
import inspect
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoal.cli import command_of
from shoal.formats.documents.index import PartitionIndex
from shoal.formats.json_file import read_made
from shoal.plan.layout import Layout
from shoal.plan.paths import assigned_at_fit, fitted_on, inputs, outputs, recorded_inputs
from shoal.plan.run_file import RunFile
from shoal.plan.stages import STAGES
from shoal.search.slot_names import validation_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import ModuleType

    from shoal.evaluate.choose import Rival
    from shoal.evaluate.prequential import Arrivals
    from shoal.formats.documents.choice import Point
    from shoal.formats.documents.index import Continued, PartitionEntry
    from shoal.formats.documents.plan import Channel, CopyOfRelease, FailedSpecialist, PackMember
    from shoal.partitions.continuing import Deployed
    from shoal.partitions.generalist import OfGeneration
    from shoal.plan.stages import Stage
    from shoal.settings.data import ArraySource
    from shoal.train_specialists.candidate import Candidate

_BESIDE = {"evaluate": {"cluster": "page on what the run takes on a cluster"}}
"""Options of a stage's command that are neither in the settings file nor a wildcard, with help."""


def run_stage(name: str, arguments: Sequence[str]) -> None:
    """Do one job.

    Args:
        name: Name of the stage.
        arguments: Options of its command.
    """
    parser = stage_parser(STAGES[name], describes="--help" in arguments)
    options = vars(parser.parse_args(arguments))
    StageJob(STAGES[name], options.pop("settings"), options).do()


def stage_parser(stage: Stage, *, describes: bool = True) -> argparse.ArgumentParser:
    """The options of a stage's command.

    Args:
        stage: The stage.
        describes: Whether it says what the command does, for which its module is imported.
    """
    description = epilog = None
    if describes:
        description = _paragraph(getattr(_module(stage), stage.name))
        epilog = f"reads {_listed(stage.inputs)}; writes {_listed(stage.outputs)}"
    parser = argparse.ArgumentParser(
        f"shoal {command_of(stage.name)}",
        description=description,
        epilog=epilog,
        allow_abbrev=False,
    )
    many = stage.per == "variants"
    file = "settings file of the run, results/NAME/settings/HASH.json"
    each = f"{file}, one per variant" if many else file
    parser.add_argument(
        "--settings", type=Path, nargs="+" if many else 1, required=True, metavar="FILE", help=each
    )
    for key in (f"{stage.identity}_id",) if many else stage.keys:
        flag = f"--{key.replace('_', '-')}"
        kind, value = (int, "N") if key == "step" else (str, "ID")
        parser.add_argument(flag, type=kind, required=True, metavar=value, help=f"the job's {key}")
    if "compute" in stage.settings:
        threads = "CPU threads; the bits depend on it"
        parser.add_argument("--threads", type=int, required=True, metavar="N", help=threads)
    for option, text in _BESIDE.get(stage.name, {}).items():
        parser.add_argument(f"--{option}", type=Path, metavar="FILE", help=text)
    return parser


def _paragraph(function: Callable[..., None]) -> str:
    """The first paragraph of what a function says of itself."""
    return " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())


def _listed(names: Mapping[str, object]) -> str:
    return ", ".join(names) or "source files"


def _module(stage: Stage, *, probed: bool = False) -> ModuleType:
    """The module of a stage's command."""
    if probed and any(each.probes for each in stage.inputs.values()):
        from shoal.plan.ids import PROBING_MODULE

        return import_module(f"shoal.{PROBING_MODULE}")
    return import_module(f"shoal.{stage.module}")


@dataclass(frozen=True)
class StageJob:
    """One job of a stage, of a run that has begun.

    Attributes:
        stage: The stage.
        runs: Settings files, one per variant where the job is about all of them.
        options: The job's wildcards, and other values that its command was given.
    """

    stage: Stage
    runs: Sequence[Path]
    options: Mapping[str, Any]

    @cached_property
    def run(self) -> RunFile:
        """The settings file, of the first variant where there are several."""
        return RunFile(self.runs[0])

    @cached_property
    def index(self) -> PartitionIndex | None:
        """The partition index, for a job whose inputs depend on it."""
        stages = list(STAGES)
        is_later = stages.index(self.stage.name) > stages.index("partition")
        return self.run.layout.read_index() if is_later and self.stage.asks_index else None

    @cached_property
    def inputs(self) -> dict[str, Path | list[Path]]:
        """Files that it reads, by name."""
        return inputs(self.run.layout, self.stage, self.options, self.index)

    @cached_property
    def outputs(self) -> dict[str, Path]:
        """Files that it writes, by name."""
        return outputs(self.run.layout, self.stage, self.options, self.index)

    def section(self, name: str) -> Any:  # noqa: ANN401 - the section's own type
        """A section of the settings.

        Raises:
            KeyError: The stage does not declare that it reads it.
        """
        if name not in self.stage.settings:
            raise KeyError(f"{self.stage.name} does not declare that it reads {name}")
        return self.run.section(name)

    @property
    def sources(self) -> list[tuple[Path, ArraySource | None]]:
        """Source files that it reads: its shard's, or all."""
        if "sources" not in self.stage.settings:
            return []
        shard = self.options.get("shard")
        return [self.run.source(each) for each in ([shard] if shard else self.run.layout.shards)]

    def argument(self, name: str) -> Any:  # noqa: ANN401 - whatever the parameter takes
        """Value of a parameter of the stage's command.

        Raises:
            KeyError: Nothing that the stage declares has that name.
        """
        stem = name.removesuffix("_path")
        if name in self.options:
            return self.options[name]
        if name == "out":
            return next(iter(self.outputs.values()))
        if name.endswith("_out"):
            return self.outputs[name.removesuffix("_out")]
        if stem in self.stage.inputs:
            found = self.inputs[stem]
            return found[0] if stem != name and isinstance(found, list) else found
        if name in _FACTS:
            return _FACTS[name](self)
        return self.section(self.stage.settings[0] if name == "settings" else name)

    def do(self) -> None:
        """Call its command; what that writes carries the hashes of what the job was made from."""
        from shoal.formats.provenance import recording

        command = getattr(_module(self.stage, probed=self.run.layout.probed), self.stage.name)
        arguments = {name: self.argument(name) for name in inspect.signature(command).parameters}
        files = [path for path, _ in self.sources]
        for run in map(RunFile, self.runs) if self.stage.per == "variants" else [self.run]:
            index = self.index if run is self.run else run.layout.read_index()
            files += recorded_inputs(run.layout, self.stage, self.options, index)
        code = self.run.record["fit_codes"][self.stage.identity] if self.stage.frozen else None
        with recording(files, code):
            command(**arguments)


def _shards(job: StageJob) -> dict[str, Path]:
    tables = job.inputs["tables"]
    assert isinstance(tables, list)  # noqa: S101 - there is one per shard
    return dict(zip(job.run.layout.shards, tables, strict=True))


def _by_source(job: StageJob) -> dict[str, Path]:
    return {str(job.run.source(shard)[0]): table for shard, table in _shards(job).items()}


def _source(job: StageJob) -> Path | ArraySource:
    path, arrays = job.sources[0]
    return arrays or path


def _planned(job: StageJob) -> dict[str, Path | ArraySource]:
    sources = {shard: job.run.source(shard) for shard in job.run.layout.shards}
    return {shard: arrays or path for shard, (path, arrays) in sources.items()}


def _stores_now(job: StageJob) -> dict[str, Path]:
    layout = job.run.layout
    return {shard: layout.file("assign.rows", shard=shard) for shard in layout.shards}


def _before(job: StageJob) -> Path | None:
    before = job.run.record["before"]
    return job.run.layout.index_of(before["index_id"]) if before else None


def _released(job: StageJob) -> list[int]:
    before = job.run.record["before"]
    return before["released"] if before else []


def _chosen(job: StageJob) -> Callable[[PartitionEntry], tuple[Path, Point, float] | None]:
    from dataclasses import replace

    from shoal.archive.kept import specialist_key
    from shoal.archive.recover import put_back, stored
    from shoal.formats.documents.choice import Choice, chosen_file
    from shoal.formats.documents.ledger import Flops
    from shoal.formats.headers import read_weights
    from shoal.formats.ledger import training_flops

    layout, before = job.run.layout, job.run.record["before"]
    if before is not None:
        made = {**layout.made, "search": before["search"]}
        layout = replace(layout, made=made, left_out=tuple(before["left_out"]))

    def chosen(entry: PartitionEntry) -> tuple[Path, Point, float] | None:
        """Weights, point and FLOPs of a specialist of the index before."""
        search = layout.search_of(entry)
        if not search.choice.exists():
            return None
        choice = read_made(search.choice, Choice)
        weights = chosen_file(search.choice, choice)
        key = specialist_key(layout, entry["specialist"], choice["point"])
        if not put_back(layout, key, weights):
            return None
        ledgers = [path for path in (*search.ledgers, search.choice) if path.exists()]
        spent = training_flops([read_made(path, Flops) for path in ledgers])
        if weights.with_name("ledger.json") not in ledgers and (own := stored(layout, key)):
            spent += own.record["ledger"]["flops"]
        return weights, read_weights(weights).meta["point"], spent

    return chosen


def _put_back(job: StageJob) -> Callable[[Continued, Path], bool]:
    from shoal.archive.kept import specialist_key
    from shoal.archive.recover import put_back
    from shoal.formats.hashing import settings_id

    layout = job.run.layout

    def again(continued: Continued, weights: Path) -> bool:
        """Put weights that a specialist continues from back, if they are gone; none of a copy."""
        if "copy" in continued:
            return weights.exists()
        key = specialist_key(layout, continued["specialist"], settings_id(continued["point"]))
        return put_back(layout, key, weights)

    return again


def _first(job: StageJob) -> OfGeneration | None:
    from shoal.archive.kept import generalist_key
    from shoal.archive.recover import put_back, stored
    from shoal.formats.documents.ledger import Flops
    from shoal.partitions.generalist import GENERATION, OfGeneration

    layout = job.run.layout
    record = layout.file("evaluate_generalist.ledger", link=GENERATION)
    if layout.refreshed or not record.exists():
        return None
    kept = {
        shard: [layout.file(name, shard=shard) for name in ("assign.rows", "encode.rows")]
        for shard in fitted_on(record)
    }
    stores = {
        shard: next((path for path in paths if path.exists()), paths[0])
        for shard, paths in kept.items()
    }

    def weights(link: str) -> Path:
        path = layout.file("evaluate_generalist.model", link=link)
        put_back(layout, generalist_key(layout, link), path)
        return path

    def spent(link: str) -> float:
        path = layout.file("evaluate_generalist.ledger", link=link)
        if not path.exists() and (own := stored(layout, generalist_key(layout, link))):
            return float(own.record["ledger"]["flops"])
        return read_made(path, Flops)["flops"]

    return OfGeneration(stores, weights, spent, layout.made["specialists"])


def _deployed(job: StageJob) -> Deployed | None:
    from shoal.deploy.copies import Residual
    from shoal.formats.json_file import read_json
    from shoal.partitions.continuing import Deployed
    from shoal.pool.manifest import GENERALIST_FILE
    from shoal_edge.routing import GENERALIST

    before = job.run.record["before"]
    if before is None or "copy" not in before:
        return None
    manifest = Path(before["copy"]["manifest"])
    kept = Residual.load(manifest.parent)
    if kept is None:
        return None
    held = read_json(manifest, dict[str, Any])["specialists"]
    files = {int(each["partition"]): each["file"] for each in held}
    if GENERALIST_FILE in kept.models:
        files[GENERALIST] = GENERALIST_FILE
    weights = {number: manifest.parent / file for number, file in files.items()}
    models = {number: kept.models[file] for number, file in files.items()}
    return Deployed(before["copy"]["id"], weights, models, before.get("moves"))


def _continues(job: StageJob) -> bool:
    before = job.run.record["before"]
    return before is not None and before["continues"]


def _arrivals(job: StageJob) -> Arrivals:
    from shoal.evaluate.prequential import Arrivals

    previous, layout = job.run.record["previous"], job.run.layout
    assert previous["layout"] is not None  # noqa: S101 - else there is no such job
    before = Layout.from_json(previous["layout"])

    def files() -> tuple[Path, Path]:
        """Manifest and generalist of its pool."""
        index = read_made(before.index, PartitionIndex)
        model = before.file("evaluate_generalist.model", index)
        return before.file("pool.manifest", index), model

    gone = [shard for shard in before.shards if shard not in layout.shards]
    arrived, others = (
        [layout.file("split.table", shard=shard) for shard in shards]
        for shards in (previous["arrived"], gone)
    )
    return Arrivals(before.release, arrived, others, files)


def _copy(job: StageJob) -> CopyOfRelease | None:
    from shoal.plan.channel import copy_of

    layout = job.run.layout
    return copy_of(layout, job.index) if layout.after and job.index is not None else None


def _channel(job: StageJob) -> Channel:
    none: Channel = {"before": None, "bases": {}}
    return job.run.record.get("channel", none)


def _copy_before(job: StageJob) -> Path | None:
    before = _channel(job)["before"]
    return Path(before) if before is not None else None


def _failures(job: StageJob) -> list[FailedSpecialist]:
    from shoal.pool.incomplete import name_of

    lacks = job.run.layout.lacks(job.index) if job.index else []
    return [each for each in job.run.record["failed"] if name_of(each) in lacks]


def _recover(job: StageJob) -> Callable[[str, Candidate, Path, Path], bool]:
    from shoal.archive.kept import specialist_key
    from shoal.archive.recover import recover
    from shoal.formats.documents.index import PartitionIndex, named_file
    from shoal.formats.hashing import settings_id
    from shoal.formats.links import point_of

    layout, again = job.run.layout, _put_back(job)

    @cache
    def entries() -> list[PartitionEntry]:
        return read_made(layout.index, PartitionIndex)["partitions"]

    def take(digest: str, candidate: Candidate, weights: Path, ledger: Path) -> bool:
        """Take a specialist from the model store, which never has a part of a training.

        Where it continues, what it continues from is put back first if it is gone.
        """
        parent = None
        if point_of(digest) is not None:
            own = next(each["continued"] for each in entries() if each["specialist"] == digest)
            parent = named_file(layout.index, own["weights"])
            if not again(own, parent):
                return False
        if candidate.part is not None:
            return False
        key = specialist_key(layout, digest, settings_id(candidate.point))
        return recover(layout, key, weights, ledger, parent)

    return take


def _members(job: StageJob) -> list[PackMember]:
    from shoal.formats.documents.plan import PackMember
    from shoal.formats.json_file import read_json

    return read_json(job.run.layout.pack_members(job.options["pack"]), list[PackMember])


def _jobs(job: StageJob) -> list[tuple[list[Path], Callable[[], None]]]:
    """Files of each job that a pack does one after the other, and what makes them."""
    from shoal.formats.json_file import read_json

    path = job.run.layout.pack_members(job.options["pack"], job.stage.name)
    own, members = STAGES[job.stage.in_turn], read_json(path, list[dict[str, str]])
    found = []
    for each in members:
        options: dict[str, Any] = {**each, "threads": job.options["threads"]}
        if "step" in each:
            options["step"] = int(each["step"])
        one = StageJob(own, job.runs, options)
        found.append(([*one.outputs.values()], one.do))
    return found


def _left(job: StageJob) -> dict[str, Path]:
    slot, step = job.options["slot"], job.options["step"]
    return job.run.layout.search(job.options["digest"], validation_of(slot)).before(step)[1]


def _slots(job: StageJob) -> list[str]:
    search = job.run.layout.search(job.options["digest"], job.options["validation"])
    return search.names_compared(job.options["step"])


def _rivals(job: StageJob) -> list[Rival]:
    from shoal.evaluate.choose import Rival

    found = []
    for run in map(RunFile, job.runs):
        layout, index = run.layout, run.layout.read_index()
        files = inputs(layout, STAGES["evaluate"], {}, index)
        paths = {name: each for name, each in files.items() if isinstance(each, Path)}
        lists = {name: each for name, each in files.items() if isinstance(each, list)}
        found.append(
            Rival(
                variant=Path(layout.home).name,
                changes=run.record["plan"]["changes"],
                gate=paths["gate"],
                ledgers=lists["ledgers"],
                generalist=paths["generalist_ledger"],
                random=paths["random_ledger"],
                files={
                    "model": paths["generalist"],
                    "ledger": paths["generalist_ledger"],
                    "encoder": layout.file("encode_fit.encoder"),
                    "shapes": layout.file("encode_fit.shapes"),
                },
                asked=lists["asked"],
            )
        )
    return found


def _answers(job: StageJob) -> Path | None:
    from shoal.plan.answers import link_to_answers

    return link_to_answers(job.run.record)


_FACTS: Mapping[str, Callable[[StageJob], Any]] = {
    "runs": lambda job: job.runs,
    "run_path": lambda job: job.run.path,
    "training": lambda job: job.section("train_specialists"),
    "routing": lambda job: job.section("train_router"),
    "resolved": lambda job: job.run.record["plan"]["settings"],
    "found": lambda job: job.run.record["plan"].get("found", {}),
    "home": lambda job: Path(job.run.layout.home),
    "points": lambda job: job.run.points,
    "steps": lambda job: job.run.steps,
    "recover": _recover,
    "rivals": _rivals,
    "members": _members,
    "jobs": _jobs,
    "left": _left,
    "slots": _slots,
    "source": _source,
    "batch_rows": lambda job: job.section("sources").batch_rows,
    "planned": _planned,
    "shards": _shards,
    "by_source": _by_source,
    "at_fit": lambda job: assigned_at_fit(job.run.layout),
    "min_rows": lambda job: job.section("cluster").min_rows,
    "by_group": lambda job: job.section("cluster").route_by is not None,
    "lineage": lambda job: job.run.layout.fits["cluster"],
    "stops_early": lambda job: job.section("train_specialists").patience is not None,
    "stores": lambda job: job.run.layout.file("assign.rows", shard="").parent,
    "tolerance": lambda job: job.section("changes").tolerance,
    "stores_now": _stores_now,
    "before": _before,
    "chosen": _chosen,
    "put_back": _put_back,
    "first": _first,
    "deployed": _deployed,
    "continues": _continues,
    "trainings": lambda job: job.run.steps.trainings(len(job.run.points)),
    "content": lambda job: job.run.layout.made["content"],
    "released": _released,
    "drift": lambda job: job.section("changes").drift,
    "failures": _failures,
    "arrivals": _arrivals,
    "release_copy": _copy,
    "copy_id": lambda job: (_copy(job) or {"id": ""})["id"],
    "copy_before": _copy_before,
    "base_copy": lambda job: Path(_channel(job)["bases"].get(job.options["from_copy"], "")),
    "checkpoint_seconds": lambda job: job.section("compute").checkpoint_seconds,
    "memory": lambda job: job.run.section("compute").memory,
    "answers": _answers,
}
"""Parameters of commands beside files and whole sections, by name."""
