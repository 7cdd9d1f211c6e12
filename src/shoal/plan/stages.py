"""The stages of the workflow: one description each, in order, that all others are derived from.

A stage is a rule of the workflow. Its description says what one job is about, where its outputs
lie, which outputs of other stages it takes, and what enters its identity. Paths, jobs and inputs
follow by :mod:`shoal.plan.paths`, which knows of no stage by name.

Not described are the files that are no stage's output: source files, the records beside what is
published, and the members of a pack.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shoal.settings import Settings
    from shoal.settings.nodes import Need

Per = Literal[
    "",
    "shard",
    "growth",
    "step",
    "slot",
    "pack",
    "partition",
    "previous",
    "variants",
    "copy",
    "patch",
]
"""Subject of one job; a step, and its slots, are of the search of a partition.

Jobs per growth are those by which the assigner in use has grown, the first one first. Jobs per
``variants`` are of several variants, all others of one.

A job per ``previous`` is of the release before, where that is asked about rows that arrived.

A job per ``copy`` is of the copy that a channel for devices makes of a pool, one per ``patch`` of
an earlier copy that it brings to that; both are there where there is a channel.

Jobs per partition are of each one of the index, with a specialist or without, and of the rows of no
partition where there are some.
"""

Root = Literal["fit", "all"]
"""Digest over all partitions: of the rows that fits see, or of all."""

Steps = Literal["all", "before", "compared", "last"]
"""Which steps of a search an input is of: all, the one before the job's, those whose slots a
decision compares (the last one, where the job is of none), or the last one."""

KEYS: Mapping[Per, tuple[str, ...]] = {
    "": (),
    "shard": ("shard",),
    "growth": ("grown_id",),
    "step": ("digest", "step", "validation"),
    "slot": ("digest", "step", "slot"),
    "pack": ("pack",),
    "partition": ("partition", "rows"),
    "previous": ("previous", "arrived_id"),
    "variants": (),
    "copy": ("after",),
    "patch": ("after", "from_copy"),
}
"""Wildcards that tell one job of a stage from another."""


class From(NamedTuple):
    """An output of a stage: of its one job that is about the same, or of all of them.

    A job about a shard takes that shard's output of a stage that has one per shard; a job about
    everything takes those of all shards. So it is with partitions, steps and slots.

    Attributes:
        stage: Name of the stage.
        output: Name of its output.
        steps: Of which steps of a search.
        at_fit: Whether it is that of the rows which the assigner was fitted on, where it is kept.
        or_grown: Whether it is that of the last growth, where the assigner has grown.
    """

    stage: str
    output: str
    steps: Steps = "all"
    at_fit: bool = False
    or_grown: bool = False


@dataclass(frozen=True)
class Input:
    """Files that a job takes.

    Attributes:
        origins: Which outputs they are.
        recorded: Whether the job's outputs record their hashes.
        awaited: Whether the job waits for them; others are there when those are that it waits for.
        probes: Whether it takes them only where the assigner is fitted by probes.
        rivals: Whether it takes them only where a choice is made among variants.
    """

    origins: tuple[From, ...]
    recorded: bool = True
    awaited: bool = True
    probes: bool = False
    rivals: bool = False


@dataclass(frozen=True, eq=False)
class Stage:
    """A rule of the workflow.

    Attributes:
        name: Name of the rule.
        per: What one job is about.
        identity: Name of its identity among the layout's ``fits`` where it is frozen, else
            among those ``made``.
        folder: Folder of its outputs, below ``place``.
        outputs: File of each output in that folder, by name.
        inputs: What it takes, by name.
        settings: Sections of the settings that it reads.
        code: Module, below ``shoal``, whose digest enters its identity; None where the code is
            that of a stage which its identity is made from.
        need: Class of node that its jobs need; a function where settings decide. None for a rule
            that runs where Snakemake does.
        frozen: Whether its outputs are part of a generation, and are made once in it.
        root: Which digest over all partitions its path has: of the rows that fits see, or of all.
        command: Module, below ``shoal``, of its command, where that is not ``code``.
        ledger: Output that says what the job cost, if it has that output.
        unrecorded: Outputs that do not say what they were made from.
        carried: Outputs that there are only where a later step goes on from them.
        in_turn: Stage of which a job does several jobs, one after the other: it takes what these
            take.
        place: Whether it lies in the generation's folder, in that of what is published of the
            variant, or in the experiment's.
    """

    name: str
    per: Per
    identity: str
    folder: str
    outputs: Mapping[str, str]
    inputs: Mapping[str, Input] = field(default_factory=dict)
    settings: tuple[str, ...] = ()
    code: str | None = None
    need: Need | Callable[[Settings], Need] | None = "light"
    frozen: bool = False
    root: Root = "fit"
    command: str | None = None
    ledger: str = "ledger"
    unrecorded: tuple[str, ...] = ()
    carried: tuple[str, ...] = ()
    in_turn: str = ""
    place: Literal["generation", "variant", "experiment"] = "generation"

    @property
    def ancient(self) -> bool:
        """Whether Snakemake is to ignore how old its inputs are: an output that exists is right."""
        return not self.frozen

    @property
    def keys(self) -> tuple[str, ...]:
        """Wildcards that tell its jobs from each other."""
        return KEYS[self.per]

    @property
    def asks_index(self) -> bool:
        """Whether what its jobs take depends on the partition index, if it comes after that."""
        return self.per in ("", "partition", "copy", "patch")

    @property
    def record(self) -> str | None:
        """Output that is read for what a job was made from: a JSON file, where there is one."""
        told = [name for name in self.outputs if name not in self.unrecorded]
        return min(told, key=lambda name: not self.outputs[name].endswith(".json"), default=None)

    @property
    def has_own_folder(self) -> bool:
        """Whether all files of a job, and no other's, lie in a folder, which is called by them."""
        return self.identity != "baselines" and not any("{" in f for f in self.outputs.values())

    @property
    def module(self) -> str:
        """Module, below ``shoal``, of its command."""
        return self.command or self.code or ""

    def pattern(self, output: str) -> str:
        """Path of an output, with wildcards, as its rule says it."""
        return f"{_PLACES[self.place]}{self.folder}/{self.outputs[output]}"


