"""Models kept as recipes: without weights, trained again when asked for, to the same bits.

A recipe needs the rows that its model was trained on. They lie in the store, in blocks that models
share. Where a model comes out with other bits, sketches of the lost weights tell how far off it is.
"""

from __future__ import annotations

import hashlib
import io
import time
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from shoal.errors import CorruptError, ModelError, RecoveryError
from shoal.model_store.tensors import Tree, merkle, tree_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from shoal.formats.documents.plan import ModelRecord
    from shoal.model_store import ModelStore
    from shoal.model_store.tensors import JsonObject

    Tensors = dict[str, NDArray[Any]]

_BLOCK_ROWS = 128
_PREFIX = "rows-"
_ARRAYS = ("x", "y", "key")
_SKETCH_NUMBERS = 8


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
        sketches: See :func:`sketches`.
        seconds: Seconds that training it again took, when its weights were given up.
        forgotten: How many of its rows were forgotten, with which all of them are gone.
    """

    model: dict[str, Any]
    training: dict[str, Any]
    shapes: dict[str, Any]
    threads: int
    rows: str
    tensors: dict[str, str]
    sketches: dict[str, list[float]]
    seconds: float
    forgotten: int = 0

    @property
    def tree(self) -> Tree:
        """Merkle tree of the weights that come out."""
        return merkle({name: bytes.fromhex(address) for name, address in self.tensors.items()})


def record_of(store: ModelStore, model: str) -> ModelRecord:
    """The record of a model, which says where it comes from and how it is kept.

    Raises:
        ModelError: There is no such model.
    """
    return cast("ModelRecord", store.record(model))


def recipe_of(store: ModelStore, model: str) -> Recipe | None:
    """The recipe of a model, if it has no weights; training rows have none.

    Raises:
        ModelError: There is no such model.
    """
    record = record_of(store, model)
    return Recipe(**record["recipe"]) if "recipe" in record else None


def start_of(record: ModelRecord) -> str | None:
    """Id of the model from which a training starts: the base, or the parent of what continues.

    None where the parent was not in the store when the model was kept.
    """
    return record["parent" if "continues" in record["meta"] else "base"]


def lacks(store: ModelStore, model: str, recipe: Recipe) -> list[tuple[str, str | None]]:
    """Parts that a recipe needs and the store lacks, each with its name there.

    The recipe of a parent is not looked into.
    """
    record = record_of(store, model)
    named = {"base": record["base"], "training rows": recipe.rows}
    if "continues" in record["meta"]:
        named["parent"] = record["parent"]
    return [(part, name) for part, name in named.items() if name is None or name not in store]


def lost_rows(store: ModelStore, model: str) -> int:
    """How many training rows were forgotten of a recipe, or of one that it continues from.

    None of those of a model with weights, and none where the rows have come back.
    """
    recipe = recipe_of(store, model)
    if recipe is None:
        return 0
    if recipe.forgotten and recipe.rows not in store:
        return recipe.forgotten
    start = start_of(record_of(store, model))
    return lost_rows(store, start) if start is not None and start in store else 0


def recovery_seconds(store: ModelStore, model: str) -> float:
    """Seconds that a model's training took, and those of recipes that it continues from first."""
    record = record_of(store, model)
    seconds, start = float(record["ledger"]["seconds"]), start_of(record)
    if start is None or start not in store or recipe_of(store, start) is None:
        return seconds
    return seconds + recovery_seconds(store, start)


