"""Commands ``base-fit``, ``train-specialist`` and ``train-choose``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from shoal.formats.ledger import Ledger
from shoal.formats.shapes import Shapes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from shoal.search.points import Point
    from shoal.settings.learning import Model, Training


def base_fit(
    model: Model,
    training: Training,
    rows: Sequence[Path],
    shapes_path: Path,
    out: Path,
    ledger_out: Path,
    threads: int,
    checkpoint_seconds: float,
) -> None:
    """Train the base on every training row, and freeze the budget with it."""
    from shoal.formats.fitted_state import save_state
    from shoal.training.budget import Budget
    from shoal.training.determinism import deterministic
    from shoal.training.fit import train_on_shards
    from shoal.training.model import build_model, weights
    from shoal.training.processes import end_helpers
    from shoal.training.resume import Checkpoints

    deterministic(threads)
    ledger = Ledger("base_fit")
    shapes = Shapes.load(shapes_path)
    net = build_model(model, shapes, training.seed)
    made_of = {"model": model.as_json(), "training": training.as_json()}
    checkpoints = Checkpoints(out, checkpoint_seconds, ledger, made_of)
    seen = round(training.rows_seen * training.base_share)
    training_rows = train_on_shards(
        net, rows, training, shapes.task, ledger, rows=seen, checkpoints=checkpoints
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
    *,
    may_diverge: bool = False,
) -> None:
    """Train one specialist from the base on its partition's rows and no others.

    Rows of classes that the generation does not know are left out. One that may diverge, and does,
    says so in what it leaves, and ranks last.

    Raises:
        DivergedError: It diverged and may not.
    """
    from shoal.errors import DivergedError
    from shoal.formats.fitted_state import save_state
    from shoal.train_specialists.start import start
    from shoal.training.fit import train_on_rows
    from shoal.training.model import weights
    from shoal.training.resume import Checkpoints, say_once

    ledger = Ledger("train_specialist")
    at = start(model, training, point, index_path, digest, base_path, shapes_path)
    checkpoints = Checkpoints(out, checkpoint_seconds, ledger, at.made_of)
    meta: dict[str, Any] = {"digest": digest, "point": point, "rows": len(at.rows["y"])}
    try:
        if at.budget:
            train_on_rows(at.net, at.rows, at.training, at.task, at.budget, ledger, checkpoints)
    except DivergedError as error:
        if not may_diverge:
            raise
        say_once(f"out of the search: {error}")
        meta["diverged"] = str(error)
    ledger.rows_read = at.rows_read
    ledger.write(ledger_out)
    save_state(out, weights(at.net), meta)
    checkpoints.remove()


def train_choose(
    model: Model,
    index_path: Path,
    digests: tuple[str, str],
    base_path: Path,
    shapes_path: Path,
    specialists: Sequence[Path],
    out: Path,
) -> None:
    """Choose a partition's best grid point on the first half of its validation rows.

    Without such rows the choice is the first point in order of id, and the record says so.

    Raises:
        ModelError: All of them diverged.
    """
    from shoal.errors import ModelError
    from shoal.train_specialists.choice import measure, write_measured

    ledger = Ledger("train_choose")
    measured = measure(model, index_path, digests, base_path, shapes_path, specialists, ledger)
    best = measured.candidates[0]
    if best.diverged is not None:
        raise ModelError(
            f"partition {measured.partition}: no grid point is left, of one {best.diverged}"
        )
    losses = {each.id: each.loss for each in measured.candidates if each.loss is not None}
    content = {
        "point": best.id,
        "points": {each.id: each.point for each in measured.candidates if each.loss is not None},
        "specialist": str(best.path),
        "losses": losses | ({} if measured.base is None else {"base": measured.base}),
        "margin": measured.margin,
    }
    write_measured(out, measured, digests, content, ledger)
