"""The usual models of tables, which a pool should beat: a linear model and boosted trees."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from shoal.ask.usual import BOOSTED, LINEAR, BoostedTrees, LinearModel
from shoal.formats.kinds import TRAIN, VALIDATION
from shoal.formats.row_store import ShardRows, SmallestDraws, known_labels
from shoal.formats.units import UNIT
from shoal.partitions.reader import halves
from shoal.training.tasks import rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from shoal.formats.documents.weights import UsualModel
    from shoal.formats.shapes import Shapes
    from shoal.formats.tables import Columns

    Array = NDArray[Any]

PENALTIES = (0.1, 1.0, 10.0, 100.0)
"""Of squared weights, against the summed loss of all rows."""
LEAVES = (8, 31)
"""Of a tree, at most; all else of boosting is as scikit-learn has it."""

_MOST_ROWS = 50_000
_MOST_WORK = 2**25
"""Rows times features times outputs: so many fit in seconds."""
_LEAST_ROWS = 1000
_ROUNDS = (20, 200)
_MOST_SPLITS = 2**18
"""Rounds times features times outputs."""
_ITERATIONS = 200


class Sample(NamedTuple):
    """Flat rows of features, and their labels."""

    x: Array
    y: Array


@dataclass(frozen=True)
class Fitted:
    """A fitted model.

    Attributes:
        model: It.
        flops: FLOPs of all fits among which it was chosen.
        chosen: The settings that were chosen.
    """

    model: LinearModel | BoostedTrees
    flops: float
    chosen: dict[str, float]

    @property
    def facts(self) -> UsualModel:
        """What is kept beside the arrays."""
        return {
            "train_flops": self.flops,
            "inference_flops_per_row": self.model.flops_per_row,
            "chosen": self.chosen,
        }


def is_table(columns: Columns, shapes: Shapes) -> bool:
    """Whether rows are numbers and categories, one flat row of features each, with a label."""
    flat = len(shapes.x_shape) == 1 and shapes.tokens is None and shapes.task != "own"
    return flat and all(
        columns.kinds[name] in ("numeric", "categorical") for name in columns.inputs
    )


def fit_usual(shards: Sequence[Path], shapes: Shapes, seed: int, threads: int) -> dict[str, Fitted]:
    """Fit both models on training rows, choosing by the choosing half of validation rows.

    Of many rows those are taken whose keys draw the smallest numbers: 50,000, or fewer where
    there are many features and classes.

    Args:
        shards: Encoded shards, in any order.
        shapes: Shapes of the rows, see :func:`is_table`.
        seed: Seed of the draw.
        threads: CPU threads; the bits depend on it.

    Returns:
        By name; empty where training rows hold one class, or there are none.
    """
    from threadpoolctl import threadpool_limits

    (features,) = shapes.x_shape
    limit = max(_LEAST_ROWS, min(_MOST_ROWS, _MOST_WORK // max(1, features * shapes.outputs)))
    train, choosing = _samples(shards, limit, seed)
    classes = np.unique(train.y) if shapes.classes is not None else np.zeros(1, int)
    if not len(train.y) or not features or len(classes) < min(2, shapes.outputs):
        return {}
    if shapes.classes is not None:
        known = np.isin(choosing.y, classes)
        choosing = Sample(choosing.x[known], choosing.y[known])
    with threadpool_limits(threads), warnings.catch_warnings():
        # A fit cut short is still deterministic, and what the rows give in that time.
        warnings.simplefilter("ignore")
        return {
            LINEAR: _best(_linear(train, shapes), choosing, shapes.task, PENALTIES.index(1.0)),
            BOOSTED: _best(_boosted(train, choosing, shapes, seed), choosing, shapes.task, -1),
        }


def _samples(shards: Sequence[Path], limit: int, seed: int) -> tuple[Sample, Sample]:
    """Training rows, and those of the choosing half of validation."""
    drawn = [SmallestDraws(limit, seed, f"usual {fold}") for fold in (TRAIN, VALIDATION)]
    for path in shards:
        with ShardRows(path) as shard:
            for block in shard.blocks(shard.names(("x", "y", "key", "hash", "fold", UNIT))):
                is_known = known_labels(block["y"])
                held = (block["fold"] == VALIDATION) & (halves(block) == 0)
                for draws, wanted in zip(drawn, (block["fold"] == TRAIN, held), strict=True):
                    _add(draws, block, np.flatnonzero(wanted & is_known))
    train, choosing = (Sample(*draws.arrays()) for draws in drawn)
    return train, choosing


def _add(draws: SmallestDraws, block: dict[str, Array], places: NDArray[np.int64]) -> None:
    def rows(some: NDArray[np.int64]) -> tuple[Array, ...]:
        own = places[some]
        return block["x"][own], block["y"][own]

    draws.add(block["key"][places], block["hash"][places], rows)


def _best(fitted: Iterator[Fitted], choosing: Sample, task: str, otherwise: int) -> Fitted:
    """The one with the lowest mean loss, the first of equals, at the cost of all."""
    tried, own = list(fitted), rules(task)
    best = tried[otherwise]
    if len(choosing.y):
        answers = (own.finished(each.model.outputs(choosing.x)) for each in tried)
        losses = [float(own.losses(each, choosing.y).mean()) for each in answers]
        best = tried[int(np.argmin(losses))]
    return Fitted(best.model, sum(each.flops for each in tried), best.chosen)


def _linear(train: Sample, shapes: Shapes) -> Iterator[Fitted]:
    """Logistic or ridge regression on standardised features, at each penalty.

    FLOPs: of ridge ``2 n d min(n, d)``, the product that its equations are made of; of logistic
    regression ``4 n d k`` per iteration, a product for logits and one for the gradient.
    """
    from sklearn.linear_model import LogisticRegression, Ridge

    wide = train.x.astype(np.float64)
    mean, spread = wide.mean(axis=0), wide.std(axis=0)
    spread[spread == 0] = 1.0
    wide -= mean
    wide /= spread
    rows, features = wide.shape
    for penalty in PENALTIES:
        if shapes.classes is None:
            model: Any = Ridge(alpha=penalty).fit(wide, train.y)
            weight, bias = model.coef_.reshape(1, -1), np.atleast_1d(model.intercept_)
            flops = 2.0 * rows * features * min(rows, features)
        else:
            model = LogisticRegression(C=1 / penalty, max_iter=_ITERATIONS).fit(wide, train.y)
            flops = 4.0 * wide.size * len(model.coef_) * int(np.max(model.n_iter_))
            weight, bias = (
                _by_class(each, model.classes_, shapes.outputs, rest)
                for each, rest in ((model.coef_, 0.0), (model.intercept_, -np.inf))
            )
        found = LinearModel((weight / spread).T, bias.astype(np.float64), mean)
        yield Fitted(found, flops, {"penalty": penalty})


def _by_class(values: Array, classes: Array, outputs: int, rest: float) -> Array:
    """Values of all classes from those of some; of two classes the second's is given alone."""
    if len(classes) == 2:
        values = np.concatenate([np.zeros_like(values), values])
    whole = np.full((outputs, *values.shape[1:]), rest)
    whole[classes] = values
    return whole


