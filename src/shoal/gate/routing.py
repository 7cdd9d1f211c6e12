"""Where validation rows go, by routers that do not know their labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.cluster.assigner import AtomAssigner, partition_values
from shoal.formats.units import coin
from shoal.gate.softness import SOFTNESSES, best_softness
from shoal.partitions.reader import halves
from shoal.train_router.fit import fit_router, nearest_atom
from shoal.training.model import row_losses
from shoal_edge.mixing import mixed
from shoal_edge.routing import Routes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from shoal.ask.answers import Answers
    from shoal.cluster.assigner import ColumnAssigner
    from shoal.settings.learning import Router as Settings
    from shoal.train_router.router import Router

    Assigner = AtomAssigner | ColumnAssigner
    Rows = Mapping[str, NDArray[Any]]

_FOLDS = 2


@dataclass(frozen=True)
class Compared:
    """Validation rows on which models are compared.

    Attributes:
        answers: Of all models about all validation rows.
        places: Places of the rows among these.
        known: Which of the rows chose no grid point, ``(places,)``.
        units: Unit of each, ``(places,)``.
        task: ``classification``, ``regression`` or ``own``.
        confidence: Of each test.
    """

    answers: Answers
    places: NDArray[np.int64]
    known: NDArray[np.bool_]
    units: NDArray[np.uint64]
    task: str
    confidence: float

    @property
    def rows(self) -> dict[str, NDArray[Any]]:
        """Arrays of the rows by name."""
        return {name: values[self.places] for name, values in self.answers.rows.items()}


@dataclass(frozen=True)
class Routed:
    """Who is asked for each row, the generalist aside.

    Attributes:
        routes: Experts and weights.
        softness: Of the weights of two specialists a row; None where the settings hold.
        asked: Answers that it took besides those of the routes.
        flops: FLOPs of fitting routers.
        flops_per_row: FLOPs of routing a row.
    """

    routes: Routes
    softness: float | None
    asked: int
    flops: float
    flops_per_row: float


def routed(settings: Settings, assigner: Assigner, compared: Compared) -> Routed:
    """Route rows as the pool will.

    By nearest atoms the router is the pool's own, since it looks at no label; where it asks one
    specialist a row, that is compared with two. Routers that learn are fitted on half of the rows
    for the other.

    Args:
        settings: The router's settings.
        assigner: Row to partition.
        compared: The rows.
    """
    rows = compared.rows
    if settings.method != "nearest_atom":
        return _cross_fitted(settings, assigner, compared, rows)
    distance = np.zeros(len(rows["y"]), dtype=np.float32)
    if isinstance(assigner, AtomAssigner):
        distance = assigner.nearest(rows["embedding"])[2]
    second = halves(rows) == 1  # as train_router, which does not read these rows
    known = distance[second] if second.any() else distance
    router = nearest_atom(settings, assigner, compared.answers.specialised, known)
    softness, asked = None, 0
    if router.top_k == 1 and len(router.trained) > 1 and isinstance(assigner, AtomAssigner):
        softness, asked = _softness(router, compared, rows)
    routes = router.softened(softness).route(
        rows["embedding"], partition_values(assigner, rows["partition"])
    )
    return Routed(routes, softness, asked, 0.0, router.flops_per_row)


def _softness(router: Router, compared: Compared, rows: Rows) -> tuple[float | None, int]:
    """Softness of two specialists a row, or None and how many answers were asked for in vain."""
    answers, widest = compared.answers, SOFTNESSES[-1]
    routes = router.softened(widest).route(rows["embedding"])
    alone = np.ones((len(compared.places), 1), dtype=np.float32)
    both = [
        answers.mix(routes.experts[:, slot : slot + 1], alone, compared.places) for slot in (0, 1)
    ]
    one = row_losses(both[0], rows["y"], compared.task)
    odds = (routes.weights[:, 1].astype(np.float64) / routes.weights[:, 0]) ** widest
    two = np.empty((len(one), len(SOFTNESSES)))
    slots = np.tile(np.arange(2, dtype=np.int32), (len(one), 1))
    for at, softness in enumerate(SOFTNESSES):
        share: NDArray[np.float64] = 1 / (1 + odds ** (1 / softness))
        weights = np.stack([share, 1 - share], axis=1).astype(np.float32)
        mixture = mixed(lambda slot, some: both[slot][some], slots, weights, answers.mixing)
        two[:, at] = row_losses(mixture, rows["y"], compared.task)
    known = compared.known
    found = best_softness(one[known], two[known], compared.confidence, compared.units[known])
    return found, int((routes.weights[:, 1] > 0).sum()) if found is None else 0


def _cross_fitted(settings: Settings, assigner: Assigner, compared: Compared, rows: Rows) -> Routed:
    """Routes by two routers, each fitted on the rows of the other."""
    answers, trained = compared.answers, compared.answers.specialised
    losses = np.empty((len(compared.places), 0))
    if trained:
        columns = [
            row_losses(answers.answer(n, compared.places), rows["y"], compared.task)
            for n in trained
        ]
        losses = np.stack(columns, axis=1)
    fold, flops = coin(rows, 1), 0.0
    parts, own_places = [], []
    for held in range(_FOLDS):
        known, own = np.flatnonzero(fold != held), np.flatnonzero(fold == held)
        embedding, partition = rows["embedding"], rows["partition"]
        router = fit_router(
            settings, assigner, trained, embedding[known], partition[known], losses[known]
        )
        flops += router.fit_flops
        parts.append(router.route(embedding[own], partition_values(assigner, partition[own])))
        own_places.append(own)
    order = np.argsort(np.concatenate(own_places), kind="stable")
    routes = Routes(*(np.concatenate(part)[order] for part in zip(*parts, strict=True)))
    return Routed(routes, None, losses.size, flops, router.flops_per_row)
