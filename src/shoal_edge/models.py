"""A pool's network, asked with the weights of any of its experts."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from shoal_edge.errors import EdgeError
from shoal_edge.exact import ExactProduct, padded_blocks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from shoal_edge.state import Files

    Weights = Mapping[str, NDArray[Any]]

MLP = "shoal.models.MLP"
"""The network that numpy computes."""
GRAPH = "model.onnx"
"""The file that says what any other network computes."""

_layer = re.compile(r"layers\.(\d+)\.weight")


class Network(Protocol):
    """What a network computes."""

    def __call__(self, weights: Weights, x: NDArray[Any]) -> NDArray[np.float32]:
        """Logits or numbers, float32 ``(rows, outputs)``.

        Args:
            weights: Tensors of one expert, by name.
            x: Encoded rows ``(rows, …)``; there is one at least.
        """


def network(files: Files, x_type: str) -> Network:
    """The network of a pool.

    Args:
        files: The pool.
        x_type: numpy type of encoded rows.

    Raises:
        EdgeError: It is none that can be computed here.
    """
    if files.manifest["model"]["_target_"] == MLP:
        return perceptron
    if GRAPH not in files.names:
        named = files.manifest["model"]["_target_"]
        raise EdgeError(
            f"{files.folder}: its model is {named}, which without torch takes a graph; "
            f"`shoal graph {files.folder} --out FOLDER` makes a copy that has one"
        )
    return Graph(files.read(GRAPH), x_type)


def perceptron(weights: Weights, x: NDArray[Any]) -> NDArray[np.float32]:
    """:class:`shoal.models.MLP`: each product is rounded once, alike on every processor.

    Args:
        weights: ``layers.N.weight`` ``(outputs, inputs)`` and ``layers.N.bias``, float32.
        x: Encoded rows ``(rows, …)``, flattened.
    """
    numbers = sorted(int(found[1]) for found in map(_layer.fullmatch, weights) if found)
    out: NDArray[np.float32] = x.reshape(len(x), -1)
    for place, number in enumerate(numbers):
        if place:
            out = np.maximum(out, np.float32(0))
        weight, bias = (weights[f"layers.{number}.{name}"] for name in ("weight", "bias"))
        out = ExactProduct(weight.T)(out) + bias
    return out


def perceptron_error(weights: Weights, x: NDArray[Any]) -> NDArray[np.float64]:
    """How far float32 arithmetic in any order can be from :func:`perceptron`, by row and output.

    Of ``n`` products, their sum and a bias at most ``(n + 2) u`` of the sum of their absolute
    values are lost, twice (there and here), where ``u`` is half of float32's epsilon; and what a
    layer is wrong by is multiplied by the weights after it.

    Args:
        weights: As there.
        x: Encoded rows ``(rows, …)``.

    Source:
        Higham 2002, Accuracy and Stability of Numerical Algorithms, section 3.1.
    """
    numbers = sorted(int(found[1]) for found in map(_layer.fullmatch, weights) if found)
    value = x.reshape(len(x), -1).astype(np.float64)
    error = np.zeros_like(value)
    for place, number in enumerate(numbers):
        value = np.maximum(value, 0) if place else value
        weight, bias = (
            weights[f"layers.{number}.{name}"].astype(np.float64) for name in ("weight", "bias")
        )
        unit = (weight.shape[1] + 2) * float(np.finfo(np.float32).eps)
        lost = (np.abs(value) + error) @ np.abs(weight).T + np.abs(bias)
        error = error @ np.abs(weight).T + unit * lost
        value = value @ weight.T + bias
    return error


class Graph:
    """A network as ONNX, whose weights are inputs: it is the same for every expert and release.

    Rows come in padded blocks of one size, as they do in the workflow.
    """

    def __init__(self, content: bytes, x_type: str) -> None:
        """Load the graph.

        Args:
            content: The file.
            x_type: numpy type of encoded rows.

        Raises:
            EdgeError: There is no onnxruntime here, or it cannot load the graph.
        """
        try:
            import onnxruntime
        except ImportError:
            raise EdgeError(f"{GRAPH}: needs onnxruntime: pip install 'shoal-edge[onnx]'") from None
        try:
            self._session = onnxruntime.InferenceSession(
                content, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime has a class for each of its codes
            raise EdgeError(f"{GRAPH}: onnxruntime does not load it ({_line(error)})") from None
        self._names = [each.name for each in self._session.get_inputs()]
        self._type = x_type

    def __call__(self, weights: Weights, x: NDArray[Any]) -> NDArray[np.float32]:
        """Logits or numbers, float32 ``(rows, outputs)``."""
        lacking = {*self._names} - {"x", *weights}
        if lacking:
            raise EdgeError(f"{GRAPH}: does not fit the pool, which has no {min(lacking)!r}")
        given = {name: weights[name] for name in self._names if name != "x"}
        parts = []
        for some, block in padded_blocks(x, self._type):
            try:
                (out,) = self._session.run(None, {"x": block} | given)
            except Exception as error:  # as above
                raise EdgeError(f"{GRAPH}: does not fit the pool ({_line(error)})") from None
            parts.append(out[: some.stop - some.start].reshape(some.stop - some.start, -1))
        return np.concatenate(parts).astype(np.float32, copy=False)


def _line(error: Exception) -> str:
    return " ".join(itertools.islice(str(error).split(), 40))


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities, float32 ``(rows, classes)``, by float64, so that they are rounded once."""
    wide = logits.astype(np.float64)
    shares = np.exp(wide - wide.max(axis=1, keepdims=True))
    probability: NDArray[np.float32] = (shares / shares.sum(axis=1, keepdims=True)).astype(
        np.float32
    )
    return probability