def trained_again(
    store: ModelStore,
    model: str,
    recipe: Recipe,
    trust: Sequence[str],
    blocks: Tensors | None = None,
) -> tuple[Tensors, float]:
    """Weights of a model by its recipe, and the seconds that it took.

    A parent that is a recipe too is trained again before, and so on.

    Args:
        store: Has its base, its parent if it continues, and its rows unless they are given.
        model: Its id.
        recipe: How it is trained.
        trust: Modules outside Shoal that the model may be imported from.
        blocks: Its training rows, as :func:`read_blocks` gives them.

    Raises:
        ModelError: Base, parent or rows are gone, or the model's module is not trusted.
        RecoveryError: It has other bits; a line says which layers, how far, and what has changed.
    """
    from shoal.settings.targets import check_trust

    record = record_of(store, model)
    check_trust("the recipe's model", recipe.model["_target_"], trust)
    for name in ("loss", "schedule"):
        if isinstance(named := recipe.training[name], dict):
            check_trust(f"the recipe's {name}", named["_target_"], trust)
    if lost := lost_rows(store, model):
        raise ModelError(
            f"{store.place}: model {model} cannot be trained again: "
            f"training rows of it were forgotten ({lost})"
        )
    for part, needed in lacks(store, model, recipe):
        if needed != recipe.rows or not blocks:
            raise ModelError(
                f"{store.place}: model {model} is kept as a recipe, and its {part}, {needed}, is "
                f"gone"
            )
    start = time.perf_counter()
    origin = _weights(store, str(start_of(record)), trust)
    tensors = _train(store, record, recipe, origin, joined(blocks or store.load(recipe.rows)))
    seconds = time.perf_counter() - start
    if tree_of(tensors).root != recipe.tree.root:
        lines = "; ".join([*_layers_apart(recipe, tensors), *_changes(record, recipe)])
        raise RecoveryError(f"model {model}, trained again, has other bits: {lines}")
    return tensors, seconds


def _weights(store: ModelStore, model: str, trust: Sequence[str]) -> Tensors:
    """A model's weights; of a recipe by training it again."""
    recipe = recipe_of(store, model)
    return store.load(model) if recipe is None else trained_again(store, model, recipe, trust)[0]


def _train(
    store: ModelStore, record: ModelRecord, recipe: Recipe, start: Tensors, rows: Tensors
) -> Tensors:
    from shoal.formats.ledger import Ledger
    from shoal.formats.shapes import Shapes
    from shoal.search.points import at_point
    from shoal.settings.learning import Model, Training
    from shoal.settings.section import parse
    from shoal.training.budget import Budget
    from shoal.training.determinism import as_if_alone
    from shoal.training.fit import train_on_rows
    from shoal.training.model import build_model, keep_statistics, load_weights, weights

    settings = parse(Model, recipe.model, "model")
    training = parse(Training, recipe.training, "train_specialists")
    settings, training = at_point(settings, training, record["meta"]["point"])
    shapes = Shapes(**recipe.shapes)
    whole = Budget(**record_of(store, str(record["base"]))["meta"]["budget"])
    budget = whole.specialist_rows(len(rows["y"]))
    with as_if_alone(recipe.threads):
        net = build_model(settings, shapes, training.seed)
        load_weights(net, start)
        if "mixing" in record and record["mixing"]["buffers"] == "frozen":
            keep_statistics(net)
        if budget:
            train_on_rows(net, rows, training, shapes, budget, Ledger("recovery"))
        return weights(net)


def _layers_apart(recipe: Recipe, tensors: Tensors) -> Iterator[str]:
    """A line per layer that differs, with an estimate of its distance."""
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


def _changes(record: ModelRecord, recipe: Recipe) -> Iterator[str]:
    """A line per version, device or code that differs from those of the first training."""
    from shoal.formats.ledger import Ledger
    from shoal.plan.ids import specialists_code
    from shoal.settings.learning import Model, Training
    from shoal.settings.section import parse

    then, now = record["ledger"], Ledger("recovery").record()
    for name, version in then.get("versions", {}).items():
        if now["versions"].get(name, version) != version:
            yield f"{name} is {now['versions'][name]}, it was {version}"
    for name, value in (("device", now["device"]), ("host", now["host"])):
        if then.get(name) != value:
            yield f"the {name} is {value}, it was {then.get(name)}"
    training = parse(Training, recipe.training, "train_specialists")
    if record["code"] != specialists_code(parse(Model, recipe.model, "model"), training):
        yield "the code of training has changed"


def rows_name(digest: str) -> str:
    """Name of the training rows with a digest in the store."""
    return f"{_PREFIX}{digest}"


def is_rows(name: str) -> bool:
    """Whether the store has rows under this name, and no model."""
    return name.startswith(_PREFIX)