def _boosted(train: Sample, choosing: Sample, shapes: Shapes, seed: int) -> Iterator[Fitted]:
    """Histogram-based gradient boosting, stopped early where there are choosing rows.

    FLOPs: sums of gradients and of their derivatives over the rows of the smaller child of each
    split, and of the root, by feature; of the rounds that are kept.

    Source:
        Ke et al. 2017, LightGBM; scikit-learn's HistGradientBoosting follows it.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    is_class = shapes.classes is not None
    kind: Callable[..., Any] = HistGradientBoostingRegressor
    if is_class:
        kind = HistGradientBoostingClassifier
    features = train.x.shape[1]
    rounds = int(np.clip(_MOST_SPLITS // (features * shapes.outputs), *_ROUNDS))
    held = {"X_val": choosing.x, "y_val": choosing.y} if len(choosing.y) else {}
    for leaves in LEAVES:
        model = kind(
            max_leaf_nodes=leaves, max_iter=rounds, early_stopping=bool(held), random_state=seed
        ).fit(train.x, train.y, **held)
        best = int(np.argmax(model.validation_score_)) if held else rounds
        nodes, roots = _nodes(model, best)
        bias = model._baseline_prediction.reshape(-1)
        columns = np.zeros(1, np.int64)
        if is_class:
            bias = _by_class(bias, model.classes_, shapes.outputs, -np.inf)
            columns = model.classes_[-roots.shape[1] :]
        steps = nodes["count"] @ (nodes["is_leaf"] * nodes["depth"].astype(np.float64))
        own = np.arange(len(nodes))
        found = BoostedTrees(
            roots=roots,
            columns=columns,
            feature=nodes["feature_idx"],
            threshold=nodes["num_threshold"],
            left=np.where(nodes["is_leaf"], own, nodes["left"]).astype(np.int64),
            right=np.where(nodes["is_leaf"], own, nodes["right"]).astype(np.int64),
            value=nodes["value"],
            bias=bias.astype(np.float64),
            steps=float(steps / len(train.y)),
        )
        yield Fitted(found, _sums(nodes, roots, features), {"leaves": leaves, "rounds": best})


def _nodes(model: Any, rounds: int) -> tuple[Array, NDArray[np.int64]]:  # noqa: ANN401 - scikit-learn's
    """Nodes of all trees of some rounds, with places in all of them; and the roots by round."""
    trees = [tree.nodes.copy() for each in model._predictors[:rounds] for tree in each]
    starts = np.cumsum([0, *map(len, trees)], dtype=np.uint32)
    for start, nodes in zip(starts, trees, strict=False):
        nodes["left"] += start
        nodes["right"] += start
    kind = model._predictors[0][0].nodes.dtype
    per_round = len(model._predictors[0])
    whole = np.concatenate([np.empty(0, kind), *trees])
    return whole, starts[:-1].astype(np.int64).reshape(-1, per_round)


def _sums(nodes: Array, roots: NDArray[np.int64], features: int) -> float:
    """FLOPs of the histograms of gradients and their derivatives; see :func:`_boosted`."""
    inner = nodes[nodes["is_leaf"] == 0]
    children = [nodes["count"][inner[side]].astype(np.float64) for side in ("left", "right")]
    rows = nodes["count"][roots].sum() + np.minimum(*children).sum()
    return float(2 * features * rows)
