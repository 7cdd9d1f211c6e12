"""Settings: composed by Hydra from ``config/``, validated here, frozen."""

from __future__ import annotations

from typing import Any

from pydantic import (
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    field_validator,
    model_validator,
)

from shoal.formats.scores import SCORES, scores_of
from shoal.settings.data import Encode, Sources, Split, Transform
from shoal.settings.deploying import Deploy, Sparse
from shoal.settings.discovery import Cluster, Embed
from shoal.settings.learning import LOSSES, Evaluate, Gate, Loss, Model, Router, Training
from shoal.settings.nodes import Nodes
from shoal.settings.running import Changes, Continuing, Packing, Store
from shoal.settings.search import Range, Search, space_size
from shoal.settings.section import Section, Seed, parse

__all__ = ["Section", "Settings", "parse"]


class Compute(Section):
    """Resources of a job."""

    threads: PositiveInt = Field(description="CPU threads of each job; the bits depend on it")
    checkpoint_seconds: NonNegativeFloat = Field(
        description="time between two checkpoints of a training; no result depends on it"
    )
    memory: int = Field(
        ge=250_000_000,
        description="bytes that a job which reads, encodes or groups rows may hold; what it holds "
        "at a time follows from it, no result does",
    )


class Intermediates(Section):
    """Keeping of layer activations. No result depends on it."""

    budget: NonNegativeInt = Field(
        description="bytes that `shoal intermediates keep` may fill, unless it is told others"
    )