def read_blocks(index_path: Path, digest: str) -> dict[str, NDArray[np.uint8]]:
    """The rows that a specialist is trained on, in blocks of about 128.

    A block holds rows whose hashes begin alike, so a row that changes changes two blocks, and the
    store has the others already. One block after the other, rows are in canonical order.

    Args:
        index_path: A partition index in which a partition has this digest.
        digest: Of the partition's training rows, or the name of its link.

    Returns:
        Blocks by their place, in order of the text: each the bytes, uint8, of compressed ``x``,
        ``y`` and short keys. Encoded rows repeat few values, so that is much less than the store's
        codecs, which are made for weights, leave of them.

    Raises:
        ShoalError: The index or a row store is missing, or was changed.
    """
    from shoal.formats.row_store import known_labels
    from shoal.partitions.reader import Index

    index = Index(index_path)
    rows, _ = index.specialist_rows(index.partition_with(digest), ("x", "y", "key"))
    rows["key"] = short_keys(rows["key"])
    known = known_labels(rows["y"])
    first = rows["hash"][known][:, :2].astype(np.int64)
    blocks = 1 << max(0, (len(first) // _BLOCK_ROWS).bit_length() - 1)
    block = (first[:, 0] * 256 + first[:, 1]) * min(blocks, 1 << 16) >> 16
    starts = np.flatnonzero(np.diff(block, prepend=-1))
    parts = [np.split(rows[name][known], starts[1:].tolist()) for name in _ARRAYS]
    return {
        f"{place:05d}": _packed(*arrays)
        for place, *arrays in zip(block[starts].tolist(), *parts, strict=True)
    }


def short_keys(keys: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The first half of each key, which is enough to tell rows apart.

    Args:
        keys: uint8 ``(rows, KEY_BYTES)``.
    """
    return np.ascontiguousarray(keys[:, :8]).view("<u8")[:, 0]


def joined(blocks: Mapping[str, NDArray[np.uint8]]) -> dict[str, NDArray[Any]]:
    """``x``, ``y`` and short ``key`` of the rows in these blocks.

    Raises:
        CorruptError: They do not read.
    """
    try:
        parts = [_unpacked(blocks[place]) for place in sorted(blocks)]
        arrays = [np.concatenate(each) for each in zip(*parts, strict=True)]
    except (ValueError, EOFError, MemoryError, zlib.error) as error:
        raise CorruptError(f"training rows in the model store do not read ({error})") from None
    return dict(zip(_ARRAYS, arrays, strict=True))


def _packed(*parts: NDArray[Any]) -> NDArray[np.uint8]:
    file = io.BytesIO()
    for part in parts:
        np.save(file, part, allow_pickle=False)
    return np.frombuffer(zlib.compress(file.getvalue()), np.uint8)


def _unpacked(block: NDArray[np.uint8]) -> list[NDArray[Any]]:
    file = io.BytesIO(zlib.decompress(block.tobytes()))
    return [np.load(file, allow_pickle=False) for _ in _ARRAYS]


def drop_unneeded(store: ModelStore) -> None:
    """Remove rows that no recipe names, and all that no model needs."""

    def unneeded(records: dict[str, JsonObject]) -> set[str]:
        needed = {each["recipe"]["rows"] for each in records.values() if "recipe" in each}
        return {name for name in records if is_rows(name)} - needed

    store.remove_chosen(unneeded)
    store.collect_garbage()


def sketches(tensors: Mapping[str, NDArray[Any]]) -> dict[str, list[float]]:
    """Sums of a layer's parameters under eight fixed choices of signs, for each layer.

    The mean square of the difference of two sketches is, on average over signs, the squared
    distance of the layers, with a relative standard deviation of a half.

    Args:
        tensors: Real parameters by name; a layer is a name up to its last dot.

    Source:
        Alon, Matias and Szegedy 1996, The space complexity of approximating the frequency moments.
    """
    found = {}
    for layer in dict.fromkeys(name.rpartition(".")[0] for name in sorted(tensors)):
        own = [tensors[n] for n in sorted(tensors) if n.rpartition(".")[0] == layer]
        values = np.concatenate([each.reshape(-1).astype(np.float64) for each in own])
        seed = int.from_bytes(hashlib.sha256(layer.encode()).digest()[:8])
        # Raw bits are the same with every version of numpy.
        raw = np.random.PCG64(seed).random_raw(len(values))
        bits = [(raw >> np.uint64(place)) & np.uint64(1) for place in range(_SKETCH_NUMBERS)]
        found[layer] = [float(np.where(own == 1, values, -values).sum()) for own in bits]
    return found


def distance(first: Sequence[float], second: Sequence[float]) -> float:
    """Estimate of the Euclidean distance of two layers."""
    return float(np.sqrt(np.mean(np.square(np.subtract(first, second)))))
