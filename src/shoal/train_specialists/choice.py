"""What a partition's candidates lose on the validation rows that choose grid points."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shoal.errors import CorruptError
from shoal.formats.documents.weights import SpecialistFacts
from shoal.formats.hashing import settings_id
from shoal.formats.shapes import Shapes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from shoal.formats.documents.choice import Margin
    from shoal.formats.ledger import Ledger
    from shoal.search.points import Point
    from shoal.settings.learning import Model

_BASE = "base"


@dataclass(frozen=True)
class Measured:
    """One candidate.

    Attributes:
        path: Its weights.
        point: Its grid point.
        loss: Mean over the rows; None where there are none, or where it diverged.
        diverged: Why it was trained no further; None where it was.
    """

    path: Path
    point: Point
    loss: float | None
    diverged: str | None

    @property
    def id(self) -> str:
        """Id of its grid point."""
        return settings_id(self.point)

    @property
    def place(self) -> tuple[bool, float, str]:
        """By which it is ordered: lowest loss first, what diverged last, then by id."""
        return self.diverged is not None, self.loss or 0.0, self.id


@dataclass(frozen=True)
class Measurement:
    """What was measured.

    Attributes:
        partition: Number of the partition.
        rows: How many rows.
        units: How many units they are of; as many as rows where each is its own.
        base: Mean loss of the base; None without rows.
        candidates: Best first.
        margin: How far the best is ahead of the next; see :func:`~.model.margin`.
    """

    partition: int
    rows: int
    units: int
    base: float | None
    candidates: list[Measured]
    margin: Margin | None


def measure(
    model: Model,
    index_path: Path,
    digests: tuple[str, str],
    base_path: Path,
    shapes_path: Path,
    specialists: Sequence[Path],
    ledger: Ledger,
) -> Measurement:
    """Losses of base and candidates on the first half of a partition's validation rows.

    Args:
        model: The user's model.
        index_path: The partition index.
        digests: Of the partition's training and validation rows.
        base_path: The base.
        shapes_path: Shape of rows and labels.
        specialists: The candidates' weights.
        ledger: Is charged for the candidates.
    """
    import numpy as np
    import torch

    from shoal.formats.fitted_state import load_state
    from shoal.formats.units import UNIT, numbered
    from shoal.partitions.reader import Index, halves
    from shoal.search.points import model_at
    from shoal.training.flops import forward_flops
    from shoal.training.model import losses_by_row, margin, trained_model

    index = Index(index_path)
    partition = index.partition_with(*digests)
    rows = index.read(partition, "validation", ("x", "y", "key", UNIT))
    shapes = Shapes.load(shapes_path)
    first = np.flatnonzero(halves(rows) == 0) if rows else np.empty(0, np.int64)
    states = {str(path): load_state(path, SpecialistFacts) for path in specialists}
    diverged = {name: meta.get("diverged") for name, (_, meta) in states.items()}
    by_row: dict[str, NDArray[np.float64]] = {}
    if len(first):
        base = trained_model(model, shapes, load_state(base_path)[0])
        nets = {
            name: trained_model(model_at(model, meta["point"]), shapes, tensors)
            for name, (tensors, meta) in states.items()
            if diverged[name] is None
        }
        one_row = forward_flops(base, torch.zeros((1, *shapes.x_shape)))
        ledger.flops = float(one_row * len(first) * len(nets))
        nets[_BASE] = base
        by_row = losses_by_row(nets, rows["x"][first], rows["y"][first], shapes.task)
    losses = {name: float(each.mean()) for name, each in by_row.items()}
    for name, loss in list(losses.items()):
        if name != _BASE and not math.isfinite(loss):
            diverged[name] = f"its loss on validation rows is {losses.pop(name)}"
    if not math.isfinite(losses.get(_BASE, 0)):
        raise CorruptError(f"{base_path}: its loss on validation rows is {losses[_BASE]}")
    found = [
        Measured(path, states[name][1]["point"], losses.get(name), diverged[name])
        for path in specialists
        for name in (str(path),)
    ]
    ordered = sorted(found, key=lambda each: each.place)
    compared = {each.id: by_row[str(each.path)] for each in ordered if each.loss is not None}
    units = rows[UNIT][first] if UNIT in rows else None
    ahead = margin(compared, ordered[0].id, units)
    count = numbered(units, len(first))[1]
    return Measurement(partition, len(first), count, losses.get(_BASE), ordered, ahead)


def write_measured(
    out: Path,
    measured: Measurement,
    digests: tuple[str, str],
    content: Mapping[str, Any],
    ledger: Ledger,
) -> None:
    """Write what follows from a measurement, with where it comes from and what it cost.

    Args:
        out: The JSON file.
        measured: The measurement.
        digests: Of the partition's training and validation rows.
        content: What follows.
        ledger: Of the job.
    """
    from shoal.formats.json_file import write_json
    from shoal.formats.provenance import made_from

    about = {
        "partition": measured.partition,
        "digests": {"train": digests[0], "validation": digests[1]},
        "rows": measured.rows,
        "units": measured.units,
    }
    write_json(out, {**about, **content, **ledger.record(), **made_from()})
