"""Command ``train-router``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shoal.formats.documents.weights import AtPoint
from shoal.formats.ledger import Ledger
from shoal.formats.shapes import Shapes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from shoal.partitions.reader import Index
    from shoal.settings.learning import Model, Router


def train_router(
    settings: Router,
    model: Model,
    index_path: Path,
    assigner_path: Path,
    choices: Sequence[Path],
    specialists: Sequence[Path],
    embedder_path: Path,
    shapes_path: Path,
    out: Path,
    ledger_out: Path,
    threads: int,
) -> None:
    """Fit the router on the second half of the validation rows.

    Args:
        settings: The router.
        model: The user's model.
        index_path: The partition index.
        assigner_path: The frozen map row to partition.
        choices: Outputs of ``train-choose``, for each partition that has a specialist.
        specialists: Weights of every specialist; the chosen ones are read.
        embedder_path: The embedder, for what a row costs.
        shapes_path: Shapes of the encoded rows.
        out: The router.
        ledger_out: Its ledger. It also counts the passes of training and validation rows through
            embedder and assigner, which cut the partitions.
        threads: CPU threads; the bits depend on it.
    """
    import numpy as np

    from shoal.cluster.assigner import load_assigner
    from shoal.embed.embedder import load_embedder
    from shoal.formats.fitted_state import load_state, save_state
    from shoal.partitions.reader import Index
    from shoal.search.points import model_at
    from shoal.train_router.fit import fit_router
    from shoal.training.determinism import deterministic
    from shoal.training.model import trained_model

    deterministic(threads)
    ledger = Ledger("train_router")
    index, shapes = Index(index_path), Shapes.load(shapes_path)
    trained = specialised(choices)
    rows = routing_rows(index, settings)
    losses = np.empty((len(rows["y"]), 0))
    if settings.method != "nearest_atom" and trained:
        chosen = chosen_specialists(choices, specialists)
        states = [load_state(chosen[partition], AtPoint) for partition in trained]
        nets = [trained_model(model_at(model, meta["point"]), shapes, own) for own, meta in states]
        losses = specialist_losses(nets, rows, shapes.task, ledger)
    assigner = load_assigner(assigner_path)
    router = fit_router(settings, assigner, trained, rows["embedding"], rows["partition"], losses)
    ledger.rows_read = index.rows_read
    fitted_on = index.content["rows"]["train"] + index.content["rows"]["validation"]
    ledger.detail = {
        "losses": ledger.flops,
        "fit": router.fit_flops,
        "embedding": float(load_embedder(embedder_path).flops_per_row * fitted_on),
        "assignment": float(assigner.flops_per_row * fitted_on),
    }
    ledger.flops = sum(ledger.detail.values())
    ledger.write(ledger_out)
    save_state(out, *router.state())


def specialised(choices: Sequence[Path]) -> list[int]:
    """Numbers of the partitions that have a specialist, ascending.

    Args:
        choices: Outputs of ``train-choose``.
    """
    from shoal.formats.documents.choice import Choice
    from shoal.formats.json_file import read_made

    return sorted(int(read_made(path, Choice)["partition"]) for path in choices)


def chosen_specialists(choices: Sequence[Path], specialists: Sequence[Path]) -> dict[int, Path]:
    """File of the chosen specialist of each partition.

    Args:
        choices: Outputs of ``train-choose``.
        specialists: Weights of every specialist.
    """
    from shoal.errors import CorruptError
    from shoal.formats.documents.choice import Choice, chosen_file
    from shoal.formats.json_file import read_made

    known, chosen = set(specialists), {}
    for path in choices:
        choice = read_made(path, Choice)
        chosen[choice["partition"]] = file = chosen_file(path, choice)
        if file not in known:
            raise CorruptError(f"{path}: specialist: {choice['specialist'][:200]!r} is no input")
    return chosen


def routing_rows(index: Index, settings: Router) -> dict[str, NDArray[Any]]:
    """Validation rows that no grid point was chosen on, at most ``fit_rows`` of them."""
    import numpy as np

    from shoal.errors import DataError
    from shoal.formats.hashing import uniform
    from shoal.formats.units import UNIT
    from shoal.partitions.reader import halves

    names = ("x", "y", "key", "embedding", "partition", UNIT)
    numbers = [int(entry["partition"]) for entry in index.partitions]
    rows = index.gather(numbers, "validation", names)
    if not rows:
        raise DataError(f"{index.path}: no partition has a validation row to fit a router on")
    second = np.flatnonzero(halves(rows) == 1)
    limit = getattr(settings, "fit_rows", len(second))
    order = np.argsort(uniform(rows["key"][second], settings.seed, "router"), kind="stable")
    kept = np.sort(second[order[:limit]])
    if not len(kept):
        kept = np.arange(len(rows["y"]))
    return {name: values[kept] for name, values in rows.items()}


def specialist_losses(
    nets: Sequence[torch.nn.Module],
    rows: Mapping[str, NDArray[Any]],
    task: str,
    ledger: Ledger,
) -> NDArray[Any]:
    """Loss of every row under every specialist, ``(rows, specialists)``."""
    import numpy as np
    import torch

    from shoal.training.flops import forward_flops
    from shoal.training.model import predict, row_losses

    x, y = rows["x"], rows["y"]
    columns = [row_losses(predict(net, x, task), y, task) for net in nets]
    one_row = forward_flops(nets[0], torch.from_numpy(x[:1]))
    ledger.flops += float(one_row * len(x) * len(nets))
    return np.stack(columns, axis=1)
