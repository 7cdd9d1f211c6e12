"""Fitting a router on validation rows and the specialists' losses on them."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from shoal.cluster.assigner import AtomAssigner
from shoal.formats.hashing import KEY_BYTES, ROW_HASH_BYTES, hash_rows, uniform
from shoal.settings.learning import NearestNeighbours
from shoal.train_router.router import Router, log_softmax
from shoal_edge.routing import ByClassifier, ByDistance, ByNeighbours, Scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from shoal.cluster.assigner import ColumnAssigner
    from shoal.settings.learning import Router as Settings

    Rows = NDArray[np.float32]
    Float64 = NDArray[np.float64]

_ITERATIONS = 1000
_LEAST_WEIGHT = 1e-6


def fit_router(
    settings: Settings,
    assigner: AtomAssigner | ColumnAssigner,
    trained: Sequence[int],
    embedding: Rows,
    partition: NDArray[np.int32],
    losses: Float64,
) -> Router:
    """Fit a router; the order of the rows does not matter.

    Routers that learn from losses use the rows whose partition has a specialist. Where there are
    none, and where there is one specialist or no specialist, they are the nearest atom's.

    Args:
        settings: The choices.
        assigner: Row to partition.
        trained: Numbers of the partitions that have a specialist.
        embedding: Validation rows, float32 ``(rows, dims)``.
        partition: Their partition, int32 ``(rows,)``.
        losses: Loss of each specialist on each row, ``(rows, trained)`` in the order of
            ``trained``; the nearest atom does not look at them.

    Raises:
        ValueError: A loss that is needed is not a number.
    """
    distance = np.zeros(len(embedding), dtype=np.float32)
    if isinstance(assigner, AtomAssigner):
        distance = assigner.nearest(embedding)[2]
    router = nearest_atom(settings, assigner, trained, distance)
    ordered, usable = router.trained, np.isin(partition, router.trained)
    if settings.method == "nearest_atom" or not usable.any() or len(ordered) < 2:
        return router
    rows = np.flatnonzero(usable)
    known = losses[:, np.argsort(trained)]
    rows = rows[_sample(embedding[rows], known[rows], settings.fit_rows, settings.seed)]
    home = np.searchsorted(ordered, partition[rows])
    target = soft_targets(home, known[rows], settings.atom_weight, settings.loss_temperature)
    scores: Scores
    if isinstance(settings, NearestNeighbours):
        scores = ByNeighbours(embedding[rows], target.astype(np.float32), settings.neighbours)
        flops = 0.0
    else:
        scores, flops = _logistic(embedding[rows], target, settings.penalty)
    return replace(
        router, method=settings.method, scores=scores, fit_flops=flops + router.fit_flops
    )


def nearest_atom(
    settings: Settings,
    assigner: AtomAssigner | ColumnAssigner,
    trained: Sequence[int],
    distance: NDArray[np.float32],
) -> Router:
    """The router that sends a row to the specialist of the partition of its nearest atom.

    Args:
        settings: The choices.
        assigner: Row to partition.
        trained: Numbers of the partitions that have a specialist.
        distance: Distance of each validation row to its nearest prototype, float32 ``(rows,)``, in
            any order. Where a column decides, or without rows, there is no threshold.
    """
    threshold, scale = np.inf, 1.0
    if isinstance(assigner, AtomAssigner) and len(distance):
        wide = distance.astype(np.float64)
        threshold = float(np.quantile(wide, settings.fallback_quantile))
        scale = float(np.median(wide)) or 1.0
    return Router(
        assigner,
        tuple(sorted(trained)),
        "nearest_atom",
        ByDistance(scale),
        settings.top_k,
        settings.temperature,
        threshold,
        0.0,
    )


def soft_targets(
    home: NDArray[np.int64], losses: Float64, atom_weight: float, loss_temperature: float
) -> Float64:
    """Targets of a learned router.

    ``atom_weight * onehot(home) + (1 - atom_weight) * softmax(-losses / loss_temperature)``

    Args:
        home: Place among the trained of the nearest atom's partition, ``(rows,)``.
        losses: Loss of each trained partition's specialist, ``(rows, trained)``.
        atom_weight: Share of the nearest atom.
        loss_temperature: Softness of the losses.

    Returns:
        float64 ``(rows, trained)``; each row sums to one.

    Raises:
        ValueError: A loss is not a number, or all of a row's are infinite.
    """
    if np.isnan(losses).any() or not np.isfinite(losses.min(axis=1)).all():
        raise ValueError("a specialist's loss on a validation row is not a number")
    aim = (1.0 - atom_weight) * np.exp(log_softmax(-losses.astype(np.float64) / loss_temperature))
    aim[np.arange(len(home)), home] += atom_weight
    return aim


def _sample(embedding: Rows, losses: Float64, limit: int, seed: int) -> NDArray[np.int64]:
    """At most ``limit`` rows, in an order that is a function of their content and the seed."""
    hashes = hash_rows({"embedding": embedding, "losses": losses}, ROW_HASH_BYTES)
    draws = uniform(hashes[:, :KEY_BYTES], seed, "train_router")
    return np.argsort(draws, kind="stable")[:limit]


def _logistic(embedding: Rows, target: Float64, penalty: float) -> tuple[ByClassifier, float]:
    """Logistic regression towards soft targets: each row once per class, weighted by its target.

    FLOPs: ``4 n d T`` per iteration for n rows, however often each counts: the product for the
    logits and the one for the gradient.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    classes = target.shape[1]
    mean = embedding.astype(np.float64).mean(axis=0)
    spread = embedding.astype(np.float64).std(axis=0)
    spread[spread == 0] = 1.0
    row, label = np.nonzero(target > _LEAST_WEIGHT)
    bias = np.full(classes, -np.inf)
    weight = np.zeros((embedding.shape[1], classes))
    present = np.unique(label)
    if len(present) == 1:
        bias[present] = 0.0
        return ByClassifier(weight, bias), 0.0
    model = LogisticRegression(C=penalty, max_iter=_ITERATIONS)
    with warnings.catch_warnings():
        # A fit cut short is still deterministic, and close enough to route by.
        warnings.filterwarnings("ignore", category=ConvergenceWarning)
        model.fit((embedding[row] - mean) / spread, label, sample_weight=target[row, label])
    coefficients, intercept = model.coef_, model.intercept_
    if len(present) == 2:
        coefficients = np.concatenate([np.zeros_like(coefficients), coefficients])
        intercept = np.concatenate([np.zeros_like(intercept), intercept])
    weight[:, present] = (coefficients / spread).T
    bias[present] = intercept - (coefficients / spread) @ mean
    flops = 4.0 * embedding.size * classes * int(np.max(model.n_iter_))
    return ByClassifier(weight, bias), flops
