"""Where the files of a stage's job lie: its outputs, its inputs, which jobs there are; and back.

Everything follows from the description of the stage (:mod:`shoal.plan.stages`) and the layout.
Stages are known by name only where the assigner is: which one is in use, and what it was fitted on.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
import string
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from shoal.formats.documents.index import PartitionIndex
from shoal.formats.documents.ledger import Artifact
from shoal.formats.hashing import settings_id
from shoal.formats.json_file import read_made
from shoal.formats.provenance import KEY as MADE_FROM
from shoal.plan.jobs import Job
from shoal.plan.stages import FITS, STAGES
from shoal.search.slot_names import validation_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from shoal.formats.documents.index import PlannedIndex
    from shoal.plan.layout import Layout
    from shoal.plan.slots import Slots
    from shoal.plan.stages import From, Input, Stage

    Wildcards = Mapping[str, str]


def outputs(
    layout: Layout, stage: Stage, wildcards: Wildcards, index: PlannedIndex | None = None
) -> dict[str, Path]:
    """Files that a job makes, by name.

    Args:
        layout: The experiment's layout.
        stage: The job's stage.
        wildcards: Values of the stage's ``keys``. Identities are the layout's unless they are
            given too, as in the wildcards of Snakemake's job.
        index: Content of the partition index, for jobs about the rows of all partitions.

    Raises:
        KeyError: A wildcard is not known.
    """
    values = {
        name: wildcards[name]
        if name in wildcards
        else _value(name, layout, stage, wildcards, index)
        for name in _wildcards(stage.name)
    }
    # One path from one text: plans have tens of thousands, and joining two takes twice as long.
    folder = f"{_place(layout, stage)}/{stage.folder.format_map(values)}"
    return {
        name: Path(f"{folder}/{file.format_map(values)}")
        for name, file in stage.outputs.items()
        if layout.goes_on or name not in stage.carried
    }


def inputs(
    layout: Layout, stage: Stage, wildcards: Wildcards, index: PlannedIndex | None = None
) -> dict[str, Path | list[Path]]:
    """Files that a job takes, by name; a list where it may be any number of files.

    Args:
        layout: The experiment's layout.
        stage: The job's stage.
        wildcards: Values of the stage's ``keys``.
        index: Content of the partition index, for jobs about all partitions.
    """
    return {
        name: paths if is_list(stage, each) else paths[0]
        for name, each in stage.inputs.items()
        for paths in [_paths(layout, stage, each, wildcards, index)]
    }


def recorded_inputs(
    layout: Layout, stage: Stage, wildcards: Wildcards, index: PlannedIndex | None = None
) -> list[Path]:
    """Files whose hashes the outputs of a job carry, source files aside.

    Args:
        layout: The experiment's layout.
        stage: The job's stage.
        wildcards: Values of the stage's ``keys``.
        index: Content of the partition index, for jobs about all partitions.
    """
    return [
        path
        for each in stage.inputs.values()
        if each.recorded
        for path in _paths(layout, stage, each, wildcards, index)
    ]


def jobs(
    layout: Layout, stages: Iterable[Stage], index: PlannedIndex | None = None
) -> Iterator[Job]:
    """Jobs of some stages, each after those that its inputs come from.

    Those of packs are not known before packs are planned, those about all variants not by one.

    Args:
        layout: The experiment's layout.
        stages: The stages, in order.
        index: Content of the partition index, for stages after it.
    """
    single = [stage for stage in stages if stage.per != "pack"]
    for is_of_partition, group in itertools.groupby(single, lambda each: "digest" in each.keys):
        if is_of_partition:
            yield from _partition_jobs(layout, tuple(group), index or {"partitions": []})
            continue
        for stage in group:
            for wildcards in jobs_of(layout, stage, index):
                files = outputs(layout, stage, wildcards, index)
                yield Job(stage.name, wildcards, tuple(files.values()))


def _partition_jobs(
    layout: Layout, stages: tuple[Stage, ...], index: PlannedIndex
) -> Iterator[Job]:
    """Jobs about one partition after the other, step by step of its search."""
    for entry in layout.specialised(index):
        given = {"digest": entry["specialist"], "validation": entry["digests"]["validation"]}
        found = [
            (stage, wildcards)
            for stage in stages
            for wildcards in jobs_of(layout, stage, index, **given)
        ]
        found.sort(key=lambda job: float(job[1].get("step", math.inf)))
        for stage, wildcards in found:
            files = tuple(outputs(layout, stage, wildcards, index).values())
            yield Job(stage.name, wildcards, files, int(entry["partition"]))


def is_list(stage: Stage, each: Input) -> bool:
    """Whether an input of a stage may be any number of files."""
    if len(each.origins) > 1 or each.probes or each.rivals or stage.per == "variants":
        return True
    (origin,) = each.origins
    source = STAGES[origin.stage]
    return bool(set(source.keys) - set(stage.keys)) or origin.steps != "all" or origin.at_fit


def jobs_of(
    layout: Layout, stage: Stage, index: PlannedIndex | None = None, **given: str
) -> Iterator[dict[str, str]]:
    """Wildcards of a stage's jobs; those of packs are not known before packs are planned.

    Args:
        layout: The experiment's layout.
        stage: The stage.
        index: Content of the partition index, for stages after it.
        given: Values of wildcards that are fixed.
    """
    if stage.per == "":
        yield {}
    elif stage.per == "variants":
        yield from [{}] if layout.made.get(stage.identity) else []
    elif stage.per == "previous":
        yield from [dict(zip(stage.keys, layout.previous, strict=True))] if layout.previous else []
    elif stage.per == "copy":
        yield from [{"after": layout.after}] if layout.after else []
    elif stage.per == "patch":
        yield from ({"after": layout.after, "from_copy": each} for each in layout.bases)
    elif stage.per == "shard":
        shards = (given["shard"],) if "shard" in given else layout.shards
        yield from ({"shard": shard} for shard in shards)
    elif stage.per == "growth":
        yield from ({"grown_id": each} for each in layout.grown)
    elif stage.per == "partition":
        asked = layout.asked(index or {"partitions": []})
        yield from ({"partition": each, "rows": rows} for each, rows in asked)
    elif stage.per != "pack":
        for digest, validation in _partitions(layout, index, given):
            yield from _jobs_of_search(layout.search(digest, validation), stage, given)


def _jobs_of_search(search: Slots, stage: Stage, given: Wildcards) -> Iterator[dict[str, str]]:
    for step in (given["step"],) if "step" in given else map(str, range(search.count)):
        about = {"digest": search.digest, "step": step}
        if stage.per == "step":
            yield {**about, "validation": search.validation}
        else:
            yield from ({**about, "slot": slot} for slot in search.names(int(step)))


def _partitions(
    layout: Layout, index: PlannedIndex | None, given: Wildcards
) -> Iterator[tuple[str, str]]:
    """Digests of training and validation rows of the partitions that have a specialist."""
    if "digest" in given:
        yield given["digest"], given.get("validation", "")
    else:
        for entry in layout.specialised(index or {"partitions": []}, given.get("partition")):
            yield entry["specialist"], entry["digests"]["validation"]


def _paths(
    layout: Layout,
    stage: Stage,
    each: Input,
    wildcards: Wildcards,
    index: PlannedIndex | None,
) -> list[Path]:
    if (each.probes and not layout.probed) or (each.rivals and not layout.made["chosen"]):
        return []
    return [
        path for origin in each.origins for path in _from(layout, stage, origin, wildcards, index)
    ]


def _from(
    layout: Layout, stage: Stage, origin: From, wildcards: Wildcards, index: PlannedIndex | None
) -> Iterator[Path]:
    """An output of the jobs of a stage that agree with a job in what both are about."""
    source = STAGES[origin.stage]
    if origin.at_fit:
        yield from _at_fit(layout, source, origin.output)
        return
    if origin.or_grown and (grown := _grown_before(layout, wildcards)):
        yield outputs(layout, STAGES["cluster_grow"], {"grown_id": grown[-1]})[origin.output]
        return
    given = {name: wildcards[name] for name in stage.keys if name not in ("slot", "step")}
    if "slot" in stage.keys:
        given["validation"] = validation_of(wildcards["slot"])
    if origin.steps == "all" or source.per not in ("slot", "step"):
        found = jobs_of(layout, source, index, **given)
    else:
        found = _jobs_in_steps(layout, source, origin, wildcards.get("step"), index, given)
    for job in found:
        if origin.output in (made := outputs(layout, source, job, index)):
            yield made[origin.output]


def _jobs_in_steps(
    layout: Layout,
    source: Stage,
    origin: From,
    step: str | None,
    index: PlannedIndex | None,
    given: Wildcards,
) -> Iterator[dict[str, str]]:
    """Jobs of the steps that an input is of, for a job in a step or after the last."""
    for digest, validation in _partitions(layout, index, given):
        search = layout.search(digest, validation)
        own = search.count - 1 if step is None else int(step)
        steps = {
            "before": search.steps_before(own),
            "compared": search.steps_compared(own),
            "last": range(own, own + 1),
        }
        for each in steps[origin.steps]:
            yield from _jobs_of_search(search, source, {"step": str(each)})


def _at_fit(layout: Layout, source: Stage, output: str) -> Iterator[Path]:
    """Outputs for the rows that the assigner was fitted on, of those that are kept."""
    if source.per == "shard":
        found = [outputs(layout, source, {"shard": shard}) for shard in assigned_at_fit(layout)]
    else:
        path = index_at_fit(layout)
        index = read_made(path, PartitionIndex) if path.exists() else None
        found = [outputs(layout, source, job, index) for job in jobs_of(layout, source, index)]
    yield from (each[output] for each in found if each[output].exists())


def index_at_fit(layout: Layout) -> Path:
    """The partition index of the rows that the assigner was fitted on; it may be gone."""
    return layout.index_of(settings_id(layout.made["index"], assigned_at_fit(layout)))


def assigned_at_fit(layout: Layout) -> list[str]:
    """Shards that the assigner was fitted on, in order; empty while it is not fitted."""
    return fitted_on(assigner_in_use(layout)["ledger"])


def assigner_in_use(layout: Layout) -> dict[str, Path]:
    """Files of the fit that made the assigner, or of the last growth of it, by name."""
    if layout.grown:
        return outputs(layout, STAGES["cluster_grow"], {"grown_id": layout.grown[-1]})
    return outputs(layout, STAGES["cluster_fit"], {})


def _grown_before(layout: Layout, wildcards: Wildcards) -> tuple[str, ...]:
    """Growths of the assigner that a job takes: of a growth that is in use, those before it."""
    own = wildcards.get("grown_id", "")
    return layout.grown[: layout.grown.index(own)] if own in layout.grown else layout.grown


def fitted_on(record: Path) -> list[str]:
    """Shards whose rows a fit was made from, in order; empty while it is not made.

    Args:
        record: The JSON file that the fit leaves.
    """
    if not record.exists():
        return []
    return shards_of(read_made(record, Artifact).get(MADE_FROM, {}).get("files", {}))


def shards_of(files: Iterable[str | Path]) -> list[str]:
    """Shards whose rows are among some files, in order."""
    found = (parse(file) for file in files)
    return sorted({each.wildcards["shard"] for each in found if each and each.stage.per == "shard"})


class Place(NamedTuple):
    """Stage and wildcards of a path.

    Attributes:
        stage: The stage that makes it.
        output: Name of the output.
        wildcards: Values of all wildcards of the path, the generation among them.
    """

    stage: Stage
    output: str
    wildcards: Mapping[str, str]

    @property
    def benchmark(self) -> Path:
        """Snakemake's benchmark of its job, below the experiment's benchmarks."""
        return self._of_job.with_suffix(".tsv")

    @property
    def log(self) -> Path:
        """The log of its job, below the experiment's logs."""
        return self._of_job.with_suffix(".log")

    @property
    def _of_job(self) -> Path:
        generation, *others = self.wildcards.values()
        return Path(generation, self.stage.name, *others)


