"""Where the files of a stage's job lie: its outputs, its inputs, and which jobs there are.

Everything follows from the description of the stage (:mod:`shoal.plan.stages`) and the layout.
A stage is known by name only where the assigner's fit says which rows it has seen.
"""

from __future__ import annotations

import functools
import string
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoal.formats.documents.index import PartitionIndex
from shoal.formats.documents.ledger import Artifact
from shoal.formats.hashing import settings_id
from shoal.formats.json_file import read_made
from shoal.formats.provenance import KEY as MADE_FROM
from shoal.plan.slots import validation_of
from shoal.plan.stages import FITS, STAGES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from shoal.plan.layout import Layout
    from shoal.plan.slots import Slots
    from shoal.plan.stages import From, Input, Stage

    IndexContent = Mapping[str, Any]
    Wildcards = Mapping[str, str]


def outputs(
    layout: Layout, stage: Stage, wildcards: Wildcards, index: IndexContent | None = None
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
    folder = _place(layout, stage) / stage.folder.format_map(values)
    return {
        name: folder / file.format_map(values)
        for name, file in stage.outputs.items()
        if layout.goes_on or name not in stage.carried
    }


def inputs(
    layout: Layout, stage: Stage, wildcards: Wildcards, index: IndexContent | None = None
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
    layout: Layout, stage: Stage, wildcards: Wildcards, index: IndexContent | None = None
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


def is_list(stage: Stage, each: Input) -> bool:
    """Whether an input of a stage may be any number of files."""
    if len(each.origins) > 1 or each.probes:
        return True
    (origin,) = each.origins
    source = STAGES[origin.stage]
    expands = set(source.keys) - set(stage.keys) or source.place == "variant" != stage.place
    return bool(expands) or origin.steps != "all" or origin.at_fit


def jobs_of(
    layout: Layout, stage: Stage, index: IndexContent | None = None, **given: str
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
    elif stage.per == "shard":
        shards = (given["shard"],) if "shard" in given else layout.shards
        yield from ({"shard": shard} for shard in shards)
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
    layout: Layout, index: IndexContent | None, given: Wildcards
) -> Iterator[tuple[str, str]]:
    """Digests of training and validation rows of the partitions that have a specialist."""
    if "digest" in given:
        yield given["digest"], given.get("validation", "")
    else:
        for entry in layout.specialised(index or {"partitions": []}):
            yield entry["specialist"], entry["digests"]["validation"]


def _paths(
    layout: Layout,
    stage: Stage,
    each: Input,
    wildcards: Wildcards,
    index: IndexContent | None,
) -> list[Path]:
    if each.probes and not layout.probed:
        return []
    return [
        path for origin in each.origins for path in _from(layout, stage, origin, wildcards, index)
    ]


def _from(
    layout: Layout, stage: Stage, origin: From, wildcards: Wildcards, index: IndexContent | None
) -> Iterator[Path]:
    """An output of the jobs of a stage that agree with a job in what both are about."""
    source = STAGES[origin.stage]
    if origin.at_fit:
        yield from _at_fit(layout, source, origin.output)
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
    index: IndexContent | None,
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
    shards = fitted_on(outputs(layout, STAGES["cluster_fit"], {})["ledger"])
    path = layout.index_of(settings_id(layout.made["cluster"], shards))
    index = dict(read_made(path, PartitionIndex)) if path.exists() else None
    if source.per == "shard":
        found = [outputs(layout, source, {"shard": shard}) for shard in shards]
    else:
        found = [outputs(layout, source, job, index) for job in jobs_of(layout, source, index)]
    yield from (each[output] for each in found if each[output].exists())


def fitted_on(record: Path) -> list[str]:
    """Shards whose rows a fit was made from, in order; empty while it is not made.

    Args:
        record: The JSON file that the fit leaves.
    """
    if not record.exists():
        return []
    files = map(Path, read_made(record, Artifact).get(MADE_FROM, {}).get("files", {}))
    # Beside rows …/rows/ID/SHARD.SUFFIX it may have been fitted from the base.
    return sorted({file.name.split(".")[0] for file in files if file.parent.parent.name == "rows"})


@functools.cache
def _wildcards(name: str) -> tuple[str, ...]:
    """Wildcards below the place of a stage."""
    stage = STAGES[name]
    found = [stage.folder, *stage.outputs.values()]
    parsed = (part for text in found for part in string.Formatter().parse(text))
    return tuple(dict.fromkeys(name for _, name, _, _ in parsed if name))


def _place(layout: Layout, stage: Stage) -> Path:
    if stage.place == "generation":
        return layout.folder
    return Path(layout.home if stage.place == "variant" else layout.root)


def _value(
    name: str,
    layout: Layout,
    stage: Stage,
    wildcards: Wildcards,
    index: IndexContent | None,
) -> str:
    """Value of a wildcard that is no key of its stage: an identity, or digests of rows."""
    if name == "root":
        return layout.root_of(index or {}, stage.root)
    if name == "basis":
        return layout.basis_of(index or {})
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