_PLACES = {
    "generation": "results/{experiment}/{generation}/",
    "variant": "results/{experiment}{variant}/",
    "experiment": "results/{experiment}/",
}


def _made_of(stage: str, output: str, steps: Steps = "all") -> Input:
    """An input whose hash is recorded."""
    return Input((From(stage, output, steps),))


def _awaited(stage: str, output: str, steps: Steps = "all") -> Input:
    """An input that is waited for, and that the identity of the job stands for."""
    return Input((From(stage, output, steps),), recorded=False)


def _read(*origins: From) -> Input:
    """An input that is there because others are."""
    return Input(origins, recorded=False, awaited=False)


def _embed_need(settings: Settings) -> Need:
    """A network trains on GPUs, the rest does not."""
    return "large" if settings.embed.method in ("scarf", "vicreg") else "cores"


def _cluster_need(settings: Settings) -> Need:
    """Probes train on a GPU."""
    return "gpu" if settings.cluster.trains_probes else "cores"


_COLUMNS = _made_of("split_fit", "columns")
_SHAPES = _made_of("encode_fit", "shapes")
_BASE = _made_of("base_fit", "base")
_ASSIGNER = Input((From("cluster_fit", "assigner", or_grown=True),))
_EMBEDDER = _made_of("embed_fit", "embedder")
_GENERALIST = _made_of("evaluate_generalist", "model")
_USUAL = _made_of("evaluate_random", "usual")
_INDEX = _read(From("partition", "index"))
_CHOICES = _awaited("train_choose", "choice", "last")
_CANDIDATES = _made_of("train_specialist", "model", "compared")
"""Weights among which a partition's specialist is chosen."""

_FITS = _read(From("embed_fit", "ledger"), From("cluster_fit", "ledger"))
"""Of a budget in FLOPs they say what is left for specialists."""

_POOL_LEDGERS = Input(
    (
        From("embed_fit", "ledger"),
        From("cluster_fit", "ledger"),
        From("cluster_grow", "ledger"),
        From("base_fit", "ledger"),
        From("train_specialist", "ledger"),
        From("train_choose", "choice"),
        From("train_router", "ledger"),
    ),
    recorded=False,
)
"""Ledgers of all that the pool's making takes, the gate aside."""

_TRAINS = ("model", "train_specialists", "grid", "search", "compute")