def parse(path: str | Path) -> Place | None:
    """The stage that makes a file of a generation, and its wildcards; None for other files.

    Args:
        path: The file, wherever the results lie.
    """
    found = _IN_GENERATION.fullmatch(str(path))
    for stage, output, pattern in _patterns().get(found["folder"], ()) if found else ():
        if found and (match := pattern.fullmatch(found["inside"])):
            return Place(stage, output, {"generation": found["generation"], **match.groupdict()})
    return None


def beside(path: Path) -> Place | None:
    """The nearest output that has a folder of its own with a file in it, as a pool has.

    Args:
        path: The file.
    """
    found = (parse(folder / name) for folder in path.parents for name in _NAMES)
    return next((place for place in found if place is not None), None)


def turn(place: Place) -> tuple[float, ...]:
    """Place of an output in the order in which outputs are made, to sort by."""
    stage = place.stage
    own = _ORDER.index(stage.name)
    if stage.per in ("", "shard", "growth", "partition", "previous", "variants", "copy", "patch"):
        return own, 0.0, 0
    return _SEARCH, float(place.wildcards.get("step", math.inf)), own


def glob(stage: Stage, output: str, **given: str) -> str:
    """Pattern of an output's files in all generations, below the experiment's folder.

    Args:
        stage: The stage.
        output: Name of its output.
        given: Values of wildcards; others match anything.
    """
    values = {"generation": "g*", **dict.fromkeys(_wildcards(stage.name), "*"), **given}
    return f"{{generation}}/{stage.folder}/{stage.outputs[output]}".format_map(values)


