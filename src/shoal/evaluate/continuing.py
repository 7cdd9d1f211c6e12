"""The generalist, trained on from the one before."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.formats.documents.index import PartitionIndex
from shoal.formats.documents.weights import AtPoint
from shoal.formats.fitted_state import load_state
from shoal.formats.hashing import file_hash, row_order
from shoal.formats.json_file import read_made
from shoal.formats.kinds import TRAIN
from shoal.formats.ledger import BEFORE
from shoal.formats.row_store import ShardRows, known_labels
from shoal.formats.shapes import Shapes
from shoal.partitions.drawn import drawn_rows, is_by_age
from shoal.partitions.generalist import parent_of, seen_by, training_hashes
from shoal.partitions.held import HeldShards
from shoal.search.points import at_point
from shoal.training.fit import train_on_rows
from shoal.training.fixed import train_share
from shoal.training.model import build_model, keep_statistics, load_weights, weights

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from shoal.formats.documents.index import Generalist
    from shoal.formats.ledger import Ledger
    from shoal.partitions.generalist import OfGeneration
    from shoal.settings.learning import Model, Training
    from shoal.training.budget import Budget
    from shoal.training.fixed import Fixed
    from shoal.training.resume import Checkpoints


def train_link(
    model: Model,
    training: Training,
    shards: Sequence[Path],
    index_path: Path,
    first: OfGeneration,
    shapes_path: Path,
    budget: Budget,
    ledger: Ledger,
    checkpoints: Checkpoints,
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Train a generalist on, at its own grid point, on new rows and some that it has seen.

    Args:
        model: The user's model.
        training: Settings of the training.
        shards: Encoded shards.
        index_path: The partition index, which says what it continues from.
        first: The generation's generalist.
        shapes_path: Shape of rows and labels.
        budget: Rows that a specialist sees for each of its own.
        ledger: Is charged, also with what the making of the one before took.
        checkpoints: The job's.

    Returns:
        Weights and their record.
    """
    index, shapes = read_made(index_path, PartitionIndex), Shapes.load(shapes_path)
    continued = index["continued"]
    parent = parent_of(index_path, continued, first)
    start, facts = load_state(parent, AtPoint)
    model, training = at_point(model, training, facts["point"])
    net = build_model(model, shapes, training.seed)
    load_weights(net, start)
    if continued["mixing"]["buffers"] == "frozen":
        keep_statistics(net)
    rows = _rows(shards, index_path, continued, first, ledger)
    held = None if training.patience is None else HeldShards(shards, training.buffer_rows)
    seen = budget.specialist_rows(len(rows["y"]))

    def train(fixed: Fixed | None) -> None:
        train_on_rows(
            net, rows, training, shapes, seen, ledger, checkpoints, held=held, fixed=fixed
        )

    if "moves" in continued:
        train_share(net, continued["moves"], train)
    else:
        train(None)
    ledger.flops += continued["spent"]
    ledger.detail[BEFORE] = continued["spent"]
    meta = {
        "point": facts["point"],
        "trained_on": index["root"],
        "rows": index["rows"],
        "continues": continued["specialist"],
        "parent": file_hash(parent),
    }
    return weights(net), meta


def _rows(
    shards: Sequence[Path],
    index_path: Path,
    continued: Generalist,
    first: OfGeneration,
    ledger: Ledger,
) -> dict[str, NDArray[Any]]:
    """``x`` and ``y`` of its rows, in canonical order; of classes that the generation knows."""
    hashes = training_hashes(shards)
    before = islice(seen_by(index_path, first), None if is_by_age(continued) else 1)
    ledger.rows_read += len(hashes)
    return taken_rows(
        shards, hashes, drawn_rows(hashes, list(before), continued["link"], continued)
    )


def taken_rows(
    shards: Sequence[Path], hashes: NDArray[np.uint8], chosen: NDArray[np.bool_]
) -> dict[str, NDArray[Any]]:
    """Some training rows of shards, of classes that the generation knows.

    Args:
        shards: The shards.
        hashes: Hashes of all of their training rows, uint8 ``(rows, ROW_HASH_BYTES)``.
        chosen: Which of these are taken, bool ``(rows,)``.

    Returns:
        ``x`` and ``y`` in canonical order.
    """
    parts: list[dict[str, NDArray[Any]]] = []
    start = 0
    for path in shards:
        with ShardRows(path) as store:
            own = np.flatnonzero(store.read("fold") == TRAIN)
            taken = own[chosen[start : start + len(own)]]
            start += len(own)
            parts.append({name: store.take(name, taken) for name in ("x", "y")})
    rows = {name: np.concatenate([part[name] for part in parts]) for name in ("x", "y")}
    order = row_order(hashes[chosen])
    order = order[known_labels(rows["y"][order])]
    return {name: array[order] for name, array in rows.items()}
