"""Encoders of images and vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import ConfigDict, Field, FiniteFloat, PositiveInt
from typing_extensions import TypedDict

from shoal.encode.column import ColumnEncoder, Target
from shoal.formats.stored import check_range, tensor_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shoal.encode.column import Floats


class _ImageFitted(TypedDict):
    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    mean: FiniteFloat
    spread: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    shape: list[PositiveInt]


class _VectorFitted(TypedDict):
    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    mean: Any
    spread: Any


class Image(ColumnEncoder):
    """Pixels in their shape, less the training pixels' mean, over their standard deviation.

    One mean and one deviation for all pixels, so that a dark or faint dataset (the digits' pixels
    reach 16 of 255) trains as fast as any other.

    Missing: refused.
    """

    name = "image"
    kinds = ("image",)
    Fitted: ClassVar[Any] = _ImageFitted

    def _nothing(self) -> NDArray[Any]:
        return np.zeros((1, *self.fitted["shape"]), np.float32)

    def fit(self, values: NDArray[Any], target: Target) -> None:  # noqa: ARG002
        """Learn mean, deviation and shape."""
        spread = float(values.std(dtype=np.float64)) or 1.0
        mean = float(values.mean(dtype=np.float64))
        self.fitted = {"mean": mean, "spread": spread, "shape": list(values.shape[1:])}

    def encode(self, values: NDArray[Any]) -> Floats:
        """Pixels, ``(rows, *shape)``."""
        centred = values.astype(np.float32) - np.float32(self.fitted["mean"])
        return centred / np.float32(self.fitted["spread"])

    def decode(self, features: Floats) -> NDArray[np.float32]:
        """Pixels, float32 ``(rows, *shape)``."""
        pixels: NDArray[np.float32] = features * np.float32(self.fitted["spread"])
        return pixels + np.float32(self.fitted["mean"])

    @property
    def names(self) -> list[str]:
        """``column[place]`` of each pixel."""
        places = np.ndindex(*self.fitted["shape"])
        return [f"{self.column}[{','.join(map(str, place))}]" for place in places]

    @property
    def shape(self) -> tuple[int, ...]:
        """The image's shape."""
        return tuple(self.fitted["shape"])


class Vector(ColumnEncoder):
    """Each feature less its own training mean, over its own standard deviation (1 if constant).

    Missing: refused.
    """

    name = "vector"
    kinds = ("vector",)
    Fitted: ClassVar[Any] = _VectorFitted

    def check_arrays(self) -> None:
        """Compare each feature's mean and deviation with what a fit gives."""
        mean = tensor_of(self.fitted, "mean", "float64", (None,))
        spread = tensor_of(self.fitted, "spread", "float64", mean.shape)
        check_range(spread, "spread", float(np.finfo(np.float64).smallest_subnormal))

    def _nothing(self) -> NDArray[Any]:
        mean: NDArray[Any] = self.fitted["mean"][np.newaxis]
        return mean

    def fit(self, values: NDArray[Any], target: Target) -> None:  # noqa: ARG002
        """Learn each feature's mean and deviation."""
        numbers = values.astype(np.float64)
        spread = numbers.std(axis=0)
        self.fitted = {"mean": numbers.mean(axis=0), "spread": np.where(spread > 0, spread, 1.0)}

    def encode(self, values: NDArray[Any]) -> Floats:
        """Features, ``(rows, features)``."""
        scaled: NDArray[np.float64] = values.astype(np.float64) - self.fitted["mean"]
        scaled /= self.fitted["spread"]
        with np.errstate(over="ignore"):  # what is not finite is reported by the caller
            return scaled.astype(np.float32)

    def decode(self, features: Floats) -> NDArray[np.float64]:
        """Features in their own units, float64 ``(rows, features)``."""
        numbers: NDArray[np.float64] = features.astype(np.float64) * self.fitted["spread"]
        numbers += self.fitted["mean"]
        return numbers

    @property
    def names(self) -> list[str]:
        """``column[place]`` of each feature."""
        return [f"{self.column}[{place}]" for place in range(len(self.fitted["mean"]))]