_ORDER = list(STAGES)
_SEARCH = next(n for n, stage in enumerate(STAGES.values()) if "digest" in stage.keys)
_NAMES = {file for stage in STAGES.values() for file in stage.outputs.values() if "{" not in file}
_FOLDERS = "|".join({stage.folder.split("/")[0] for stage in STAGES.values()})
_IN_GENERATION = re.compile(
    rf"(?:.*/)?(?P<generation>g\d+)/(?P<inside>(?P<folder>{_FOLDERS})/[^.].*)"
)


@functools.cache
def _patterns() -> Mapping[str, list[tuple[Stage, str, re.Pattern[str]]]]:
    """Each output with the pattern of its path in a generation, by the first folder of that."""
    found: dict[str, list[tuple[Stage, str, re.Pattern[str]]]] = {}
    for stage in STAGES.values():
        for output, file in stage.outputs.items() if stage.place == "generation" else ():
            parts = re.split(r"\{(\w+)\}", f"{stage.folder}/{file}")
            texts = [re.escape(part) for part in parts[::2]]
            names = [rf"(?P<{name}>[^/.][^/]*)" for name in parts[1::2]]
            pattern = "".join(itertools.chain(*itertools.zip_longest(texts, names, fillvalue="")))
            folder = stage.folder.split("/")[0]
            found.setdefault(folder, []).append((stage, output, re.compile(pattern)))
    return found


