"""The stages of the workflow: one description each, in order, that all others are derived from.

A stage is a rule of the workflow. Its description says what one job is about, where its outputs
lie, which outputs of other stages it takes, and what enters its identity. Paths, jobs and inputs
follow by :mod:`shoal.plan.paths`, which knows of no stage by name.

Not described are the files that are no stage's output: source files, the records beside what is
published, and the members of a pack.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shoal.settings import Settings
    from shoal.settings.nodes import Need

Per = Literal["", "shard", "partition", "point", "step", "slot", "pack"]
"""What one job is about; a point, a step and a slot are of a partition."""

KEYS: Mapping[Per, tuple[str, ...]] = {
    "": (),
    "shard": ("shard",),
    "partition": ("digest", "validation"),
    "point": ("digest", "point"),
    "step": ("digest", "step", "validation"),
    "slot": ("digest", "step", "slot"),
    "pack": ("pack",),
}
"""Wildcards that tell one job of a stage from another; ``step`` has a name of the stage's own."""


class From(NamedTuple):
    """An output of a stage: of its one job that is about the same, or of all of them.

    A job about a shard takes that shard's output of a stage that has one per shard; a job about
    everything takes those of all shards. So it is with partitions, points, steps and slots.

    Attributes:
        stage: Name of the stage.
        output: Name of its output.
        step: Of a search's steps, which one's: the same, the one before, the last; else all.
        at_fit: Whether it is that of the rows which the assigner was fitted on, where it is kept.
    """

    stage: str
    output: str
    step: Literal["all", "same", "before", "last"] = "all"
    at_fit: bool = False


@dataclass(frozen=True)
class Input:
    """Files that a job takes.

    Attributes:
        origins: Which outputs they are.
        recorded: Whether the job's outputs record their hashes.
        awaited: Whether the job waits for them; others are there when those are that it waits for.
        probes: Whether it takes them only where the assigner is fitted by probes.
    """

    origins: tuple[From, ...]
    recorded: bool = True
    awaited: bool = True
    probes: bool = False


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
        step: Name of the wildcard that counts the steps of its search.
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
    root: Literal["fit", "all"] = "fit"
    step: str = "step"
    command: str | None = None
    place: Literal["generation", "variant", "experiment"] = "generation"

    @property
    def ancient(self) -> bool:
        """Whether Snakemake is to ignore how old its inputs are: an output that exists is right."""
        return not self.frozen

    @property
    def keys(self) -> tuple[str, ...]:
        """Wildcards that tell its jobs from each other."""
        return tuple(self.step if key == "step" else key for key in KEYS[self.per])

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


def _made_of(stage: str, output: str, step: Literal["all", "same", "before"] = "all") -> Input:
    """An input whose hash is recorded."""
    return Input((From(stage, output, step),))


def _awaited(stage: str, output: str, step: Literal["all", "same", "before"] = "all") -> Input:
    """An input that is waited for, and that the identity of the job stands for."""
    return Input((From(stage, output, step),), recorded=False)


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
_ASSIGNER = _made_of("cluster_fit", "assigner")
_EMBEDDER = _made_of("embed_fit", "embedder")
_GENERALIST = _made_of("evaluate_generalist", "model")
_INDEX = _read(From("partition", "index"))
_CHOICES = _awaited("train_choose", "choice")
_CANDIDATES = Input(
    (
        From("train_specialist", "model"),
        From("train_rung", "model", step="last"),
        From("train_trial", "model"),
    )
)
"""Weights among which a partition's specialist is chosen; a grid is searched in one way."""

