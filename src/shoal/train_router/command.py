"""Command ``train-router``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shoal.errors import DataError
from shoal.formats.documents.weights import AtPoint
from shoal.formats.ledger import Ledger
from shoal.formats.shapes import Shapes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from shoal.embed.embedder import Embedder
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
    distances: Sequence[Path],
    out: Path,
    ledger_out: Path,
    threads: int,
    *,
    by_group: bool = False,
) -> None:
    """Fit the router on the second half of the validation rows.

    Args:
        settings: The router.
        model: The user's model.
        index_path: The partition index.
        assigner_path: The frozen map row to partition.
        choices: Outputs of ``train-choose``, for each partition that has a specialist.
        specialists: Weights of every specialist; the chosen ones are read by routers that learn.
        embedder_path: The embedder.
        shapes_path: Shapes of the encoded rows, for routers that learn.
        distances: What ``assign`` wrote of each shard's validation rows, for one that does not.
        out: The router.
        ledger_out: Its ledger. It also counts the passes of training and validation rows through
            embedder and assigner, which cut the partitions.
        threads: CPU threads; the bits depend on it.
        by_group: Whether rows of a group share a route.
    """
    from shoal.cluster.assigner import load_assigner
    from shoal.embed.embedder import load_embedder
    from shoal.formats.fitted_state import save_state
    from shoal.partitions.reader import Index
    from shoal.train_router.fit import fit_router, nearest_atom
    from shoal.training.determinism import deterministic

    deterministic(threads)
    ledger = Ledger("train_router")
    index, assigner = Index(index_path), load_assigner(assigner_path)
    embedder = load_embedder(embedder_path)
    trained = specialised(choices)
    if settings.method == "nearest_atom":
        router = nearest_atom(settings, assigner, trained, _distances(distances, index_path))
    else:
        rows = routing_rows(index, settings, embedder, by_group=by_group)
        chosen = chosen_specialists(choices, specialists)
        paths, shapes = [chosen[partition] for partition in trained], Shapes.load(shapes_path)
        losses = _losses(paths, model, rows, shapes, ledger)
        router = fit_router(
            settings, assigner, trained, rows["embedding"], rows["partition"], losses
        )
    ledger.rows_read = index.rows_read
    fitted_on = index.content["rows"]["train"] + index.content["rows"]["validation"]
    ledger.detail = {
        "losses": ledger.flops,
        "fit": router.fit_flops,
        "embedding": float(embedder.flops_per_row * fitted_on),
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


def routing_rows(
    index: Index, settings: Router, embedder: Embedder, *, by_group: bool = False
) -> dict[str, NDArray[Any]]:
    """Validation rows that no grid point was chosen on, at most ``fit_rows`` of them.

    They have the ``embedding`` by which they are routed.

    Holds 30 bytes of every validation row, the rows themselves, and those of one partition.
    """
    import numpy as np

    from shoal.embed.apply import routing_embedding
    from shoal.formats.units import UNIT

    numbers = [int(entry["partition"]) for entry in index.partitions]
    all_rows = index.gather(numbers, "validation", ("key", "partition", UNIT))
    kept = routing_places(all_rows, settings, index.path)
    parts = []
    for number in numbers:
        within = np.searchsorted(all_rows["partition"], [number, number + 1])
        places = kept[slice(*np.searchsorted(kept, within))] - within[0]
        if len(places):
            rows = index.read(number, "validation", ("x", "y", "key", "partition", UNIT))
            rows["embedding"] = routing_embedding(embedder, rows, by_group=by_group)
            parts.append({name: values[places] for name, values in rows.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def routing_places(
    rows: Mapping[str, NDArray[Any]],
    settings: Router,
    index_path: Path,
    wanted: Sequence[int] = (1,),
) -> NDArray[np.int64]:
    """Places of the rows of :func:`routing_rows` among validation rows, ascending.

    Args:
        rows: ``key`` and ``partition`` of all validation rows, ``unit`` where they belong together.
        settings: The router.
        index_path: The partition index, for the message.
        wanted: Halves of validation whose rows are taken.

    Raises:
        DataError: No row is of a partition.
    """
    import numpy as np

    from shoal.formats.hashing import uniform
    from shoal.partitions.reader import halves

    own = np.flatnonzero(rows["partition"] >= 0) if rows else np.empty(0, dtype=np.int64)
    if not len(own):
        raise _nothing_to_fit_on(index_path)
    inside = own[np.isin(halves(rows)[own], wanted)]
    limit = getattr(settings, "fit_rows", len(inside))
    order = np.argsort(uniform(rows["key"][inside], settings.seed, "router"), kind="stable")
    kept: NDArray[np.int64] = np.sort(inside[order[:limit]])
    return kept if len(kept) else own


def _distances(paths: Sequence[Path], index_path: Path) -> NDArray[np.float32]:
    """Distances to the nearest prototype of the rows of :func:`routing_rows`, in any order."""
    import numpy as np

    from shoal.formats.fitted_state import load_state

    shards = [load_state(path)[0] for path in paths]
    distance, half = (
        np.concatenate([shard[name] for shard in shards]) for name in ("distance", "half")
    )
    if not len(distance):
        raise _nothing_to_fit_on(index_path)
    second = distance[half == 1]
    return second if len(second) else distance


def _nothing_to_fit_on(index_path: Path) -> DataError:
    return DataError(f"{index_path}: no partition has a validation row to fit a router on")


def _losses(
    specialists: Sequence[Path],
    model: Model,
    rows: Mapping[str, NDArray[Any]],
    shapes: Shapes,
    ledger: Ledger,
) -> NDArray[np.float64]:
    """Loss of every row under every specialist, ``(rows, specialists)``."""
    import numpy as np

    from shoal.formats.fitted_state import load_state
    from shoal.search.points import model_at
    from shoal.training.model import answer_flops, predict, row_losses, trained_model

    x, y, columns = rows["x"], rows["y"], []
    for path in specialists:
        tensors, meta = load_state(path, AtPoint)
        net = trained_model(model_at(model, meta["point"]), shapes, tensors)
        columns.append(row_losses(predict(net, x, shapes.task, y=y), y, shapes.task))
        ledger.flops += answer_flops(net, shapes) * len(x)
    return np.stack(columns, axis=1) if columns else np.empty((len(y), 0))