@functools.cache
def _wildcards(name: str) -> tuple[str, ...]:
    """Wildcards below the place of a stage."""
    stage = STAGES[name]
    found = [stage.folder, *stage.outputs.values()]
    parsed = (part for text in found for part in string.Formatter().parse(text))
    return tuple(dict.fromkeys(name for _, name, _, _ in parsed if name))


def _place(layout: Layout, stage: Stage) -> str:
    if stage.place == "generation":
        return f"{layout.root}/{layout.generation}"
    return layout.home if stage.place == "variant" else layout.root


def _value(
    name: str,
    layout: Layout,
    stage: Stage,
    wildcards: Wildcards,
    index: PlannedIndex | None,
) -> str:
    """Value of a wildcard that is no key of its stage: an identity, or digests of rows."""
    if name in ("root", "basis", "link"):
        if index is None:
            raise KeyError(name)
        if name == "root":
            return layout.root_of(index, stage.root)
        return layout.basis_of(index) if name == "basis" else layout.generalist_of(index)
    if name in ("index_id", "release"):
        return str(getattr(layout, name))
    if name == "rows_id":
        return layout.made[stage.identity]
    identity = name.removesuffix("_id")
    if stage.per in ("slot", "step"):
        validation = wildcards.get("validation") or validation_of(wildcards["slot"])
        search = layout.search(wildcards["digest"], validation)
        return search.identity(int(wildcards["step"]), decided=stage.per == "step")
    return layout.fits[identity] if identity in FITS else layout.made[identity]
