"""Command ``train-choose``: what follows a step of a search, by losses on validation rows."""

from __future__ import annotations

import math
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoal.errors import CorruptError, ModelError
from shoal.formats.documents.weights import SpecialistFacts
from shoal.formats.hashing import settings_id
from shoal.formats.json_file import write_json
from shoal.formats.ledger import Ledger
from shoal.formats.links import point_of
from shoal.formats.provenance import made_from
from shoal.formats.shapes import Shapes
from shoal.search.steps import Tried

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from shoal.search.steps import Steps
    from shoal.settings.learning import Model

    Rows = dict[str, NDArray[Any]]
    States = Mapping[Path, tuple[dict[str, NDArray[Any]], SpecialistFacts]]

_BASE = Path("base")


def train_choose(
    model: Model,
    steps: Steps,
    step: int,
    index_path: Path,
    digest: str,
    validation: str,
    base_path: Path,
    shapes_path: Path,
    specialists: Sequence[Path],
    slots: Sequence[str],
    out: Path,
    threads: int,
) -> None:
    """Choose a partition's best grid point so far, and after any step but the last what follows.

    The first half of the partition's validation rows decides. Without such rows the choice is the
    first point in order of id, and the record says so.

    Args:
        model: The user's model.
        steps: The steps of the search.
        step: Number of the one that the decision follows.
        index_path: The partition index.
        digest: Digest of the partition's training rows; or the name of a specialist that continues,
            which is compared with the base alone.
        validation: Digest of its validation rows.
        base_path: The base.
        shapes_path: Shape of rows and labels.
        specialists: Weights of the slots to compare, in order.
        slots: Names of these slots.
        out: The decision.
        threads: CPU threads; the bits depend on it.

    Raises:
        ModelError: All of them diverged, and no step follows.
    """
    from shoal.formats.fitted_state import load_state
    from shoal.formats.units import UNIT, numbered
    from shoal.partitions.reader import Index, choosing_rows
    from shoal.training.determinism import deterministic
    from shoal.training.model import margin

    deterministic(threads)
    ledger, index = Ledger("train_choose"), Index(index_path)
    partition = index.partition_with(digest, validation)
    rows = choosing_rows(index.read(partition, "validation", ("x", "y", "key", UNIT)))
    count = len(rows.get("y", ()))
    states = {path: load_state(path, SpecialistFacts) for path in specialists}
    losses = _losses(model, states, rows, base_path, shapes_path, ledger) if count else {}
    tried = {
        path: _tried(slot, states[path][1], losses.get(path))
        for path, slot in zip(specialists, slots, strict=True)
    }
    ranked = sorted(specialists, key=lambda path: tried[path].rank)
    best, is_last = tried[ranked[0]], point_of(digest) is not None or step == steps.count - 1
    if is_last and best.diverged is not None:
        raise ModelError(f"partition {partition}: no grid point is left, of one {best.diverged}")
    point = {path: settings_id(each.point) for path, each in tried.items()}
    compared = [path for path in ranked if tried[path].loss is not None]
    base = {} if _BASE not in losses else {"base": float(losses[_BASE].mean())}
    content = {
        "partition": partition,
        "digests": {"train": digest, "validation": validation},
        "rows": count,
        "units": numbered(rows.get(UNIT), count)[1],
        "point": point[ranked[0]],
        "points": {point[path]: tried[path].point for path in compared},
        "specialist": os.path.relpath(ranked[0], out.parent),
        "losses": {point[path]: tried[path].loss for path in compared} | base,
        "margin": margin(
            {point[path]: losses[path] for path in compared}, point[ranked[0]], rows.get(UNIT)
        ),
        "next": [] if is_last else [asdict(each) for each in steps.after(list(tried.values()))],
    }
    write_json(out, {**content, **ledger.record(), **made_from()})


def _losses(
    model: Model,
    states: States,
    rows: Rows,
    base_path: Path,
    shapes_path: Path,
    ledger: Ledger,
) -> dict[Path, NDArray[np.float64]]:
    """Loss of each row under the base and each slot that has not diverged."""
    from shoal.formats.fitted_state import load_state
    from shoal.search.points import model_at
    from shoal.training.model import answer_flops, losses_by_row, trained_model

    shapes = Shapes.load(shapes_path)
    base = trained_model(model, shapes, load_state(base_path)[0])
    nets = {
        str(path): trained_model(model_at(model, facts["point"]), shapes, tensors)
        for path, (tensors, facts) in states.items()
        if facts.get("diverged") is None
    }
    ledger.flops = answer_flops(base, shapes) * len(rows["y"]) * len(nets)
    nets[str(_BASE)] = base
    found = losses_by_row(nets, rows["x"], rows["y"], shapes.task)
    if not math.isfinite(loss := float(found[str(_BASE)].mean())):
        raise CorruptError(f"{base_path}: its loss on validation rows is {loss}")
    return {Path(name): by_row for name, by_row in found.items()}


def _tried(slot: str, facts: SpecialistFacts, losses: NDArray[np.float64] | None) -> Tried:
    diverged, loss = facts.get("diverged"), None if losses is None else float(losses.mean())
    if loss is not None and not math.isfinite(loss):
        loss, diverged = None, f"its loss on validation rows is {loss}"
    return Tried(slot, facts["point"], loss, diverged)
