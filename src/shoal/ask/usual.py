"""The two usual models of tables as arrays: a linear model and boosted trees, without scikit-learn.

:mod:`shoal.evaluate.usual` fits them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.errors import CorruptError
from shoal.formats.documents.weights import UsualFacts
from shoal.formats.fitted_state import load_state
from shoal.formats.kinds import LINEAR
from shoal_edge.exact import BLOCK_ROWS, ExactProduct

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Places = NDArray[np.int64]
    Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class LinearModel:
    """A weighted sum of the features less their means.

    Attributes:
        weight: ``(features, outputs)``.
        bias: ``(outputs,)``.
        mean: ``(features,)``.
    """

    weight: Floats
    bias: Floats
    mean: Floats

    @property
    def flops_per_row(self) -> float:
        """``2 n k`` for n features and k outputs."""
        return 2.0 * self.weight.size

    def outputs(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """Logits of classes, or a standardised number, float32 ``(rows, outputs)``.

        Args:
            x: Encoded rows ``(rows, features)``; none has a say in another's answer.
        """
        return ExactProduct(self.weight, self.mean)(x) + self.bias.astype(np.float32)

    def tensors(self) -> Tensors:
        """The arrays."""
        return {"weight": self.weight, "bias": self.bias, "mean": self.mean}


@dataclass(frozen=True)
class BoostedTrees:
    """A sum of trees; a row goes left where its feature is at most the threshold.

    Attributes:
        roots: Node that a tree begins with, ``(rounds, trees)``.
        columns: Output that each of the trees of a round adds to, ``(trees,)``.
        feature: Feature of each node, ``(nodes,)``.
        threshold: What it is compared with.
        left: Node for rows at or below it; a leaf has itself.
        right: Node for the others; a leaf has itself.
        value: What a leaf adds.
        bias: What the sums begin with, ``(outputs,)``.
        steps: Comparisons that a row takes in all trees together, on average of training rows.
    """

    roots: Places
    columns: Places
    feature: Places
    threshold: Floats
    left: Places
    right: Places
    value: Floats
    bias: Floats
    steps: float

    @property
    def flops_per_row(self) -> float:
        """A comparison per step and an addition per tree."""
        return self.steps + self.roots.size

    def outputs(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """As :meth:`LinearModel.outputs`."""
        found = np.empty((len(x), len(self.bias)), np.float32)
        for start in range(0, len(x), BLOCK_ROWS):
            found[start : start + BLOCK_ROWS] = self._sums(x[start : start + BLOCK_ROWS])
        return found

    def _sums(self, x: NDArray[Any]) -> Floats:
        row, sums = np.arange(len(x))[:, None], np.tile(self.bias, (len(x), 1))
        for roots in self.roots:
            at, after = roots, np.tile(roots, (len(x), 1))
            while not np.array_equal(at, after):
                at = after
                is_left = x[row, self.feature[at]] <= self.threshold[at]
                after = np.where(is_left, self.left[at], self.right[at])
            sums[:, self.columns] += self.value[at]
        return sums

    def tensors(self) -> Tensors:
        """The arrays, and the steps."""
        names = ("roots", "columns", "feature", "threshold", "left", "right", "value", "bias")
        return {name: getattr(self, name) for name in names} | {"steps": np.array([self.steps])}


def usual_answers(path: Path, x: NDArray[Any], task: str) -> Tensors:
    """Answers of the usual models about rows, float32 ``(rows, outputs)``, by name of the model.

    Args:
        path: Output of :func:`shoal.evaluate.usual.fit_usual`; of rows that are no table none.
        x: Encoded rows ``(rows, features)``.
        task: ``classification`` or ``regression``.

    Raises:
        CorruptError: The file holds no such models.
    """
    from shoal.training.tasks import rules

    tensors, facts = load_state(path, UsualFacts)
    # The last step of a row has the same bits at every place of whole blocks.
    padded = np.concatenate([x, np.zeros((-len(x) % BLOCK_ROWS, *x.shape[1:]), x.dtype)])
    found: Tensors = {}
    for name in facts["models"]:
        own = {key: each for whole, each in tensors.items() for key in _inside(whole, name)}
        try:
            answered = _model(name, own, x.shape[1]).outputs(padded)
        except (KeyError, ValueError, IndexError, TypeError) as error:
            raise CorruptError(f"{path}: {name!r} is no such model ({error})") from None
        found[name] = rules(task).finished(answered)[: len(x)]
    return found


def _inside(whole: str, name: str) -> list[str]:
    """The tensor's own name, if it is of a model."""
    return [whole.removeprefix(f"{name}/")] if whole.startswith(f"{name}/") else []


def _model(name: str, tensors: Tensors, features: int) -> LinearModel | BoostedTrees:
    if name == LINEAR:
        return LinearModel(**tensors)
    trees = BoostedTrees(**tensors | {"steps": float(tensors["steps"][0])})  # type: ignore[arg-type]
    node, nodes = np.arange(len(trees.value)), len(trees.value)
    for after in (trees.left, trees.right):
        # Nodes stand behind those that lead to them, so that every row arrives at a leaf.
        if after.shape != node.shape or ((after < node) | (after >= nodes)).any():
            raise ValueError("a node leads to none")
    if not ((trees.left == node) == (trees.right == node)).all():
        raise ValueError("a node leads to itself")
    if ((trees.feature < 0) | (trees.feature >= features)).any():
        raise ValueError(f"a node asks for none of {features} features")
    return trees
