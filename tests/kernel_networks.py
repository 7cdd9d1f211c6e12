"""In which batches networks give a row other bits than among all rows, as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from shoal.embed.neural import Architecture, NeuralEmbedder
from shoal.explore.intermediates.layers import activations
from shoal.models import MLP
from shoal.training.model import predict
from tests.explore.intermediates.test_layers import Net
from tests.kernel_digests import arrays, moved, numbers

if TYPE_CHECKING:
    from collections.abc import Callable


def embedder(method: str, shape: tuple[int, ...]) -> NeuralEmbedder:
    """A network with fresh weights."""
    built = Architecture(method, shape, 8, 32, 2)
    return NeuralEmbedder(built, built.build(), np.zeros(8, np.float32), np.ones(8, np.float32), 0)


def main() -> None:
    """Print of each network the batches in which rows differ."""
    torch.manual_seed(0)
    net = MLP(45, 3, 64, 2)
    subjects: dict[str, tuple[Any, Callable[[Any], Any]]] = {
        "scarf": (numbers(600, 45), embedder("scarf", (45,)).embed),
        "vicreg": (numbers(600, 8, 8), embedder("vicreg", (8, 8)).embed),
        "predict": (numbers(600, 45), lambda x: predict(net, x, "classification")),
        "layer": (numbers(600, 6), lambda x: activations(Net(), x, ["leave"]).values["leave"]),
    }
    found = {name: moved(rows, of, arrays(of(rows))) for name, (rows, of) in subjects.items()}
    print(json.dumps(found))  # noqa: T201 - the test reads it


if __name__ == "__main__":
    main()
