"""Settings of the model, training, router and evaluation."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt

from shoal.formats.kinds import Metric
from shoal.settings.section import Section, Seed

LOSSES = {"cross_entropy": "classification", "mse": "regression", "huber": "regression"}
"""The task that each loss is for."""


class Named(Section):
    """A class by its dotted path, and its arguments, passed as they stand."""

    model_config = ConfigDict(frozen=True, extra="allow")

    target: str = Field(alias="_target_", description="dotted path of the class")

    def arguments(self) -> dict[str, Any]:
        """The class's keyword arguments."""
        return dict(self.model_extra or {})


class Model(Named):
    """The user's model: a class and its arguments, passed as they stand."""

    files: list[str] = Field(
        default=[], description="data files that the class reads; their content is its identity too"
    )


class Schedule(Named):
    """A user's own scheduler of torch; its arguments are those beside the optimiser."""

    target: str = Field(
        alias="_target_", description="dotted path of a scheduler, which steps after each pass"
    )


class Loss(Named):
    """A loss by its class, of torch or the user's own, called with outputs and labels."""

    target: str = Field(
        alias="_target_", description="dotted path of a loss, a class derived from torch.nn.Module"
    )


class OwnScore(Named):
    """A score that is shown beside the task's own, such as one of torchmetrics."""

    target: str = Field(
        alias="_target_",
        description="dotted path of a class whose instances give a score of predictions and labels",
    )


class Training(Section):
    """How base, specialists and baselines are trained."""

    loss: Literal["auto", "cross_entropy", "mse", "huber"] | Loss = Field(
        description="loss of a plain module; auto: its own row_losses if it has them, else "
        "cross_entropy for classes, mse for numbers; or a class, `_target_` and its arguments"
    )
    class_weights: Literal["balanced"] | dict[str, PositiveFloat] | None = Field(
        description="what a row counts in cross_entropy, by its class, others 1; balanced: each "
        "class as much as any other; null: all rows alike"
    )
    lr: PositiveFloat = Field(description="learning rate of AdamW")
    schedule: Literal["cosine", "constant"] | Schedule = Field(
        description="how the rate goes: half a cosine down to zero, constant, or by a scheduler "
        "of torch, `_target_` and its arguments, that steps after each pass over the rows"
    )
    warm_up: float = Field(
        ge=0, lt=1, description="share of the steps over which the rate first rises from zero"
    )
    weight_decay: NonNegativeFloat = Field(description="weight decay of AdamW")
    epsilon: PositiveFloat = Field(
        description="what AdamW adds to the root of a gradient's mean square; weights whose "
        "gradients are far below it hardly move"
    )
    batch_size: PositiveInt = Field(description="rows per step")
    rows_seen: PositiveInt = Field(
        description="budget of base and one grid point's specialists together, repeats counted"
    )
    epochs: PositiveFloat | None = Field(
        description="passes of a specialist over its own rows, from which the budget follows in "
        "place of rows_seen; null: as many as rows_seen gives"
    )
    flops: PositiveFloat | None = Field(
        description="training FLOPs that making the pool may take, in place of rows_seen: base, "
        "embedding, clusters, routing, and specialists with what is left; null: as rows_seen gives"
    )
    patience: PositiveFloat | None = Field(
        description="passes without a better loss on validation rows after which a training "
        "stops; the best state is kept; null: none stops early"
    )
    base_share: float = Field(gt=0, lt=1, description="share of the budget for the base")
    buffer_rows: PositiveInt = Field(description="rows held in memory when streaming shards")
    seed: Seed = Field(description="seed of weights and order")

    @property
    def loss_json(self) -> list[Any]:
        """All that says which loss it is, as plain JSON values."""
        return list(self.model_dump(mode="json", include={"loss", "class_weights"}).values())

    @property
    def targets(self) -> list[str]:
        """Dotted paths of loss and scheduler, where settings name them so."""
        return [each.target for each in (self.loss, self.schedule) if isinstance(each, Named)]


class _Routing(Section):
    """Base of all routers."""

    top_k: PositiveInt = Field(description="specialists asked for one row")
    temperature: PositiveFloat = Field(description="softness of their weights")
    fallback_quantile: float = Field(
        gt=0, le=1, description="rows farther than this quantile of validation go to the base"
    )
    seed: Seed = Field(description="seed of the fit")


class NearestAtom(_Routing):
    """The partition of the nearest atom; at ``top_k: 1`` the two nearest, if validation says so."""

    method: Literal["nearest_atom"]


class _LossAware(_Routing):
    """Routers that learn from the specialists' losses, regularised to the nearest atom."""

    atom_weight: float = Field(
        ge=0, le=1, description="share of the nearest atom's partition in the target"
    )
    loss_temperature: PositiveFloat = Field(description="softness of the losses in the target")
    fit_rows: PositiveInt = Field(description="validation rows, at most, that are used")


class NearestNeighbours(_LossAware):
    """Mean target of the nearest validation rows."""

    method: Literal["knn"]
    neighbours: PositiveInt = Field(description="rows that vote")


class Classifier(_LossAware):
    """Multinomial logistic regression on the embedding."""

    method: Literal["classifier"]
    penalty: PositiveFloat = Field(description="inverse strength C of the L2 penalty")


Router = Annotated[NearestAtom | NearestNeighbours | Classifier, Field(discriminator="method")]


class Gate(Section):
    """How much of a row's answer is a specialist's, and how much the generalist's."""

    confidence: float = Field(
        ge=0.5,
        lt=1,
        description="of the tests by which specialists beat the generalist, and two of them one",
    )


class Evaluate(Section):
    """How the pool is judged on the test fold."""

    metric: Metric | Literal["auto"] = Field(
        default="auto",
        description="the score that decides the verdict; auto: accuracy for classes, rmse for "
        "numbers, loss of a model with its own",
    )
    scores: dict[str, OwnScore] = Field(
        default={},
        description="further scores to show, by name: a class, `_target_` and its arguments",
    )
    bootstrap: PositiveInt = Field(description="resamples of the paired bootstrap")
    calibration_bins: PositiveInt = Field(description="bins of the calibration error")
    map: Literal["pca", "umap"] = Field(description="how the report's partition map is drawn")
    map_rows: PositiveInt = Field(description="rows, at most, in the partition map")
    seed: Seed = Field(description="seed of resamples and random partitions")

    @property
    def targets(self) -> list[str]:
        """Dotted paths of further scores."""
        return [score.target for score in self.scores.values()]
