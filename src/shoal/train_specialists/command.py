"""Commands ``base-fit``, ``train-specialist`` and ``train-choose``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from shoal.ledger import Ledger
from shoal.shapes import Shapes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import torch
    from numpy.typing import NDArray

    from shoal.grid import Point
    from shoal.settings.learning import Model, Training


def base_fit(
    model: Model,
    training: Training,
    shards: Sequence[Path],
    shapes_path: Path,
    out: Path,
    ledger_out: Path,
    checkpoint_seconds: float,
) -> None:
    """Train the base on every training row, and freeze the budget with it."""
    from shoal.processes import end_helpers
    from shoal.resume import Checkpoints
    from shoal.state import save_state
    from shoal.train_specialists.budget import Budget
    from shoal.train_specialists.fit import train_on_shards
    from shoal.train_specialists.model import build_model, weights

    ledger = Ledger("base_fit")
    shapes = Shapes.load(shapes_path)
    net = build_model(model, shapes, training.seed)
    made_of = {"model": model.as_json(), "training": training.as_json()}
    checkpoints = Checkpoints(out, checkpoint_seconds, ledger, made_of)
    rows = round(training.rows_seen * training.base_share)
    training_rows = train_on_shards(
        net, shards, training, shapes.task, ledger, rows=rows, checkpoints=checkpoints
    )
    end_helpers()
    ledger.rows_read = training_rows
    budget = Budget(training.rows_seen, training.base_share, training_rows)
    ledger.write(ledger_out)
    save_state(out, weights(net), {"budget": asdict(budget), "model": model.as_json()})
    checkpoints.remove()


def train_specialist(
    model: Model,
    training: Training,
    point: Point,
    index_path: Path,
    digest: str,
    base_path: Path,
    shapes_path: Path,
    out: Path,
    ledger_out: Path,
    checkpoint_seconds: float,
) -> None:
    """Train one specialist from the base on its partition's rows and no others.

    Rows of classes that the generation does not know are left out.
    """
    from shoal.grid import at_point
    from shoal.resume import Checkpoints
    from shoal.state import load_state, save_state
    from shoal.streaming import known_labels
    from shoal.train_specialists.budget import Budget
    from shoal.train_specialists.fit import train_on_rows
    from shoal.train_specialists.model import build_model, load_weights, weights
    from shoal.train_specialists.partition_rows import Index

    ledger = Ledger("train_specialist")
    index = Index(index_path)
    base, meta = load_state(base_path)
    shapes = Shapes.load(shapes_path)
    rows = index.specialist_rows(index.partition_with(digest), ("x", "y"))
    known = known_labels(rows["y"])
    rows = {name: rows[name][known] for name in ("x", "y")}
    model, training = at_point(model, training, point)
    net = build_model(model, shapes, training.seed)
    load_weights(net, base)
    budget = Budget(**meta["budget"]).specialist_rows(len(rows["y"]))
    made_of = {"model": model.as_json(), "training": training.as_json(), "rows": digest}
    checkpoints = Checkpoints(out, checkpoint_seconds, ledger, made_of)
    if budget:
        train_on_rows(net, rows, training, shapes.task, budget, ledger, checkpoints)
    ledger.rows_read = index.rows_read
    ledger.write(ledger_out)
    save_state(out, weights(net), {"digest": digest, "point": point, "rows": len(rows["y"])})
    checkpoints.remove()


def train_choose(
    model: Model,
    index_path: Path,
    digests: tuple[str, str],
    base_path: Path,
    shapes_path: Path,
    specialists: Mapping[str, Path],
    out: Path,
) -> None:
    """Choose a partition's best grid point on the first half of its validation rows.

    Without such rows the choice is the first point in order of id, and the record says so.
    """
    import numpy as np
    import torch

    from shoal.files import write_json
    from shoal.flops import forward_flops
    from shoal.made_from import made_from
    from shoal.train_specialists.model import best_point, losses_by_row, margin
    from shoal.train_specialists.partition_rows import Index, halves

    ledger = Ledger("train_choose")
    index = Index(index_path)
    partition = index.partition_with(*digests)
    rows = index.read(partition, "validation", ("x", "y", "key"))
    shapes = Shapes.load(shapes_path)
    first = np.flatnonzero(halves(rows["key"]) == 0) if rows else np.empty(0, np.int64)
    points: dict[str, Point] = {}
    by_row: dict[str, NDArray[np.float64]] = {}
    if len(first):
        base, trained, points = _candidates(model, base_path, shapes, specialists)
        x, y = rows["x"][first], rows["y"][first]
        by_row = losses_by_row({"base": base} | trained, x, y, shapes.task)
        one_row = forward_flops(base, torch.zeros((1, *shapes.x_shape)))
        ledger.flops = float(one_row * len(first) * len(specialists))
    losses = {name: float(each.mean()) for name, each in by_row.items()}
    chosen = best_point(specialists, losses)
    content = {
        "partition": partition,
        "digests": {"train": digests[0], "validation": digests[1]},
        "point": chosen,
        "points": points,
        "losses": losses,
        "margin": margin({point: by_row[point] for point in points}, chosen),
        "rows": len(first),
    }
    write_json(out, content | ledger.record() | made_from())


def _candidates(
    model: Model, base_path: Path, shapes: Shapes, specialists: Mapping[str, Path]
) -> tuple[torch.nn.Module, dict[str, torch.nn.Module], dict[str, Point]]:
    """The base; the partition's specialists, and what each was trained at, by grid point."""
    from shoal.state import load_state
    from shoal.train_specialists.model import trained_model

    trained, points = {}, {}
    for point, path in specialists.items():
        tensors, meta = load_state(path)
        points[point] = meta["point"]
        trained[point] = trained_model(model, meta["point"], shapes, tensors)
    return trained_model(model, {}, shapes, load_state(base_path)[0]), trained, points
