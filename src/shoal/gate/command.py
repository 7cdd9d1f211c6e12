"""Command ``gate``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from shoal.formats.documents.weights import AtPoint
from shoal.formats.ledger import Ledger
from shoal.formats.shapes import Shapes
from shoal.gate.gate import GENERALIST
from shoal.train_router.router import BASE, Routes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from shoal.gate.paired import Comparison
    from shoal.settings.learning import Gate, Model, Router
    from shoal.train_specialists.experts import Experts

    Rows = Mapping[str, NDArray[Any]]

_FOLDS = 2


def gate(
    settings: Gate,
    routing: Router,
    model: Model,
    index_path: Path,
    assigner_path: Path,
    shapes_path: Path,
    base: Path,
    generalist: Path,
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
        base: Weights of the base.
        generalist: Weights of the generalist.
        choices: What ``train-choose`` wrote, for each partition that has a specialist.
        specialists: Weights of every specialist; the chosen ones are read.
        out: ``closed`` (experts whose rows go to the generalist), mean scores of these rows
            (``validation``: accuracy, or minus the squared error of standardised labels), how many
            ``rows`` were compared, of how many ``units``, and how many of these it takes at least
            (``least_units``), the comparisons, the ledger.
        threads: CPU threads; the bits depend on it.
    """
    import numpy as np

    from shoal.formats.json_file import write_json
    from shoal.formats.provenance import made_from
    from shoal.formats.units import UNIT, least_units, numbered
    from shoal.gate.paired import compare
    from shoal.partitions.reader import Index, halves
    from shoal.train_router.command import chosen_specialists, routing_rows
    from shoal.training.determinism import deterministic

    deterministic(threads)
    ledger = Ledger("gate")
    shapes = Shapes.load(shapes_path)
    rows = routing_rows(Index(index_path), routing)
    chosen = chosen_specialists(choices, specialists)
    experts = _experts(model, shapes, {BASE: base, GENERALIST: generalist} | chosen)
    routes = _routes(routing, assigner_path, experts, rows, shapes.task, ledger)
    routed = experts.mix(rows["x"], routes.experts, routes.weights)
    whole = experts.answer(GENERALIST, rows["x"])
    own_scores, others = (_scores(said, rows["y"], shapes.task) for said in (routed, whole))
    lead = routes.leading
    compared = halves(rows) == 1
    units = numbered(rows.get(UNIT), len(lead))[0].astype(np.uint64)
    ledger.flops += _forward_flops(experts, rows, int((routes.weights > 0).sum()) + len(lead))
    own, rest = compared & (lead >= 0), compared & (lead < 0)
    difference, confidence = own_scores - others, settings.confidence
    winning = compare(difference[own], lead[own], confidence, units[own])
    ahead = compare(-difference[rest], lead[rest], confidence, units[rest])
    trained = [number for number in experts.models if number >= 0]
    closed = _closed(winning, ahead, trained)
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


def _experts(model: Model, shapes: Shapes, paths: Mapping[int, Path]) -> Experts:
    """Models of these weights, by number."""
    from shoal.formats.fitted_state import load_state
    from shoal.search.points import model_at
    from shoal.train_specialists.experts import Experts
    from shoal.training.model import trained_model

    models = {}
    for number, path in paths.items():
        if number == BASE:
            models[number] = trained_model(model, shapes, load_state(path)[0])
            continue
        tensors, meta = load_state(path, AtPoint)
        models[number] = trained_model(model_at(model, meta["point"]), shapes, tensors)
    return Experts(models, shapes.task)


def _routes(
    routing: Router,
    assigner_path: Path,
    experts: Experts,
    rows: Rows,
    task: str,
    ledger: Ledger,
) -> Routes:
    """Where each row goes, by a router that was fitted without it."""
    import numpy as np

    from shoal.cluster.assigner import load_assigner, partition_values
    from shoal.formats.units import coin
    from shoal.train_router.command import specialist_losses
    from shoal.train_router.fit import fit_router

    assigner = load_assigner(assigner_path)
    trained = sorted(number for number in experts.models if number >= 0)
    losses = np.empty((len(rows["y"]), 0))
    if routing.method != "nearest_atom" and trained:
        losses = specialist_losses([experts.models[n] for n in trained], rows, task, ledger)
    fold = coin(rows, 1)
    parts, places = [], []
    for held in range(_FOLDS):
        known, own = np.flatnonzero(fold != held), np.flatnonzero(fold == held)
        embedding, partition = rows["embedding"], rows["partition"]
        router = fit_router(
            routing, assigner, trained, embedding[known], partition[known], losses[known]
        )
        ledger.flops += router.fit_flops
        parts.append(router.route(embedding[own], partition_values(assigner, partition[own])))
        places.append(own)
    order = np.argsort(np.concatenate(places), kind="stable")
    columns = zip(*parts, strict=True)
    return Routes(*(np.concatenate(column)[order] for column in columns))


def _scores(answer: NDArray[Any], y: NDArray[Any], task: str) -> NDArray[Any]:
    """Score of each row, higher is better."""
    from shoal.training.metrics import row_correct, row_squared_error

    return -row_squared_error(answer, y) if task == "regression" else row_correct(answer, y)


def _forward_flops(experts: Experts, rows: Rows, answers: int) -> float:
    """FLOPs of so many answers to one row."""
    import torch

    from shoal.training.flops import forward_flops

    return float(forward_flops(experts.models[BASE], torch.from_numpy(rows["x"][:1])) * answers)
