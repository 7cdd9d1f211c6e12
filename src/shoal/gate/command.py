"""Command ``gate``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.formats.documents.weights import AtPoint
from shoal.formats.ledger import Ledger
from shoal.formats.shapes import Shapes
from shoal.train_router.router import BASE, Routes
from shoal.train_specialists.experts import GENERALIST

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from shoal.ask.answers import Answers
    from shoal.gate.paired import Comparison
    from shoal.settings.learning import Gate, Model, Router

    Ask = Callable[[int, NDArray[Any], NDArray[Any]], NDArray[np.float32]]
    Rows = Mapping[str, NDArray[Any]]

_FOLDS = 2


def gate(
    settings: Gate,
    routing: Router,
    model: Model,
    index_path: Path,
    assigner_path: Path,
    shapes_path: Path,
    asked: Sequence[Path],
    choices: Sequence[Path],
    specialists: Sequence[Path],
    out: Path,
    threads: int,
) -> None:
    """Decide whose rows the generalist answers, on the second half of the validation rows.

    Routers that learn would know these rows, so each half of them is routed by a router that was
    fitted on the other. Rows that grid points were chosen on are not compared: they are given where
    there are no others, and then no specialist serves.

    Args:
        settings: The gate.
        routing: The router's settings.
        model: The user's model.
        index_path: The partition index.
        assigner_path: The frozen map row to partition.
        shapes_path: Shapes of the encoded rows.
        asked: What the models say of each partition's validation rows.
        choices: What ``train-choose`` wrote, for each partition that has a specialist.
        specialists: Weights of every specialist; the chosen ones are read if they have to be asked
            about rows that they were not asked about yet.
        out: ``closed`` (experts whose rows go to the generalist), mean scores of these rows
            (``validation``: accuracy, or minus squared error or own loss), how many
            ``rows`` were compared, of how many ``units``, and how many of these it takes at least
            (``least_units``), the comparisons, the ledger.
        threads: CPU threads; the bits depend on it.
    """
    from shoal.ask.answers import Answers
    from shoal.formats.json_file import write_json
    from shoal.formats.provenance import made_from
    from shoal.formats.units import UNIT, least_units, numbered
    from shoal.gate.paired import compare
    from shoal.partitions.reader import Index, halves
    from shoal.train_router.command import routing_places
    from shoal.training.determinism import deterministic
    from shoal.training.tasks import rules

    deterministic(threads)
    ledger = Ledger("gate")
    shapes, index = Shapes.load(shapes_path), Index(index_path)
    ask = _specialists(model, shapes, choices, specialists)
    answers = Answers(asked, index, "validation", ask)
    places = routing_places(answers.rows, routing, index_path)
    rows = {name: values[places] for name, values in answers.rows.items()}
    routes = _routes(routing, assigner_path, answers, places, rows, shapes.task, ledger)
    routed = answers.mix(routes.experts, routes.weights, places)
    whole = answers.answer(GENERALIST, places)
    own_scores, others = (rules(shapes.task).gains(each, rows["y"]) for each in (routed, whole))
    lead = routes.leading
    compared = halves(rows) == 1
    units = numbered(rows.get(UNIT), len(lead))[0].astype(np.uint64)
    said = answers.flops * (int((routes.weights > 0).sum()) + len(lead))
    ledger.detail["answers"] += said
    ledger.flops += said
    ledger.rows_read = index.rows_read
    own, rest = compared & (lead >= 0), compared & (lead < 0)
    difference, confidence = own_scores - others, settings.confidence
    winning = compare(difference[own], lead[own], confidence, units[own])
    ahead = compare(-difference[rest], lead[rest], confidence, units[rest])
    closed = _closed(winning, ahead, answers.specialised)
    shipped = np.where(np.isin(lead, closed), others, own_scores)
    scores = {"pool": shipped, "ungated": own_scores, "generalist": others}
    content = {
        "closed": closed,
        "validation": {name: float(values.mean()) for name, values in scores.items()},
        "confidence": confidence,
        "rows": len(lead),
        "units": len(np.unique(units[compared])),
        "least_units": least_units(1 - confidence),
        "comparisons": [asdict(each) for each in winning],
    }
    write_json(out, content | ledger.record() | made_from())


def _closed(
    specialists: Sequence[Comparison], base: Sequence[Comparison], trained: Sequence[int]
) -> list[int]:
    """Specialists that have not shown that they are better, and what comes with them.

    A pool that holds the generalist asks it, not the base, for rows that no specialist answers.
    One that does not holds it for them only where it has shown to be better than the base.
    """
    serving = {each.expert for each in specialists if each.serves}
    closed = sorted(set(trained) - serving)
    return [BASE, *closed] if closed or any(each.serves for each in base) else []


def _specialists(
    model: Model, shapes: Shapes, choices: Sequence[Path], specialists: Sequence[Path]
) -> Ask:
    """Answers of a partition's chosen specialist, which is loaded when it is asked."""
    import functools

    from shoal.formats.fitted_state import load_state
    from shoal.search.points import model_at
    from shoal.train_router.command import chosen_specialists
    from shoal.training.model import predict, trained_model

    @functools.cache
    def chosen() -> Mapping[int, Path]:
        return chosen_specialists(choices, specialists)

    @functools.cache
    def net(number: int) -> torch.nn.Module:
        tensors, meta = load_state(chosen()[number], AtPoint)
        return trained_model(model_at(model, meta["point"]), shapes, tensors)

    return lambda number, x, y: predict(net(number), x, shapes.task, y=y)


def _routes(
    routing: Router,
    assigner_path: Path,
    answers: Answers,
    places: NDArray[np.int64],
    rows: Rows,
    task: str,
    ledger: Ledger,
) -> Routes:
    """Where each row goes, by a router that was fitted without it."""
    from shoal.cluster.assigner import load_assigner, partition_values
    from shoal.formats.units import coin
    from shoal.train_router.fit import fit_router
    from shoal.training.model import row_losses

    assigner, trained = load_assigner(assigner_path), answers.specialised
    losses = np.empty((len(places), 0))
    if routing.method != "nearest_atom" and trained:
        columns = [row_losses(answers.answer(n, places), rows["y"], task) for n in trained]
        losses = np.stack(columns, axis=1)
    ledger.flops = ledger.detail["answers"] = answers.flops * losses.size
    fold = coin(rows, 1)
    parts, own_places = [], []
    for held in range(_FOLDS):
        known, own = np.flatnonzero(fold != held), np.flatnonzero(fold == held)
        embedding, partition = rows["embedding"], rows["partition"]
        router = fit_router(
            routing, assigner, trained, embedding[known], partition[known], losses[known]
        )
        ledger.flops += router.fit_flops
        parts.append(router.route(embedding[own], partition_values(assigner, partition[own])))
        own_places.append(own)
    order = np.argsort(np.concatenate(own_places), kind="stable")
    return Routes(*(np.concatenate(part)[order] for part in zip(*parts, strict=True)))