_ALL = (
    Stage(
        "split_fit",
        per="",
        identity="split",
        folder="split/{split_id}",
        outputs={"columns": "columns.json", "folds": "folds.safetensors"},
        settings=("sources", "split"),
        code="split.command",
        frozen=True,
    ),
    Stage(
        "split",
        per="shard",
        identity="split",
        folder="split/{split_id}/rows/{rows_id}",
        outputs={
            "table": "{shard}.parquet",
            "facts": "check/{shard}.safetensors",
            "sample": "check/{shard}.parquet",
        },
        inputs={"columns": _COLUMNS, "folds": _made_of("split_fit", "folds")},
        settings=("sources", "split"),
        code="split.command",
    ),
    Stage(
        "split_check",
        per="",
        identity="check",
        folder="split/{split_id}/checks",
        outputs={"check": "{check_id}.json"},
        inputs={
            "tables": _made_of("split", "table"),
            "facts": _made_of("split", "facts"),
            "samples": _made_of("split", "sample"),
            "columns": _COLUMNS,
        },
        settings=("split", "cluster"),
        command="split.command",
    ),
    Stage(
        "transform_fit",
        per="",
        identity="transform",
        folder="transform/{transform_id}",
        outputs={"state": "state.json"},
        inputs={
            "tables": _made_of("split", "table"),
            "check": _awaited("split_check", "check"),
            "columns": _COLUMNS,
        },
        settings=("transform",),
        code="transform.command",
        frozen=True,
    ),
    Stage(
        "transform",
        per="shard",
        identity="transform",
        folder="transform/{transform_id}/rows/{rows_id}",
        outputs={"table": "{shard}.parquet"},
        inputs={"table": _made_of("split", "table"), "state": _made_of("transform_fit", "state")},
        code="transform.command",
    ),
    Stage(
        "encode_fit",
        per="",
        identity="encode",
        folder="encode/{encode_id}",
        outputs={"encoder": "encoder.safetensors", "shapes": "shapes.json"},
        inputs={"tables": _made_of("transform", "table"), "columns": _COLUMNS},
        settings=("encode", "compute"),
        code="encode.command",
        frozen=True,
        unrecorded=("encoder",),
    ),
    Stage(
        "encode",
        per="shard",
        identity="encode",
        folder="encode/{encode_id}/rows/{rows_id}",
        outputs={"rows": "{shard}.zarr.zip"},
        inputs={
            "table": _made_of("transform", "table"),
            "encoder": _made_of("encode_fit", "encoder"),
            "shapes": _SHAPES,
        },
        settings=("compute",),
        code="encode.command",
    ),
    Stage(
        "base_fit",
        per="",
        identity="base",
        folder="base/{base_id}",
        outputs={"base": "base.safetensors", "ledger": "ledger.json"},
        inputs={"rows": _made_of("encode", "rows"), "shapes": _SHAPES},
        settings=("model", "train_specialists", "compute"),
        code="train_specialists.command",
        need="large",
        frozen=True,
    ),
    Stage(
        "embed_fit",
        per="",
        identity="embed",
        folder="embed/{embed_id}",
        outputs={"embedder": "embedder.safetensors", "ledger": "ledger.json"},
        inputs={"rows": _made_of("encode", "rows"), "shapes": _SHAPES},
        settings=("embed", "compute"),
        code="embed.command",
        need=_embed_need,
        frozen=True,
    ),
    Stage(
        "cluster_fit",
        per="",
        identity="cluster",
        folder="cluster/{cluster_id}",
        outputs={"assigner": "assigner.safetensors", "ledger": "ledger.json"},
        inputs={
            "embedder": _EMBEDDER,
            "rows": _made_of("encode", "rows"),
            "tables": _made_of("transform", "table"),
            "base": Input((From("base_fit", "base"),), probes=True),
            "shapes": Input((From("encode_fit", "shapes"),), probes=True),
        },
        settings=("cluster", "model", "train_specialists", "compute"),
        code="cluster.command",
        need=_cluster_need,
        frozen=True,
    ),
    Stage(
        "cluster_grow",
        per="growth",
        identity="grown",
        folder="cluster/{cluster_id}/grown/{grown_id}",
        outputs={"assigner": "assigner.safetensors", "ledger": "ledger.json"},
        inputs={
            "embedder": _EMBEDDER,
            "rows": _made_of("encode", "rows"),
            "assigner": _ASSIGNER,
            "basis": _read(From("assign", "rows", at_fit=True)),
        },
        settings=("cluster", "compute"),
        code="cluster.grow_command",
        need="cores",
        frozen=True,
    ),
    Stage(
        "assign",
        per="shard",
        identity="cluster",
        folder="cluster/{cluster_id}",
        outputs={
            "rows": "rows/{rows_id}/{shard}.zarr.zip",
            "summary": "summary/{rows_id}/{shard}.json",
            "distances": "distances/{rows_id}/{shard}.safetensors",
        },
        inputs={
            "embedder": _EMBEDDER,
            "rows": _made_of("encode", "rows"),
            "table": _made_of("transform", "table"),
            "assigner": _ASSIGNER,
        },
        settings=("compute", "cluster"),
        code="cluster.command",
    ),
    Stage(
        "partition",
        per="",
        identity="index",
        folder="cluster/{cluster_id}/indexes/{index_id}",
        outputs={"index": "index.json"},
        inputs={
            "summaries": _made_of("assign", "summary"),
            "check": _made_of("split_check", "check"),
            "assigner": _ASSIGNER,
        },
        settings=("cluster", "train_specialists", "changes", "continuing"),
        need=None,
        command="cluster.command",
    ),
    Stage(
        "train_specialist",
        per="slot",
        identity="specialists",
        folder="specialists/{specialists_id}/{digest}/{step}/{slot}",
        outputs={
            "model": "model.safetensors",
            "ledger": "ledger.json",
            "state": "state.safetensors",
        },
        inputs={
            "decision": _awaited("train_choose", "choice", "before"),
            "states": _made_of("train_specialist", "state", "before"),
            "base": _BASE,
            "shapes": _SHAPES,
            "fits": _FITS,
            "index": _INDEX,
        },
        settings=_TRAINS,
        code="train_specialists.command",
        need="gpu",
        carried=("state",),
        command="train_specialists.pack_command",
    ),
    Stage(
        "train_pack",
        per="pack",
        identity="specialists",
        folder="packs/{specialists_id}",
        outputs={"status": "{pack}.json"},
        inputs={
            "before": _awaited("train_choose", "choice", "before"),
            "base": _BASE,
            "shapes": _SHAPES,
            "fits": _FITS,
            "index": _INDEX,
        },
        settings=_TRAINS,
        need="gpu",
        unrecorded=("status",),
        command="train_specialists.pack_command",
    ),
    Stage(
        "train_choose",
        per="step",
        identity="choices",
        folder="choices/{choices_id}/{digest}/{step}",
        outputs={"choice": "{validation}.json"},
        inputs={"specialists": _CANDIDATES, "base": _BASE, "shapes": _SHAPES, "index": _INDEX},
        settings=("model", "grid", "search", "compute"),
        code="train_specialists.choose",
        ledger="choice",
    ),
    Stage(
        "choose_pack",
        per="pack",
        identity="choices",
        folder="choose_packs/{choices_id}",
        outputs={"status": "{pack}.json"},
        settings=("compute",),
        unrecorded=("status",),
        in_turn="train_choose",
        command="training.in_turn",
    ),
    Stage(
        "train_router",
        per="",
        identity="router",
        folder="router/{router_id}/{root}",
        outputs={"router": "router.safetensors", "ledger": "ledger.json"},
        inputs={
            "choices": _CHOICES,
            "specialists": _CANDIDATES,
            "assigner": _ASSIGNER,
            "embedder": _EMBEDDER,
            "shapes": _SHAPES,
            "index": _INDEX,
            "distances": _read(From("assign", "distances")),
        },
        settings=("train_router", "model", "cluster", "compute"),
        code="train_router.command",
        need="cores",
    ),
    Stage(
        "evaluate_generalist",
        per="",
        identity="baselines",
        folder="baselines/{baselines_id}/{link}",
        outputs={"model": "generalist.safetensors", "ledger": "generalist.json"},
        inputs={
            "rows": _made_of("encode", "rows"),
            "index": _awaited("partition", "index"),
            "base": _BASE,
            "shapes": _SHAPES,
            "fits": _FITS,
            "ledgers": _POOL_LEDGERS,
        },
        settings=_TRAINS,
        code="evaluate.command",
        need="large",
        frozen=True,
    ),
    Stage(
        "evaluate_random",
        per="",
        identity="baselines",
        folder="baselines/{baselines_id}/{basis}",
        outputs={
            "models": "random.safetensors",
            "usual": "usual.safetensors",
            "ledger": "random.json",
        },
        inputs={
            "rows": _made_of("encode", "rows"),
            "index": _awaited("partition", "index"),
            "base": _BASE,
            "shapes": _SHAPES,
            "fits": _FITS,
            "base_ledger": _awaited("base_fit", "ledger"),
            "columns": _COLUMNS,
        },
        settings=(*_TRAINS, "evaluate"),
        code="evaluate.command",
        need="gpu",
        frozen=True,
    ),
    Stage(
        "ask",
        per="partition",
        identity="ask",
        folder="ask/{ask_id}/{partition}/{rows}",
        outputs={
            "validation": "validation.safetensors",
            "test": "test.safetensors",
            "ledger": "ledger.json",
        },
        inputs={
            "choices": _CHOICES,
            "specialists": _CANDIDATES,
            "generalist": _GENERALIST,
            "random": _made_of("evaluate_random", "models"),
            "usual": _USUAL,
            "base": _BASE,
            "embedder": _EMBEDDER,
            "shapes": _SHAPES,
            "index": _INDEX,
        },
        settings=("model", "cluster", "compute"),
        code="ask.command",
        need="cores",
    ),
    Stage(
        "ask_pack",
        per="pack",
        identity="ask",
        folder="ask_packs/{ask_id}",
        outputs={"status": "{pack}.json"},
        settings=("compute",),
        need="cores",
        unrecorded=("status",),
        in_turn="ask",
        command="training.in_turn",
    ),
    Stage(
        "gate",
        per="",
        identity="gate",
        folder="gate/{gate_id}",
        outputs={"gate": "{root}.json"},
        inputs={
            # Their paths know test rows, the gate's does not: it records what they are made from.
            "asked": _awaited("ask", "validation"),
            "choices": _CHOICES,
            "specialists": _CANDIDATES,
            "generalist": _GENERALIST,
            "base": _BASE,
            "assigner": _ASSIGNER,
            "shapes": _SHAPES,
            "index": _INDEX,
        },
        settings=("gate", "train_router", "model", "compute"),
        code="gate.command",
        need="cores",
        ledger="gate",
    ),
    Stage(
        "pool",
        per="",
        identity="pool",
        folder="pool/{pool_id}/{root}",
        outputs={"manifest": "manifest.json"},
        inputs={
            "router": _made_of("train_router", "router"),
            "ledgers": _POOL_LEDGERS,
            "choices": _CHOICES,
            "specialists": _CANDIDATES,
            "columns": _COLUMNS,
            "transform": _made_of("transform_fit", "state"),
            "encoder": _made_of("encode_fit", "encoder"),
            "shapes": _SHAPES,
            "embedder": _EMBEDDER,
            "base": _BASE,
            "gate": _made_of("gate", "gate"),
            "generalist": _GENERALIST,
            "index": _INDEX,
        },
        code="pool.command",
    ),
    Stage(
        "drift_sample",
        per="",
        identity="sample",
        folder="drift/samples",
        outputs={"sample": "{sample_id}.safetensors"},
        inputs={
            "assigner": _ASSIGNER,
            "embedder": _EMBEDDER,
            "assigned": _awaited("assign", "summary"),
            "basis": _read(From("assign", "rows", at_fit=True)),
        },
        settings=("changes",),
        code="evaluate.drift_command",
    ),
    Stage(
        "evaluate_drift",
        per="",
        identity="drift",
        folder="drift/{drift_id}",
        outputs={"drift": "{root}.json"},
        inputs={
            "router": _made_of("train_router", "router"),
            "embedder": _EMBEDDER,
            "sample": _made_of("drift_sample", "sample"),
            "choices": _CHOICES,
            "index": _INDEX,
            "basis": _read(From("assign", "rows", at_fit=True)),
            "choices_before": _read(From("train_choose", "choice", "last", at_fit=True)),
        },
        settings=("changes",),
        code="evaluate.drift_command",
        root="all",
    ),
    Stage(
        "evaluate_prequential",
        per="previous",
        identity="prequential",
        folder="prequential/{prequential_id}/{previous}/{arrived_id}",
        outputs={"scores": "{index_id}.json"},
        inputs={"tables": _awaited("split", "table")},
        settings=("evaluate", "compute"),
        code="evaluate.prequential",
        need="cores",
    ),
    Stage(
        "choose_variant",
        per="variants",
        identity="chosen",
        folder="chosen",
        outputs={"choice": "{chosen_id}.json"},
        inputs={"gates": _made_of("gate", "gate")},
        code="evaluate.choose",
        need=None,
    ),
    Stage(
        "evaluate",
        per="",
        identity="evaluate",
        folder="evaluate/{evaluate_id}/{root}",
        outputs={
            "metrics": "metrics.json",
            "report": "report.html",
            "predictions": "predictions.parquet",
        },
        inputs={
            "pool": _made_of("pool", "manifest"),
            "ledgers": _POOL_LEDGERS,
            "choices": _CHOICES,
            "gate": _awaited("gate", "gate"),
            "chosen": Input((From("choose_variant", "choice"),), rivals=True),
            "asked": _made_of("ask", "test"),
            "generalist": _GENERALIST,
            "generalist_ledger": _awaited("evaluate_generalist", "ledger"),
            "random": _made_of("evaluate_random", "models"),
            "random_ledger": _awaited("evaluate_random", "ledger"),
            "usual": _USUAL,
            "index": _INDEX,
            "tables": _read(From("transform", "table")),
            "check": _read(From("split_check", "check")),
        },
        settings=("evaluate", "compute"),
        code="evaluate.judge",
        need="cores",
        root="all",
        unrecorded=("report", "predictions"),
    ),
    Stage(
        "deploy_copy",
        per="copy",
        identity="deploy",
        folder="deploy/{deploy_id}/{after}/{root}",
        outputs={"manifest": "copy/manifest.json", "record": "copy.json"},
        inputs={
            "pool": _made_of("pool", "manifest"),
            "tables": _awaited("split", "table"),
        },
        settings=("deploy", "evaluate", "continuing", "compute"),
        code="deploy.command",
        need="cores",
        unrecorded=("manifest",),
    ),
    Stage(
        "deploy_patch",
        per="patch",
        identity="patch",
        folder="deploy/{deploy_id}/{after}/{root}/patches/{patch_id}",
        outputs={"patch": "{from_copy}.patch"},
        inputs={"copy": _made_of("deploy_copy", "manifest")},
        code="deploy.patches",
        unrecorded=("patch",),
    ),
    Stage(
        "pool_publish",
        per="",
        identity="release",
        folder="published",
        outputs={"record": "{release}.json"},
        inputs={
            "manifest": _awaited("pool", "manifest"),
            "metrics": _awaited("evaluate", "metrics"),
            "report": _awaited("evaluate", "report"),
            "drift": _awaited("evaluate_drift", "drift"),
            "prequential": _awaited("evaluate_prequential", "scores"),
            "copy": _awaited("deploy_copy", "record"),
            "patches": _awaited("deploy_patch", "patch"),
        },
        settings=("changes",),
        need=None,
        place="variant",
        command="archive.publish",
        unrecorded=("record",),
    ),
    Stage(
        "answers",
        per="variants",
        identity="answers",
        folder="answers/published",
        outputs={"record": "{answers_id}.json"},
        inputs={"releases": _awaited("pool_publish", "record")},
        code="explore.answers.command",
        need=None,
        place="experiment",
        unrecorded=("record",),
    ),
)

STAGES: Mapping[str, Stage] = MappingProxyType({stage.name: stage for stage in _ALL})
"""Stages by name, each after those that its inputs come from; a search's steps take turns.

What is kept of the rows that the assigner was fitted on is from an earlier run, and has no turn.
"""

FITS = tuple(dict.fromkeys(stage.identity for stage in _ALL if stage.frozen))
"""Identities of what is frozen with a generation."""

INDEX = "partition"
"""The stage that says which partitions there are, and so which jobs the stages after it have."""

PACKS = tuple(stage for stage in _ALL if stage.per == "pack")
"""Stages of which a job does several jobs of another one."""

BEFORE_INDEX = tuple(itertools.takewhile(lambda stage: stage.name != INDEX, _ALL))
"""Stages whose jobs are known before anything has run."""

AFTER_INDEX = _ALL[len(BEFORE_INDEX) + 1 :]
