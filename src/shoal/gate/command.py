"""Command ``gate``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.formats.documents.weights import AtPoint
from shoal.formats.ledger import Ledger
from shoal.formats.shapes import Shapes
from shoal_edge.routing import BASE, GENERALIST

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from shoal.formats.documents.choice import Point
    from shoal.gate.routing import Compared
    from shoal.gate.shares import Decision, Gains
    from shoal.search.steps import Steps
    from shoal.settings.learning import Gate, Model, Router
    from shoal_edge.routing import Routes

    Ask = Callable[[int, NDArray[Any], NDArray[Any]], NDArray[np.float32]]


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
    points: Mapping[str, Point],
    steps: Steps,
    out: Path,
    threads: int,
) -> None:
    """Decide how much of a row's answer is the generalist's, on validation rows.

    Where grid points were chosen on half of these rows, or trainings stopped by it, the other half
    is compared; if it is empty no specialist serves.

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
        points: Grid points that are known before anything has run.
        steps: The steps of each search.
        out: ``shares`` of specialists and base in the answers to the rows that they lead;
            ``softness`` of the weights of two specialists a row, None where one is asked; mean
            scores by which variants are compared (``validation``: accuracy, R² or minus the
            model's own loss), their mean FLOPs, of how many rows they are (``scored``) and the
            standard ``error`` of the pool's; how many ``rows`` the gate compared, of how many
            ``units``, and how many of
            these it takes at least (``least_units``); the ``test`` of all and the ``comparisons``;
            edges of the ``bins`` of reports; the ledger.
        threads: CPU threads; the bits depend on it.
    """
    from shoal.ask.answers import Answers
    from shoal.cluster.assigner import load_assigner
    from shoal.formats.json_file import write_json
    from shoal.formats.provenance import made_from
    from shoal.formats.units import UNIT, least_units, numbered
    from shoal.gate.bins import bin_edges
    from shoal.gate.gate import Gate as Applied
    from shoal.gate.routing import Compared as On
    from shoal.gate.routing import routed
    from shoal.partitions.reader import Index, halves
    from shoal.train_router.command import routing_places
    from shoal.training.determinism import deterministic
    from shoal.training.tasks import rules

    deterministic(threads)
    ledger, confidence = Ledger("gate"), settings.confidence
    shapes, index = Shapes.load(shapes_path), Index(index_path)
    answers = Answers(asked, index, "validation", _specialists(model, shapes, choices, specialists))
    decides = steps.tried(len(points)) > 1 or index.content.get("stops_early", False)
    compared = (1,) if decides else (0, 1)
    places = routing_places(answers.rows, routing, index_path, compared)
    rows = {name: values[places] for name, values in answers.rows.items()}
    units = numbered(rows.get(UNIT), len(places))[0].astype(np.uint64)
    known = np.isin(halves(rows), compared)
    on = On(answers, places, known, units, shapes.task, confidence)
    found = routed(routing, load_assigner(assigner_path), on)
    ungated = answers.mix(found.routes.experts, found.routes.weights, places)
    whole = answers.answer(GENERALIST, places)
    shares, decision = decided(on, found.routes.leading, ungated, whole)
    applied = Applied(shares, found.softness).apply(found.routes)
    shipped = answers.mix(applied.experts, applied.weights, places)
    scored = {"pool": shipped, "ungated": ungated, "generalist": whole}
    said = found.asked + int((found.routes.weights > 0).sum()) + len(places)
    ledger.detail["answers"] = answers.flops * said
    ledger.flops = ledger.detail["answers"] + found.flops
    ledger.rows_read = index.rows_read
    # Variants are compared on the half that chooses neither grid points nor when to stop.
    judged = np.isin(halves(rows), (1,))
    judged |= not judged.any()
    own = rules(shapes.task)
    routing_flops = answers.embedding_flops + found.flops_per_row
    content = {
        "shares": {str(number): share for number, share in sorted(shares.items())},
        "softness": found.softness,
        "validation": {
            name: own.mean_score(answer[judged], rows["y"][judged])
            for name, answer in scored.items()
        },
        "scored": int(judged.sum()),
        "error": own.score_error(shipped[judged], rows["y"][judged], units[judged]),
        "inference_flops_per_row": {
            "pool": routing_flops + answers.flops * _models_per_row(applied),
            "ungated": routing_flops + answers.flops * _models_per_row(found.routes),
            "generalist": answers.flops,
        },
        "confidence": confidence,
        "rows": len(places),
        "units": len(np.unique(on.units[on.known])),
        "least_units": least_units(1 - confidence),
        "test": {
            "share": decision.share,
            "gain": decision.gain,
            "error": decision.error,
            "opens": decision.opens,
        },
        "comparisons": [asdict(each) for each in decision.experts],
        "bins": bin_edges(found.routes.distance, shipped, shapes.task),
    }
    write_json(out, content | ledger.record() | made_from())


def _models_per_row(routes: Routes) -> float:
    return float((routes.weights > 0).sum(axis=1).mean())


def decided(
    compared: Compared,
    lead: NDArray[np.int32],
    specialist: NDArray[np.float32],
    generalist: NDArray[np.float32],
) -> tuple[dict[int, float], Decision]:
    """Shares of all specialists and of the base, and how those of the specialists were found.

    Args:
        compared: The rows.
        lead: The expert that leads each, ``(rows,)``.
        specialist: What the specialists, or the base, say of each.
        generalist: The same of the generalist.
    """
    from shoal.gate.shares import Gains, decide, is_above_zero

    gains = _gains(compared, specialist, generalist)
    own, rest = (compared.known & part for part in (lead >= 0, lead < 0))
    decision = decide(
        Gains(gains.shares, gains.values[own]),
        lead[own],
        compared.answers.specialised,
        compared.confidence,
        compared.units[own],
    )
    shares = {each.expert: each.share for each in decision.experts}
    # A pool that holds the generalist asks it, not the base, for rows that no specialist leads.
    is_held = any(share < 1 for share in shares.values()) or is_above_zero(
        -gains.values[rest, -1], compared.units[rest], compared.confidence
    )
    return shares | {BASE: 0.0 if is_held else 1.0}, decision


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


def _gains(
    compared: Compared, specialist: NDArray[np.float32], generalist: NDArray[np.float32]
) -> Gains:
    """Gains of shares of the specialists, by the losses of rows.

    Losses that are no densities, as squared errors, do not mix.
    """
    from shoal.gate.shares import LEAST_PROBABILITY, either_gains, mixture_gains
    from shoal.training.model import row_losses

    y, answers = compared.rows["y"], compared.answers
    own, whole = (row_losses(answer, y, compared.task) for answer in (specialist, generalist))
    if not answers.density:
        return either_gains(own, whole)
    least = LEAST_PROBABILITY if compared.task == "classification" else 0.0
    return mixture_gains(own, whole, least)
