"""Where the training of a specialist starts: the base, its partition's rows, its budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shoal.formats.documents.weights import BaseFacts
from shoal.formats.fitted_state import load_state
from shoal.formats.shapes import Shapes
from shoal.partitions.reader import Index, training_rows
from shoal.search.points import at_point
from shoal.training.budget import Budget
from shoal.training.model import build_model, load_weights

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from shoal.search.points import Point
    from shoal.settings.learning import Model, Training


@dataclass(frozen=True)
class Start:
    """A specialist before its first step.

    Attributes:
        net: The model at its grid point, with the base's weights.
        rows: ``x`` and ``y`` of its training rows.
        training: Settings at its grid point.
        task: ``classification`` or ``regression``.
        budget: Rows that it will see.
        made_of: What decides its training, for its checkpoints.
        rows_read: Rows that were read from stores.
    """

    net: torch.nn.Module
    rows: dict[str, NDArray[Any]]
    training: Training
    task: str
    budget: int
    made_of: dict[str, Any]
    rows_read: int


def start(
    model: Model,
    training: Training,
    point: Point,
    index_path: Path,
    digest: str,
    base_path: Path,
    shapes_path: Path,
) -> Start:
    """Read what a specialist is trained from.

    Args:
        model: The user's model.
        training: Settings of the training.
        point: The grid point.
        index_path: The partition index.
        digest: Of the partition's training rows.
        base_path: The base.
        shapes_path: Shape of rows and labels.
    """
    index = Index(index_path)
    base, meta = load_state(base_path, BaseFacts)
    shapes = Shapes.load(shapes_path)
    rows = training_rows(index, digest)
    model, training = at_point(model, training, point)
    net = build_model(model, shapes, training.seed)
    load_weights(net, base)
    return Start(
        net=net,
        rows=rows,
        training=training,
        task=shapes.task,
        budget=Budget(**meta["budget"]).specialist_rows(len(rows["y"])),
        made_of={"model": model.as_json(), "training": training.as_json(), "rows": digest},
        rows_read=index.rows_read,
    )
