"""Commands ``evaluate-generalist`` and ``evaluate-random``; ``evaluate`` is :mod:`.judge`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from shoal.formats.documents.index import PartitionIndex
from shoal.formats.documents.ledger import LedgerRecord
from shoal.formats.documents.weights import BaseFacts
from shoal.formats.json_file import read_made
from shoal.formats.ledger import Ledger, most_flops, training_flops

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from shoal.evaluate.baselines import Baselines
    from shoal.formats.documents.choice import Point
    from shoal.partitions.generalist import OfGeneration
    from shoal.search.steps import Steps
    from shoal.settings.learning import Evaluate, Model, Training
    from shoal.training.resume import Checkpoints


def evaluate_generalist(
    model: Model,
    training: Training,
    points: Mapping[str, Point],
    steps: Steps,
    rows: Sequence[Path],
    index_path: Path,
    base_path: Path,
    shapes_path: Path,
    fits: Sequence[Path],
    ledgers: Sequence[Path],
    first: OfGeneration | None,
    out: Path,
    ledger_out: Path,
    threads: int,
    checkpoint_seconds: float,
) -> None:
    """Train the base on until all grid points together cost what the pool's making cost.

    Where trainings stop early, that is what making the pool may have cost. A generalist that
    continues is trained on from the one before, on new rows and some others.
    """
    from shoal.formats.fitted_state import load_state, save_state
    from shoal.train_specialists.budget import Trials, frozen_budget
    from shoal.training.determinism import deterministic
    from shoal.training.resume import Checkpoints

    deterministic(threads)
    ledger = Ledger("evaluate_generalist")
    trained_on = read_made(index_path, PartitionIndex)
    if (continued := trained_on.get("continued")) is not None and continued["weights"]:
        from shoal.evaluate.continuing import train_link

        made_of = _made_of(model, training, points, steps, trained_on)
        facts = load_state(base_path, BaseFacts)[1]["budget"]
        budget = frozen_budget(facts, fits, Trials.of(points, steps))
        checkpoints = Checkpoints(out, checkpoint_seconds, ledger, made_of)
        assert first is not None  # noqa: S101 - else the index would not say so
        tensors, meta = train_link(
            model, training, rows, index_path, first, shapes_path, budget, ledger, checkpoints
        )
        ledger.write(ledger_out)
        save_state(out, tensors, meta)
        checkpoints.remove()
        return
    spent = [read_made(path, LedgerRecord) for path in ledgers]
    bases = [entry for entry in spent if entry["job"] == "base_fit"]
    total, base = most_flops(spent), training_flops(bases)
    index = read_made(index_path, PartitionIndex)
    made_of = _made_of(model, training, points, steps, index)
    checkpoints = Checkpoints(out, checkpoint_seconds, ledger, made_of)
    baselines = _baselines(
        model, training, points, steps, rows, base_path, shapes_path, checkpoints
    )
    tensors, point = baselines.generalist(total - most_flops(bases), ledger)
    ledger.detail |= {"base": base, "pool": total}
    ledger.flops += base
    ledger.unspent += most_flops(bases) - base
    ledger.write(ledger_out)
    save_state(out, tensors, {"point": point, "trained_on": index["root"], "rows": index["rows"]})
    checkpoints.remove()


def evaluate_random(
    model: Model,
    training: Training,
    points: Mapping[str, Point],
    steps: Steps,
    evaluate: Evaluate,
    rows: Sequence[Path],
    index_path: Path,
    base_path: Path,
    shapes_path: Path,
    fits: Sequence[Path],
    columns: Path,
    out: Path,
    usual_out: Path,
    ledger_out: Path,
    base_ledger: Path,
    threads: int,
    checkpoint_seconds: float,
) -> None:
    """Train specialists on random partitions of the trained sizes; fit tables' usual models."""
    from shoal.formats.fitted_state import load_state, save_state
    from shoal.partitions.random_partitions import random_bounds
    from shoal.train_specialists.budget import Trials, frozen_budget
    from shoal.training.determinism import deterministic
    from shoal.training.resume import Checkpoints

    deterministic(threads)
    index, seed = read_made(index_path, PartitionIndex), evaluate.seed
    made_from = {"trained_on": index["root"], "rows": index["rows"]}
    _fit_usual(columns, shapes_path, rows, seed, threads, made_from, usual_out)
    ledger = Ledger("evaluate_random")
    sizes = [entry["rows"]["train"] for entry in index["partitions"] if entry["trained"]]
    bounds = random_bounds(sizes)
    facts = load_state(base_path, BaseFacts)[1]["budget"]
    budget = frozen_budget(facts, fits, Trials.of(points, steps))
    made_of = _made_of(model, training, points, steps, index) | {
        "seed": seed,
        "bounds": bounds,
    }
    checkpoints = Checkpoints(out, checkpoint_seconds, ledger, made_of)
    baselines = _baselines(
        model, training, points, steps, rows, base_path, shapes_path, checkpoints
    )
    tensors: dict[str, NDArray[Any]] = {}
    chosen: dict[str, Point] = {}
    for number, trained in enumerate(baselines.random_specialists(bounds, seed, budget, ledger)):
        if trained is not None:
            chosen[str(number)] = trained[1]
            tensors |= {f"{number}/{name}": value for name, value in trained[0].items()}
    before = [read_made(base_ledger, LedgerRecord)]
    ledger.flops += training_flops(before)
    ledger.unspent += most_flops(before) - training_flops(before)
    ledger.write(ledger_out)
    save_state(out, tensors, {"bounds": bounds, "points": chosen, "seed": seed, **made_from})
    checkpoints.remove()


def _fit_usual(
    columns: Path,
    shapes_path: Path,
    shards: Sequence[Path],
    seed: int,
    threads: int,
    made_from: Mapping[str, object],
    out: Path,
) -> None:
    """Fit a linear model and boosted trees, where rows are a table."""
    from shoal.evaluate.usual import fit_usual, is_table
    from shoal.formats.fitted_state import save_state
    from shoal.formats.shapes import Shapes
    from shoal.formats.tables import Columns

    shapes, fitted = Shapes.load(shapes_path), {}
    if is_table(Columns.load(columns), shapes):
        fitted = fit_usual(shards, shapes, seed, threads)
    arrays = {
        f"{name}/{own}": array
        for name, each in fitted.items()
        for own, array in each.model.tensors().items()
    }
    models = {name: each.facts for name, each in fitted.items()}
    save_state(out, arrays, {"models": models, **made_from})


def _baselines(
    model: Model,
    training: Training,
    grid: Mapping[str, Point],
    steps: Steps,
    shards: Sequence[Path],
    base_path: Path,
    shapes_path: Path,
    checkpoints: Checkpoints,
) -> Baselines:
    from shoal.evaluate.baselines import Baselines, Search
    from shoal.formats.fitted_state import load_state
    from shoal.formats.shapes import Shapes

    base = load_state(base_path)[0]
    search = partial(Search, model, training, grid, steps, Shapes.load(shapes_path), base)
    return Baselines(search, training, shards, checkpoints)


def _made_of(
    model: Model,
    training: Training,
    grid: Mapping[str, Point],
    steps: Steps,
    index: PartitionIndex,
) -> dict[str, Any]:
    """Content of both baselines' checkpoints, besides files."""
    return {
        "model": model.as_json(),
        "training": training.as_json(),
        "grid": dict(grid),
        "search": steps.as_json(),
        "index": index["root"],
    }
