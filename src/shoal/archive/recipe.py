"""Models of which the store has no weights: they are trained again, and must have the same bits."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.archive.rows import joined
from shoal.archive.sketch import distance, sketches
from shoal.errors import ModelError, RecoveryError
from shoal.model_store.tensors import Tree, merkle, tree_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from shoal.model_store import PoolStore
    from shoal.training.budget import Budget

    Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Recipe:
    """How a specialist is trained; a model's record holds it as JSON.

    Attributes:
        model: Settings of the user's model.
        training: Settings of the training.
        shapes: Shape of rows and labels.
        threads: CPU threads.
        rows: Name of the training rows in the store.
        tensors: Content address of each tensor that comes out.
        sketches: See :func:`shoal.archive.sketch.sketches`.
        predicted_seconds: What its training took.
        seconds: What training it again took when its weights were given up.
        forgotten: How many of its rows had to be forgotten, and all are gone with them.
    """

    model: dict[str, Any]
    training: dict[str, Any]
    shapes: dict[str, Any]
    threads: int
    rows: str
    tensors: dict[str, str]
    sketches: dict[str, list[float]]
    predicted_seconds: float
    seconds: float
    forgotten: int = 0

    @property
    def tree(self) -> Tree:
        """Merkle tree of what comes out."""
        return merkle({name: bytes.fromhex(address) for name, address in self.tensors.items()})

    def is_lost(self, store: PoolStore) -> bool:
        """Whether its rows were forgotten, and have not come back."""
        return self.forgotten > 0 and self.rows not in store

    def as_json(self) -> dict[str, Any]:
        """The recipe as JSON values."""
        return asdict(self)


def recipe_in(record: Mapping[str, Any]) -> Recipe | None:
    """The recipe of a model with this record, if it has no weights."""
    return Recipe(**record["recipe"]) if "recipe" in record else None


def trained_again(
    store: PoolStore,
    model: str,
    record: Mapping[str, Any],
    recipe: Recipe,
    trust: Sequence[str],
    blocks: Tensors | None = None,
) -> tuple[Tensors, float]:
    """Weights of a model by its recipe, and the seconds that it took.

    Args:
        store: Has its base, and its rows unless they are given.
        model: Its id.
        record: Its record.
        recipe: How it is trained.
        trust: Modules outside Shoal that the model may be imported from.
        blocks: Its training rows, as :func:`shoal.archive.rows.read_blocks` gives them.

    Raises:
        ModelError: Base or rows are gone, or the model's module is not trusted.
        RecoveryError: It has other bits; a line says which layers, how far, and what has changed.
    """
    from shoal.settings.targets import check_trust

    check_trust("the recipe's model", recipe.model["_target_"], trust)
    if not blocks and recipe.is_lost(store):
        raise ModelError(
            f"{store.place}: model {model} cannot be trained again: "
            f"training rows of it were forgotten ({recipe.forgotten})"
        )
    needed = {"base": record["base"]} | ({} if blocks else {"training rows": recipe.rows})
    for part, name in needed.items():
        if name not in store:
            raise ModelError(
                f"{store.place}: model {model} is kept as a recipe, and its {part}, {name}, is gone"
            )
    start = time.perf_counter()
    tensors = _train(store, record, recipe, joined(blocks or store.load(recipe.rows)))
    seconds = time.perf_counter() - start
    if tree_of(tensors).root != recipe.tree.root:
        lines = "; ".join([*_layers_apart(recipe, tensors), *_changes(record, recipe)])
        raise RecoveryError(f"model {model}, trained again, has other bits: {lines}")
    return tensors, seconds


def torch_tensors(tensors: Tensors) -> dict[str, Any]:
    """The same as torch tensors, which share their memory."""
    import torch

    return {name: torch.from_numpy(each) for name, each in tensors.items()}


def _train(store: PoolStore, record: Mapping[str, Any], recipe: Recipe, rows: Tensors) -> Tensors:
    from shoal.formats.ledger import Ledger
    from shoal.formats.shapes import Shapes
    from shoal.search.points import at_point
    from shoal.settings.learning import Model, Training
    from shoal.settings.section import parse
    from shoal.training.determinism import as_if_alone
    from shoal.training.fit import train_on_rows
    from shoal.training.model import build_model, load_weights, weights

    settings = parse(Model, recipe.model, "model")
    training = parse(Training, recipe.training, "train_specialists")
    settings, training = at_point(settings, training, record["meta"]["point"])
    shapes = Shapes(**recipe.shapes)
    budget = _budget(store, record["base"]).specialist_rows(len(rows["y"]))
    with as_if_alone(recipe.threads):
        net = build_model(settings, shapes, training.seed)
        load_weights(net, store.load(record["base"]))
        if budget:
            train_on_rows(net, rows, training, shapes.task, budget, Ledger("recovery"))
        return weights(net)


def _budget(store: PoolStore, base: str) -> Budget:
    from shoal.training.budget import Budget

    return Budget(**store.record(base)["meta"]["budget"])


def _layers_apart(recipe: Recipe, tensors: Tensors) -> Iterator[str]:
    """Which layers differ, and about how far."""
    found, own = tree_of(tensors), sketches(tensors)
    for layer, digest in recipe.tree.layers.items():
        if digest == found.layers.get(layer):
            continue
        if layer not in recipe.sketches or layer not in own:
            yield f"layer {layer or '(top)'} is not there"
            continue
        parts = [t for name, t in tensors.items() if name.rpartition(".")[0] == layer]
        norm = float(np.sqrt(sum(np.square(each.astype(np.float64)).sum() for each in parts)))
        apart = distance(recipe.sketches[layer], own[layer])
        yield f"layer {layer or '(top)'} by about {apart:.2g}, its norm is {norm:.2g}"


def _changes(record: Mapping[str, Any], recipe: Recipe) -> Iterator[str]:
    """What is not as it was when the model was trained."""
    from shoal.formats.ledger import Ledger
    from shoal.plan.ids import specialists_code
    from shoal.settings.learning import Model
    from shoal.settings.section import parse

    then, now = record["ledger"], Ledger("recovery").record()
    for name, version in then.get("versions", {}).items():
        if now["versions"].get(name, version) != version:
            yield f"{name} is {now['versions'][name]}, it was {version}"
    for name, value in (("device", now["device"]), ("host", now["host"])):
        if then.get(name) != value:
            yield f"the {name} is {value}, it was {then.get(name)}"
    if record["code"] != specialists_code(parse(Model, recipe.model, "model")):
        yield "the code of training has changed"
