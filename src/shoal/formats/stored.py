"""Validation of stored content, before anything is done with it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from shoal.errors import CorruptError, SettingsError
from shoal.formats.validation import explain, validated

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

T = TypeVar("T")


class Stored(BaseModel):
    """A record that Shoal wrote: these keys and no others, numbers that are finite."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True
    )


def as_kind(kind: type[T], content: object, key: str = "") -> T:
    """``content`` as a pydantic model or dataclass, or one line about what is wrong with it.

    Args:
        kind: The type.
        content: JSON values.
        key: The key that it stands under, where it is a part of something.

    Raises:
        CorruptError: A key is missing, unknown or of a wrong value.
    """
    try:
        valid: T = validated(kind, content)
    except ValidationError as error:
        raise CorruptError(explain(kind, error, key, "key")) from None
    return valid


def tensor_of(
    tensors: Mapping[str, NDArray[Any]],
    name: str,
    dtype: str,
    shape: tuple[int | None, ...],
    *,
    finite: bool = True,
) -> NDArray[Any]:
    """A tensor by name, if it is of this type and shape and its numbers are finite.

    Args:
        tensors: The tensors of a file.
        name: The tensor.
        dtype: Its numpy type; ``int`` stands for any signed integer.
        shape: Its shape; None for any number above zero.
        finite: Whether infinite numbers are refused, as NaN is always.

    Raises:
        CorruptError: It is missing or is another.
    """
    tensor = tensors.get(name)
    if not isinstance(tensor, np.ndarray):
        raise CorruptError(f"has no tensor {name!r}")
    if not (tensor.dtype == dtype or (dtype == "int" and tensor.dtype.kind == "i")):
        raise CorruptError(f"tensor {name!r} is of type {tensor.dtype}, it must be {dtype}")
    fits = len(shape) == tensor.ndim and all(
        size == wanted or (wanted is None and size > 0)
        for size, wanted in zip(tensor.shape, shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise CorruptError(f"tensor {name!r} is of shape {tensor.shape}, it must be ({wanted})")
    check_numbers(tensor, name, finite=finite)
    return tensor


def check_numbers(tensor: NDArray[Any], name: str, *, finite: bool) -> None:
    """Refuse NaN and, with ``finite``, infinite numbers.

    Raises:
        CorruptError: There is such a number.
    """
    if tensor.dtype.kind not in "fc":
        return
    bad = ~np.isfinite(tensor) if finite else np.isnan(tensor)
    if bad.any():
        raise CorruptError(f"tensor {name!r} holds {tensor[bad].flat[0]}")


def check_range(tensor: NDArray[Any], name: str, low: float, high: float = np.inf) -> None:
    """Refuse a number outside ``[low, high]``.

    Raises:
        CorruptError: There is such a number.
    """
    bad = (tensor < low) | (tensor > high)
    if bad.any():
        bounds = f"{low} or more" if high == np.inf else f"from {low} to {high}"
        raise CorruptError(f"tensor {name!r} holds {tensor[bad].flat[0]}, it must be {bounds}")


@contextmanager
def naming(place: object) -> Iterator[None]:
    """Let an error about stored content begin with the file that holds it."""
    try:
        yield
    except (CorruptError, SettingsError) as error:
        line = str(error)
        raise CorruptError(line if line.startswith(f"{place}: ") else f"{place}: {line}") from None
