"""Embedders that are networks; :mod:`shoal.embed.train` trains them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Literal, Self

import numpy as np
import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import nn

from shoal.embed.embedder import Embedder, seen_shape
from shoal.errors import CorruptError
from shoal.formats.fitted_state import State
from shoal.formats.stored import Stored, as_kind, check_numbers, check_range, tensor_of
from shoal.models import MLP, channels_and_sides, channels_first
from shoal.training.bounded import check_layout
from shoal_edge.exact import padded_blocks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from shoal.formats.fitted_state import Tensors


class ImageEncoder(nn.Module):
    """Strided convolutions and a linear layer, for small images.

    Args:
        shape: Height and width of an image, channels before or after them where there are any.
        dims: Outputs.
        width: Channels of each convolution.
        depth: Convolutions; each halves height and width.
    """

    def __init__(self, shape: Sequence[int], dims: int, width: int, depth: int) -> None:
        super().__init__()
        channels, sides = channels_and_sides(shape)
        layers: list[nn.Module] = []
        for _ in range(depth):
            layers += [nn.Conv2d(channels, width, 3, stride=2, padding=1), nn.ReLU()]
            channels, sides = width, [math.ceil(side / 2) for side in sides]
        head = nn.Linear(channels * math.prod(sides), dims)
        self.layers = nn.Sequential(*layers, nn.Flatten(), head)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Embeddings ``(rows, dims)`` of images ``(rows, *shape)``, or with channels first."""
        result: torch.Tensor = self.layers(channels_first(x))
        return result


class _Facts(Stored):
    """Facts of an embedder, besides its tensors."""

    method: Literal["scarf", "vicreg"]
    x_shape: Annotated[list[PositiveInt], Field(min_length=1)]
    prefix: PositiveInt | None
    dims: PositiveInt
    width: PositiveInt
    depth: NonNegativeInt
    flops_per_row: NonNegativeInt


@dataclass(frozen=True)
class Architecture:
    """Kind and sizes of an encoder.

    Attributes:
        method: ``scarf`` or ``vicreg``.
        x_shape: Shape of one encoded row.
        dims: Width of the embedding.
        width: Width of hidden layers.
        depth: Hidden layers.
        prefix: How many places of a row's first axis are embedded; None for all.
    """

    method: str
    x_shape: tuple[int, ...]
    dims: int
    width: int
    depth: int
    prefix: int | None = None

    def build(self) -> nn.Module:
        """An encoder with weights drawn from torch's global generator."""
        seen = seen_shape(self.x_shape, self.prefix)
        if self.method == "vicreg":
            return ImageEncoder(seen, self.dims, self.width, self.depth)
        return MLP(math.prod(seen), self.dims, self.width, self.depth)


class NeuralEmbedder(Embedder):
    """The encoder's output, before any projection head, standardised.

    Each dimension is centred and divided by its standard deviation over the training fold as
    measured when the fit ended, so that no dimension rules distances by its unit alone.
    """

    def __init__(
        self,
        architecture: Architecture,
        encoder: nn.Module,
        mean: NDArray[np.float32],
        scale: NDArray[np.float32],
        flops_per_row: int,
    ) -> None:
        """Keep the trained encoder.

        Args:
            architecture: Kind and sizes of the encoder.
            encoder: Rows to ``(rows, dims)``.
            mean: Mean of each dimension, float32 ``(dims,)``.
            scale: Standard deviation of each dimension, float32 ``(dims,)``.
            flops_per_row: Counted on the encoder.
        """
        self.architecture = architecture
        self.method = architecture.method
        self.x_shape, self.prefix = architecture.x_shape, architecture.prefix
        self.dims = architecture.dims
        self._encoder = encoder.cpu().eval()
        self._mean = mean
        self._scale = scale
        self.flops_per_row = flops_per_row

    def _embedded(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        out = np.empty((len(x), self.dims), dtype=np.float32)
        with torch.no_grad():
            for rows, block in padded_blocks(x, "float32"):
                output = self._encoder(torch.from_numpy(block)).numpy()[: rows.stop - rows.start]
                out[rows] = (output - self._mean) / self._scale
        return out

    def state(self) -> State:
        """Weights, mean and scale; the encoder's architecture and cost."""
        tensors = {
            f"encoder.{name}": value.numpy(force=True)
            for name, value in self._encoder.state_dict().items()
        }
        meta = asdict(self.architecture) | {"x_shape": list(self.x_shape)}
        tensors |= {"mean": self._mean, "scale": self._scale}
        return State(tensors, meta | {"flops_per_row": self.flops_per_row})

    @classmethod
    def from_state(cls, tensors: Tensors, meta: Mapping[str, object]) -> Self:
        """The embedder that gave this state.

        Raises:
            CorruptError: It is of another network than it says, or one that no fit gives.
        """
        facts = as_kind(_Facts, dict(meta))
        if facts.method == "vicreg" and len(facts.x_shape) not in (2, 3):
            raise CorruptError(f"x_shape: 'vicreg' is for images, not rows of {facts.x_shape}")
        sizes = (facts.dims, facts.width, facts.depth, facts.prefix)
        architecture = Architecture(facts.method, tuple(facts.x_shape), *sizes)
        place = "encoder."
        own = {n.removeprefix(place): t for n, t in tensors.items() if n.startswith(place)}
        check_layout(architecture.build, own)
        for name, tensor in own.items():
            check_numbers(tensor, place + name, finite=True)
        mean = tensor_of(tensors, "mean", "float32", (facts.dims,))
        scale = tensor_of(tensors, "scale", "float32", (facts.dims,))
        check_range(scale, "scale", float(np.finfo(np.float32).tiny))
        with torch.random.fork_rng(devices=[]):
            encoder = architecture.build()
        encoder.load_state_dict({n: torch.from_numpy(np.array(t)) for n, t in own.items()})
        return cls(architecture, encoder, mean, scale, facts.flops_per_row)