class Settings(Section):
    """All settings of an experiment."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    name: str = Field(
        pattern=r"^[A-Za-z0-9_-]+$",
        max_length=100,
        description="the experiment; names its folder",
    )
    seed: Seed = Field(description="the seed that stages take unless they set their own")
    generation: PositiveInt | None = Field(
        description="number of the generation of fitted state; null: the newest there is"
    )
    sources: Sources
    split: Split
    transform: Transform
    encode: Encode
    embed: Embed
    cluster: Cluster
    model: Model
    train_specialists: Training
    grid: dict[str, list[Any] | Range] = Field(
        description="hyperparameter grid: names in train_specialists, or model.ARGUMENT"
    )
    search: Search
    train_router: Router
    gate: Gate
    evaluate: Evaluate
    changes: Changes
    continuing: Continuing
    nodes: Nodes
    packing: Packing
    store: Store
    deploy: Deploy
    compute: Compute
    intermediates: Intermediates

    @field_validator("grid", mode="before")
    @classmethod
    def _ranges(cls, grid: Any) -> Any:  # noqa: ANN401 - any plain value
        # Otherwise a wrong range would be reported as what is not a list.
        return {
            name: parse(Range, values, f"grid.{name}") if isinstance(values, dict) else values
            for name, values in grid.items()
        }

    @model_validator(mode="after")
    def _proposed_points_are_not_halved(self) -> Settings:
        if self.search.grid.batches(space_size(self.grid)) and self.search.halving.rungs > 1:
            sampler = self.search.grid.sampler
            raise ValueError(
                f"search.halving.rungs: {sampler} learns from whole trainings, so points that it "
                f"proposes are not halved; set it to 1, or search.grid.sampler to sobol"
            )
        return self

    @model_validator(mode="after")
    def _trainings_that_stop_are_not_halved(self) -> Settings:
        if self.train_specialists.patience is not None and self.search.halving.rungs > 1:
            raise ValueError(
                "train_specialists.patience: a training that stops early has no part of its steps "
                "to compare points after; set it to null, or search.halving.rungs to 1"
            )
        return self

    @model_validator(mode="after")
    def _mixes_are_two(self) -> Settings:
        if self.continuing.method == "auto":
            if not self.continuing.history:
                raise ValueError(
                    "continuing.history: auto compares it with new rows alone, which 0 is; give "
                    "more, or set continuing.method to proactive"
                )
            if self.changes.baselines == "current":
                raise ValueError(
                    "changes.baselines: auto compares by a generalist that continues, and current "
                    "ones are trained from the base; set it to generation"
                )
        return self

    @model_validator(mode="after")
    def _models_that_start_from_copies_continue(self) -> Settings:
        deploy = self.deploy
        if isinstance(deploy, Sparse) and deploy.choice == "mask" and deploy.train_on == "trained":
            raise ValueError(
                "deploy.choice: a second training starts from what is deployed; set "
                "deploy.train_on to deployed, or this to top"
            )
        if getattr(deploy, "train_on", "trained") == "deployed":
            if self.continuing.method == "none":
                raise ValueError(
                    "deploy.train_on: only models that continue start from what is deployed; set "
                    "continuing.method to proactive or auto, or this to trained"
                )
            if self.continuing.buffers != "frozen":
                raise ValueError(
                    "continuing.buffers: statistics of normalisation that training follows are "
                    "not those of what is deployed; set it to frozen, or deploy.train_on to trained"
                )
        return self

    @model_validator(mode="after")
    def _one_budget(self) -> Settings:
        own = self.train_specialists
        if own.flops is not None and own.epochs is not None:
            raise ValueError("train_specialists.flops: epochs are given too; set one of them null")
        return self

    @model_validator(mode="after")
    def _classes_are_not_in_the_grid(self) -> Settings:
        for name in ("schedule", "loss", "class_weights"):
            varied = self.grid.get(name, [])
            if isinstance(varied, list) and any(isinstance(each, dict) for each in varied):
                raise ValueError(
                    f"grid.{name}: only what has a name can be compared; set it by a mapping as "
                    f"train_specialists.{name}"
                )
        return self

    @model_validator(mode="after")
    def _losses_are_of_the_task(self) -> Settings:
        own = self.train_specialists
        asked = {"train_specialists.loss": [own.loss]}
        varied = self.grid.get("loss", [])
        asked["grid.loss"] = varied if isinstance(varied, list) else []
        if own.class_weights is not None:
            asked["train_specialists.class_weights"] = ["cross_entropy"]
            if own.loss not in ("auto", "cross_entropy"):
                raise ValueError(
                    "train_specialists.class_weights: they are of cross_entropy; a loss by "
                    "_target_ takes weights as its own arguments"
                )
        if isinstance(own.loss, Loss) and self.sources.task == "own":
            raise ValueError(
                "train_specialists.loss: where sources.task is own the model says its loss, by "
                "row_losses"
            )
        for name, losses in asked.items():
            for loss in losses:
                task = LOSSES.get(str(loss), self.sources.task)
                if task != self.sources.task:
                    raise ValueError(
                        f"{name}: {loss!r} is a loss of {task}, but sources.task is "
                        f"{self.sources.task}"
                    )
        return self

    @model_validator(mode="after")
    def _score_is_of_the_task(self) -> Settings:
        metric, known = self.evaluate.metric, scores_of(self.sources.task)
        if metric not in ("auto", *known):
            raise ValueError(
                f"evaluate.metric: {metric!r} is no score of sources.task {self.sources.task}; "
                f"its scores: {', '.join(known)}"
            )
        return self

    @model_validator(mode="after")
    def _further_scores_have_names_of_their_own(self) -> Settings:
        for name in self.evaluate.scores:
            if name in SCORES:
                raise ValueError(f"evaluate.scores.{name}: a score of this name is there already")
        return self

    @model_validator(mode="after")
    def _labels_are_of_the_task(self) -> Settings:
        if self.sources.task == "own":
            if self.sources.shuffle_labels:
                raise ValueError(
                    "sources.shuffle_labels: where sources.task is own there is no answer at "
                    "chance to compare with"
                )
            if self.split.method == "stratified":
                raise ValueError(
                    "split.method: 'stratified' needs one label, and sources.task is own; choose "
                    "random or hash"
                )
        return self

    @model_validator(mode="after")
    def _groups_share_a_route(self) -> Settings:
        column = self.cluster.route_by
        if column is not None and self.sources.columns.get(column) != "group":
            raise ValueError(
                f"cluster.route_by: {column!r} is not declared a group; give it the kind group in "
                f"sources.columns, so that its rows also share a fold"
            )
        return self

    @model_validator(mode="after")
    def _partition_does_not_see_the_label(self) -> Settings:
        column = getattr(self.cluster, "column", None)
        if column is not None and self.sources.columns.get(column) == "label":
            raise ValueError(f"cluster.column is the label, {column!r}: new rows would not have it")
        return self
