"""Command ``ask``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NotRequired

import numpy as np
from typing_extensions import TypedDict

from shoal.ask.usual import usual_answers
from shoal.embed.apply import routing_embedding
from shoal.embed.embedder import load_embedder
from shoal.errors import CorruptError
from shoal.formats.documents.answers import AnswersFacts, Labels
from shoal.formats.documents.choice import Point
from shoal.formats.documents.weights import RandomFacts
from shoal.formats.fitted_state import load_state, opened_state, save_state
from shoal.formats.ledger import Ledger
from shoal.formats.shapes import Shapes
from shoal.formats.units import UNIT
from shoal.partitions.grouping import ASKED_FOLDS
from shoal.partitions.index import asked_name
from shoal.partitions.random_partitions import random_draw
from shoal.partitions.reader import Index
from shoal.search.points import model_at
from shoal.train_router.command import chosen_specialists
from shoal.training.determinism import deterministic
from shoal.training.model import answer_flops, predict, trained_model
from shoal.training.tasks import rules
from shoal_edge.mixing import mixed
from shoal_edge.routing import BASE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from shoal.formats.fitted_state import Opened
    from shoal.settings.learning import Model


_NAMES = ("x", "y", "key", "hash", UNIT)


class _Facts(TypedDict):
    """Facts of weights: their grid point, where they have one."""

    point: NotRequired[Point]


def ask(
    model: Model,
    index_path: Path,
    shapes_path: Path,
    base: Path,
    embedder_path: Path,
    generalist: Path,
    random: Path,
    usual: Path,
    choices: Sequence[Path],
    specialists: Sequence[Path],
    partition: str,
    validation_out: Path,
    test_out: Path,
    ledger_out: Path,
    threads: int,
    *,
    by_group: bool = False,
) -> None:
    """Ask every model that may answer a row of one partition, and its own about others' rows.

    Each file has the partition's rows of one fold in canonical order: ``key``, ``hash``, ``y``,
    ``embedding``, by which the row is routed, ``unit`` where rows belong together, and the answers
    of ``base``, ``generalist`` and, where there is one, ``specialist``. The rows elsewhere whose
    runner-up the partition is are known by ``asked.hash``, with the specialist's ``asked.answer``.
    The test rows also have the answers of ``random`` and of the usual models of tables, and with
    them are the ``outside`` embeddings and the training ``labels``.

    Args:
        model: The user's model.
        index_path: The partition index.
        shapes_path: Shapes of the encoded rows.
        base: Weights of the base.
        embedder_path: The embedder.
        generalist: Weights of the generalist.
        random: Weights of the specialists of random partitions.
        usual: The usual models of tables; none where rows are no table.
        choices: The partition's choice of grid point; none where it has no specialist.
        specialists: Weights among which that chooses.
        partition: Number of the partition; -1 are the rows of none.
        validation_out: Answers about validation rows.
        test_out: Answers about test rows.
        ledger_out: The ledger. What the answers cost is counted by who needs them, too.
        threads: CPU threads; the bits depend on it.
        by_group: Whether rows of a group share a route.
    """
    deterministic(threads)
    ledger, number, embedder = Ledger("ask"), int(partition), load_embedder(embedder_path)
    shapes, index = Shapes.load(shapes_path), Index(index_path)
    chosen = chosen_specialists(choices, specialists)
    paths = {"base": base, "generalist": generalist}
    paths |= {"specialist": chosen[number]} if number in chosen else {}
    nets = {name: _net(path, model, shapes) for name, path in paths.items()}
    asked = _Asked(nets, shapes.task)
    flops, own = answer_flops(nets["base"], shapes), rules(shapes.task)
    meta: AnswersFacts = {
        "partition": number,
        "specialist": number in chosen,
        "flops": flops,
        "embedding_flops": float(embedder.flops_per_row),
        "mixing": own.mixing(nets["base"]),
        "density": own.is_density(nets["base"]),
    }
    for fold, out in zip(ASKED_FOLDS, (validation_out, test_out), strict=True):
        rows, about = index.read(number, fold, _NAMES), AnswersFacts(**meta)
        if rows:
            rows["embedding"] = routing_embedding(embedder, rows, by_group=by_group)
        x = rows.pop("x", None)
        if x is not None:
            rows |= {name: asked.answer(name, x, rows["y"]) for name in nets}
        if fold == "test":
            if x is not None:
                rows["random"] = asked.by_chance(x, rows["y"], rows["key"], random, model, shapes)
                rows |= usual_answers(usual, x, shapes.task)
            if outside := index.read(number, "outside", ("x", "key", UNIT)):
                rows["outside"] = routing_embedding(embedder, outside, by_group=by_group)
            about["labels"] = _labels(index.read(number, "train", ("y",)).get("y"), shapes)
        if "specialist" in nets and (others := index.read(number, asked_name(fold), ("x", "y"))):
            rows["asked.hash"] = others["hash"]
            rows["asked.answer"] = asked.answer("specialist", others["x"], others["y"])
        save_state(out, rows, {**about})
    ledger.rows_read, ledger.flops = index.rows_read, flops * asked.answers
    ledger.write(ledger_out)


class _Asked:
    """The models, and how many answers they gave."""

    def __init__(self, nets: Mapping[str, torch.nn.Module], task: str) -> None:
        self._nets = nets
        self._task = task
        self.answers = 0

    def answer(self, name: str, x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float32]:
        """Answers of a model, float32 ``(rows, outputs)``."""
        return self._of(self._nets[name], x, y)

    def by_chance(
        self,
        x: NDArray[Any],
        y: NDArray[Any],
        keys: NDArray[np.uint8],
        path: Path,
        model: Model,
        shapes: Shapes,
    ) -> NDArray[np.float32]:
        """Each row's answer from the specialist of the random partition that its key falls into.

        Of the weights, those of specialists that are asked are read, one after the other. The base
        answers for a partition that has none, and for all rows where there is no partition.
        """
        with opened_state(path, RandomFacts) as state:
            files = _by_number(state, path)
            edges = [high for _, high in state.meta["bounds"]]
            place = np.searchsorted(edges, random_draw(keys, state.meta["seed"]), side="right")
            experts = np.where(np.isin(place, list(files)), place, BASE).astype(np.int32)[:, None]

            def answer(expert: int, rows: NDArray[np.int64]) -> NDArray[np.float32]:
                if expert == BASE:
                    return self.answer("base", x[rows], y[rows])
                at_point = model_at(model, state.meta["points"][expert])
                tensors = {name: state.tensor(whole) for name, whole in files[expert].items()}
                return self._of(trained_model(at_point, shapes, tensors), x[rows], y[rows])

            return mixed(answer, experts, np.ones_like(experts, dtype=np.float32))

    def _of(self, net: torch.nn.Module, x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float32]:
        self.answers += len(x)
        return predict(net, x, self._task, y=y)


def _by_number(state: Opened[RandomFacts], path: Path) -> dict[int, dict[str, str]]:
    """Names of each random specialist's tensors, with those that they have in the file."""
    found: dict[int, dict[str, str]] = {number: {} for number in state.meta["points"]}
    numbers = {str(number): number for number in found}
    for whole in state.hashes:
        number, _, name = whole.partition("/")
        if number not in numbers:
            raise CorruptError(f"{path}: tensor {whole[:80]!r} is of no random partition")
        found[numbers[number]][name] = whole
    return found


def _net(path: Path, model: Model, shapes: Shapes) -> torch.nn.Module:
    """The model of these weights; the base has no grid point of its own."""
    tensors, meta = load_state(path, _Facts)
    return trained_model(model_at(model, meta.get("point", {})), shapes, tensors)


def _labels(y: NDArray[Any] | None, shapes: Shapes) -> Labels:
    """Count and sum of training labels, of classes one by one."""
    if y is None:
        return {"rows": 0, "sums": []}
    if shapes.classes is None:
        return {
            "rows": len(y),
            "sums": [math.fsum(own) for own in y.reshape(len(y), -1).T.tolist()],
        }
    counts = np.bincount(y[y >= 0], minlength=shapes.outputs)
    return {"rows": len(y), "sums": counts.tolist()}