_POOL_LEDGERS = Input(
    (
        From("embed_fit", "ledger"),
        From("cluster_fit", "ledger"),
        From("base_fit", "ledger"),
        From("train_specialist", "ledger"),
        From("train_rung", "ledger"),
        From("train_rank", "ranking"),
        From("train_propose", "proposals"),
        From("train_trial", "ledger"),
        From("train_choose", "choice"),
        From("train_router", "ledger"),
    ),
    recorded=False,
)
"""What everything costs that the pool's making takes, the gate aside."""

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
        outputs={"table": "{shard}.parquet"},
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
        inputs={"tables": _made_of("split", "table"), "columns": _COLUMNS},
        settings=("split",),
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
        outputs={"encoder": "encoder.skops", "shapes": "shapes.json"},
        inputs={"tables": _made_of("transform", "table"), "columns": _COLUMNS},
        settings=("encode", "compute"),
        code="encode.command",
        frozen=True,
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
        "embed",
        per="shard",
        identity="embed",
        folder="embed/{embed_id}/rows/{rows_id}",
        outputs={"embedding": "{shard}.zarr.zip"},
        inputs={"rows": _made_of("encode", "rows"), "embedder": _EMBEDDER},
        settings=("compute",),
        code="embed.apply",
    ),
    Stage(
        "cluster_fit",
        per="",
        identity="cluster",
        folder="cluster/{cluster_id}",
        outputs={"assigner": "assigner.safetensors", "ledger": "ledger.json"},
        inputs={
            "embeddings": _made_of("embed", "embedding"),
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
        "assign",
        per="shard",
        identity="cluster",
        folder="cluster/{cluster_id}",
        outputs={
            "rows": "rows/{rows_id}/{shard}.zarr.zip",
            "summary": "summary/{rows_id}/{shard}.json",
        },
        inputs={
            "embedding": _made_of("embed", "embedding"),
            "rows": _made_of("encode", "rows"),
            "table": _made_of("transform", "table"),
            "assigner": _ASSIGNER,
        },
        settings=("compute",),
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
        settings=("cluster", "changes"),
        need=None,
        command="cluster.command",
    ),
    Stage(
        "train_specialist",
        per="point",
        identity="specialists",
        folder="specialists/{specialists_id}/{digest}/{point}",
        outputs={"model": "model.safetensors", "ledger": "ledger.json"},
        inputs={"base": _BASE, "shapes": _SHAPES, "index": _INDEX},
        settings=_TRAINS,
        code="train_specialists.command",
        need="gpu",
    ),
    Stage(
        "train_pack",
        per="pack",
        identity="specialists",
        folder="packs/{specialists_id}",
        outputs={"status": "{pack}.json"},
        inputs={"base": _BASE, "shapes": _SHAPES, "index": _INDEX},
        settings=_TRAINS,
        need="gpu",
    ),
    Stage(
        "train_rung",
        per="slot",
        identity="rungs",
        folder="rungs/{rungs_id}/{digest}/{rung}/{slot}",
        outputs={
            "model": "model.safetensors",
            "state": "state.safetensors",
            "ledger": "ledger.json",
        },
        inputs={
            "ranking": _awaited("train_rank", "ranking", "before"),
            "begun": _made_of("train_rung", "state", "before"),
            "base": _BASE,
            "shapes": _SHAPES,
            "index": _INDEX,
        },
        settings=_TRAINS,
        code="train_specialists.rungs",
        need="gpu",
        step="rung",
    ),
    Stage(
        "train_rank",
        per="step",
        identity="choices",
        folder="rungs/{choices_id}/{digest}/{rung}",
        outputs={"ranking": "{validation}.json"},
        inputs={
            "specialists": _made_of("train_rung", "model", "same"),
            "base": _BASE,
            "shapes": _SHAPES,
            "index": _INDEX,
        },
        settings=("model", "compute"),
        step="rung",
    ),
    Stage(
        "train_propose",
        per="step",
        identity="proposals",
        folder="trials/{proposals_id}/{digest}/{batch}",
        outputs={"proposals": "{validation}.json"},
        inputs={
            "before": _made_of("train_propose", "proposals", "before"),
            "specialists": _made_of("train_trial", "model", "before"),
            "base": _BASE,
            "shapes": _SHAPES,
            "index": _INDEX,
        },
        settings=("model", "grid", "search", "compute"),
        code="train_specialists.proposals",
        step="batch",
    ),
    Stage(
        "train_trial",
        per="slot",
        identity="trials",
        folder="trials/{trials_id}/{digest}/{batch}/{slot}",
        outputs={"model": "model.safetensors", "ledger": "ledger.json"},
        inputs={
            "proposals": _awaited("train_propose", "proposals", "same"),
            "base": _BASE,
            "shapes": _SHAPES,
            "index": _INDEX,
        },
        settings=_TRAINS,
        need="gpu",
        step="batch",
    ),
    Stage(
        "train_choose",
        per="partition",
        identity="choices",
        folder="choices/{choices_id}/{digest}",
        outputs={"choice": "{validation}.json"},
        inputs={"specialists": _CANDIDATES, "base": _BASE, "shapes": _SHAPES, "index": _INDEX},
        settings=("model", "compute"),
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
        },
        settings=("train_router", "model", "compute"),
        code="train_router.command",
        need="cores",
    ),
    Stage(
        "evaluate_generalist",
        per="",
        identity="baselines",
        folder="baselines/{baselines_id}/{basis}",
        outputs={"model": "generalist.safetensors", "ledger": "generalist.json"},
        inputs={
            "rows": _made_of("encode", "rows"),
            "index": _awaited("partition", "index"),
            "base": _BASE,
            "shapes": _SHAPES,
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
        outputs={"models": "random.safetensors", "ledger": "random.json"},
        inputs={
            "rows": _made_of("encode", "rows"),
            "index": _awaited("partition", "index"),
            "base": _BASE,
            "shapes": _SHAPES,
            "base_ledger": _awaited("base_fit", "ledger"),
        },
        settings=(*_TRAINS, "evaluate"),
        code="evaluate.command",
        need="gpu",
        frozen=True,
    ),
    Stage(
        "gate",
        per="",
        identity="gate",
        folder="gate/{gate_id}",
        outputs={"gate": "{root}.json"},
        inputs={
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
        "evaluate_drift",
        per="",
        identity="drift",
        folder="drift/{drift_id}",
        outputs={"drift": "{root}.json"},
        inputs={
            "router": _made_of("train_router", "router"),
            "choices": _CHOICES,
            "index": _INDEX,
            "basis": _read(From("assign", "rows", at_fit=True)),
            "choices_before": _read(From("train_choose", "choice", at_fit=True)),
        },
        settings=("changes",),
        code="evaluate.drift_command",
        root="all",
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
            "generalist": _GENERALIST,
            "generalist_ledger": _awaited("evaluate_generalist", "ledger"),
            "random": _made_of("evaluate_random", "models"),
            "random_ledger": _awaited("evaluate_random", "ledger"),
            "index": _INDEX,
            "tables": _read(From("transform", "table")),
            "check": _read(From("split_check", "check")),
        },
        settings=("evaluate", "compute"),
        code="evaluate.judge",
        need="cores",
        root="all",
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
        },
        settings=("changes",),
        need=None,
        place="variant",
        command="archive.publish",
    ),
    Stage(
        "answers",
        per="",
        identity="answers",
        folder="answers/published",
        outputs={"record": "{answers_id}.json"},
        inputs={"releases": _awaited("pool_publish", "record")},
        code="explore.answers.command",
        need=None,
        place="experiment",
    ),
)

STAGES: Mapping[str, Stage] = MappingProxyType({stage.name: stage for stage in _ALL})
"""Stages by name, each after those that its inputs come from; a search's steps take turns."""

FITS = tuple(dict.fromkeys(stage.identity for stage in _ALL if stage.frozen))
"""Identities of what is frozen with a generation."""
