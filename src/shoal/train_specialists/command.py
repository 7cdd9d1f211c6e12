"""Command ``base-fit``, and the training of a slot."""

from __future__ import annotations

import random
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from shoal.errors import DivergedError
from shoal.formats.documents.weights import BaseFacts
from shoal.formats.ledger import Ledger
from shoal.formats.shapes import Shapes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from shoal.settings.learning import Model, Training
    from shoal.train_specialists.candidate import Candidate
    from shoal.training.resume import Part


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


def train_slot(
    model: Model,
    training: Training,
    candidate: Candidate,
    index_path: Path,
    digest: str,
    base_path: Path,
    shapes_path: Path,
    out: Path,
    ledger_out: Path,
    checkpoint_seconds: float,
) -> None:
    """Train one slot of a search from the base on its partition's rows and no others.

    Rows of classes that the generation does not know are left out. A training in parts has the
    bits of one that is done at once. One that may diverge, and does, says so in its weights'
    record and ranks last.

    Args:
        model: The user's model.
        training: Settings of the training.
        candidate: What the slot trains.
        index_path: The partition index.
        digest: Digest of the partition's training rows.
        base_path: The base.
        shapes_path: Shape of rows and labels.
        out: The weights.
        ledger_out: What the training cost.
        checkpoint_seconds: Time between two checkpoints.

    Raises:
        DivergedError: It diverged and may not.
    """
    from shoal.formats.checkpoint import write_checkpoint
    from shoal.formats.fitted_state import load_state, save_state
    from shoal.partitions.reader import Index, training_rows
    from shoal.search.points import at_point
    from shoal.training.budget import Budget
    from shoal.training.fit import train_on_rows
    from shoal.training.model import build_model, load_weights, weights
    from shoal.training.resume import Checkpoints, say_once

    ledger, index = Ledger("train_specialist"), Index(index_path)
    base, base_facts = load_state(base_path, BaseFacts)
    shapes = Shapes.load(shapes_path)
    rows = training_rows(index, digest)
    model, training = at_point(model, training, candidate.point)
    net = build_model(model, shapes, training.seed)
    load_weights(net, base)
    budget = Budget(**base_facts["budget"]).specialist_rows(len(rows["y"]))
    made_of = {"model": model.as_json(), "training": training.as_json(), "rows": digest}
    checkpoints = Checkpoints(out, checkpoint_seconds, ledger, made_of)
    diverged, part = candidate.diverged, candidate.part
    if part is not None and diverged is None:
        _begin(part, training, budget)
    if budget and diverged is None:
        try:
            train_on_rows(net, rows, training, shapes.task, budget, ledger, checkpoints, part)
        except DivergedError as error:
            if not candidate.may_diverge:
                raise
            diverged = str(error)
    meta: dict[str, Any] = {"digest": digest, "point": candidate.point, "rows": len(rows["y"])}
    if diverged is not None:
        say_once(f"out of the search: {diverged}")
        meta["diverged"] = diverged
        if part is not None:
            write_checkpoint(part.left, {"diverged": diverged})
    ledger.rows_read = index.rows_read
    ledger.write(ledger_out)
    save_state(out, weights(net), meta)
    checkpoints.remove()


def _begin(part: Part, training: Training, budget: int) -> None:
    """Draw as every run does, so that the state is the same; without rows it is empty."""
    import numpy as np

    from shoal.formats.checkpoint import write_checkpoint

    random.seed(training.seed)
    np.random.seed(training.seed % 2**32)  # noqa: NPY002 - a user's module may draw from it
    if not budget:
        write_checkpoint(part.left, {})
