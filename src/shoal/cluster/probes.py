"""Probes: copies of the base that are trained a little, to compare partitions of the data."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.cluster.sample import Block, blocks
from shoal.errors import DataError
from shoal.formats.row_store import SmallestDraws, known_labels
from shoal.formats.units import UNIT
from shoal.partitions.grouping import FOLD_NAMES
from shoal.partitions.reader import halves
from shoal.training.fit import begin_on_rows, calling
from shoal.training.lanes import side_by_side
from shoal.training.model import (
    answer_flops,
    build_model,
    load_weights,
    predict,
    row_losses,
    weights,
)

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping, Sequence
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from shoal.embed.embedder import Embedder
    from shoal.formats.ledger import Ledger
    from shoal.formats.shapes import Shapes
    from shoal.settings.learning import Model, Training
    from shoal.training.loop import Begun

    Labels = NDArray[np.int32]
    Losses = NDArray[np.float64]


@dataclass(frozen=True)
class LabelledRows:
    """Rows that probes are trained and judged on, row-aligned.

    Attributes:
        x: Encoded inputs ``(rows, …)``.
        y: Encoded labels ``(rows, …)``, all known.
        key: Row keys, uint8 ``(rows, KEY_BYTES)``.
        embedding: float32 ``(rows, dims)``.
        unit: Unit of each row, uint64 ``(rows,)``; None where each is its own.
    """

    x: NDArray[Any]
    y: NDArray[Any]
    key: NDArray[np.uint8]
    embedding: NDArray[np.float32]
    unit: NDArray[np.uint64] | None = None

    def __len__(self) -> int:
        return len(self.y)

    def at(self, places: NDArray[Any]) -> LabelledRows:
        """Some of the rows, by place or by truth."""
        unit = None if self.unit is None else self.unit[places]
        rows = LabelledRows(*(getattr(self, name)[places] for name in _LABELLED))
        return replace(rows, unit=unit)


_LABELLED = ("x", "y", "key", "embedding")


def labelled_sample(
    encoded: Sequence[Path],
    embedder: Embedder,
    fold: int,
    rows: int,
    seed: int,
    half: int | None = None,
) -> tuple[LabelledRows, int]:
    """The rows of one fold whose keys draw the smallest numbers, those of unknown labels left out.

    Args:
        encoded: Encoded shards.
        embedder: The fitted embedder.
        fold: The fold's code.
        rows: Rows in the sample, at most.
        seed: Seed of the draw.
        half: Only rows of this half of the fold, 0 or 1; grid points are chosen on half 0 of the
            validation fold.

    Returns:
        The rows in order of draw, and the number of all rows of the fold.

    Raises:
        DataError: There is no such row, or an embedding is not finite.
    """
    smallest, in_fold = SmallestDraws(rows, seed, "cluster"), 0
    names = ("x", "y", "key", "hash", "fold", UNIT)
    for block in blocks(encoded, names):
        arrays = block.arrays
        inside = arrays["fold"] == fold
        in_fold += int(inside.sum())
        inside &= known_labels(arrays["y"])
        if half is not None:
            inside &= halves(arrays) == half
        known = np.flatnonzero(inside)

        def taken(
            places: NDArray[np.int64], block: Block = block, known: NDArray[np.int64] = known
        ) -> tuple[NDArray[Any], ...]:
            chosen = known[places]
            parts = {name: array[chosen] for name, array in block.arrays.items()}
            parts["embedding"] = block.embedded(embedder, chosen)
            return tuple(parts[name] for name in (*_LABELLED, UNIT) if name in parts)

        smallest.add(arrays["key"][known], arrays["hash"][known], taken)
    sample = LabelledRows(*smallest.arrays())
    if not len(sample):
        part = "" if half is None else f"{('first', 'second')[half]} half of the "
        raise DataError(
            f"cluster: no row in the {part}{FOLD_NAMES[fold]} fold has a known label, and probes "
            f"need some; give the fold more rows or use cluster=kmeans"
        )
    return sample, in_fold


@dataclass(frozen=True)
class ProbeRecipe:
    """Model and training of probes.

    Attributes:
        model: The user's class and its arguments.
        training: Loss, optimiser and order, those of specialists.
        shapes: Shape of rows and labels.
        base: Weights that probes start from.
        rows_seen: The budget that is frozen with the base.
        ledger: Is charged for training and for losses.
    """

    model: Model
    training: Training
    shapes: Shapes
    base: Mapping[str, NDArray[Any]]
    rows_seen: int
    ledger: Ledger

    def net(self, tensors: Mapping[str, NDArray[Any]]) -> torch.nn.Module:
        """The model with these weights."""
        net = build_model(self.model, self.shapes, self.training.seed)
        load_weights(net, tensors)
        return net

    def charge(self, part: str, flops: float) -> None:
        """Count FLOPs, which the ledger also names as a part."""
        self.ledger.flops += flops
        self.ledger.detail[part] = self.ledger.detail.get(part, 0.0) + flops


@dataclass
class Probes:
    """One probe per partition, trained on rows in memory; each training goes on from the last.

    Attributes:
        recipe: Their model and training.
        rows: Training rows.
        partitions: Number of probes.
    """

    recipe: ProbeRecipe
    rows: LabelledRows
    partitions: int
    _weights: list[Mapping[str, NDArray[Any]]] = field(init=False)
    _trained: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._weights = [self.recipe.base] * self.partitions

    def train(self, partition: Labels, rows_seen: float) -> None:
        """Train every probe on its partition.

        Args:
            partition: Of each training row, int32 ``(rows,)``.
            rows_seen: Rows of all probes, repeats counted; each has its partition's share.
        """
        train_probes([(self, partition)], rows_seen)

    def begun(
        self, partition: Labels, rows_seen: float, costs: dict[Hashable, int]
    ) -> Iterator[tuple[int, torch.nn.Module, Begun]]:
        """The training of each probe, begun when it is taken; see :func:`train_probes`."""
        recipe = self.recipe
        seed = recipe.training.seed + self._trained
        training = recipe.training.model_copy(update={"seed": seed})
        self._trained += 1
        for number in range(self.partitions):
            own = np.flatnonzero(partition == number)
            if not len(own):
                continue
            net = recipe.net(self._weights[number])
            arrays = {"x": self.rows.x[own], "y": self.rows.y[own]}
            rows = round(rows_seen * len(own) / len(partition))
            shapes, ledger = recipe.shapes, recipe.ledger
            yield (
                number,
                net,
                begin_on_rows(net, arrays, training, shapes, rows, ledger, None, None, costs),
            )

    def take(self, number: int, net: torch.nn.Module) -> None:
        """Keep what a probe has learned."""
        self._weights[number] = weights(net)

    def losses(self, number: int, rows: LabelledRows) -> Losses:
        """Loss of each row under one probe, float64 ``(rows,)``."""
        recipe = self.recipe
        net = recipe.net(self._weights[number])
        recipe.charge("losses", answer_flops(net, recipe.shapes) * len(rows))
        task = recipe.shapes.task
        return row_losses(predict(net, rows.x, task, y=rows.y), rows.y, task)

    def all_losses(self, places: NDArray[np.int64]) -> Losses:
        """Loss of training rows under every probe, float64 ``(places, partitions)``."""
        rows = self.rows.at(places)
        return np.stack([self.losses(number, rows) for number in range(self.partitions)], axis=1)

    def own_losses(self, partition: Labels, rows: LabelledRows) -> Losses:
        """Loss of each row under the probe of its partition, float64 ``(rows,)``."""
        losses = np.zeros(len(rows))
        for number in np.unique(partition).tolist():
            own = np.flatnonzero(partition == number)
            losses[own] = self.losses(number, rows.at(own))
        return losses


def train_probes(probes: Sequence[tuple[Probes, Labels]], rows_seen: float) -> None:
    """Train the probes of several cuts, small ones side by side; no bit depends on it.

    Args:
        probes: The probes of each cut, all of one recipe, and the partition of each training row.
        rows_seen: Rows of all probes of a cut, repeats counted.
    """
    recipe = probes[0][0].recipe
    before = recipe.ledger.flops
    costs: dict[Hashable, int] = {}
    owners: dict[Begun, tuple[Probes, int, torch.nn.Module]] = {}

    def line() -> Iterator[tuple[str, Begun]]:
        for each, partition in probes:
            for number, net, training in each.begun(partition, rows_seen, costs):
                owners[training] = each, number, net
                yield "probe", training

    for training, failure in side_by_side(line()):
        own, number, net = owners.pop(training)
        with calling(net):
            if failure is not None:
                raise failure
            training.close()
        own.take(number, net)
    spent = recipe.ledger.flops - before
    recipe.ledger.flops = before
    recipe.charge("probes", spent)
