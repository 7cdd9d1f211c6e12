"""Networks that are built only if their parameters are those of a file."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from shoal.errors import CorruptError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray


class _TooManyError(Exception):
    """There are more parameters than the file has tensors."""


def check_layout(build: Callable[[], torch.nn.Module], tensors: Mapping[str, NDArray[Any]]) -> None:
    """Compare a network's parameters with a file's tensors before any takes memory.

    It is built on torch's meta device, whose tensors have a shape and no content, and no further
    than to the first parameter more than there are tensors.

    Args:
        build: Makes the network; it must not read content of tensors.
        tensors: What its weights will be.

    Raises:
        CorruptError: Names, shapes or types differ, or it does not build.
    """
    try:
        with torch.random.fork_rng(devices=[]), _at_most(len(tensors)), torch.device("meta"):
            wanted = build().state_dict()
    except _TooManyError:
        raise CorruptError(
            f"the model has more parameters than the file has tensors, {len(tensors)}"
        ) from None
    except (RuntimeError, TypeError, ValueError, OverflowError, MemoryError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CorruptError(f"holds weights of a model that does not build ({reason})") from None
    for name in sorted(wanted.keys() ^ tensors.keys()):
        lacks = "lacks" if name in wanted else "has"
        raise CorruptError(f"{lacks} tensor {name!r}, unlike the model that is to have its weights")
    for name, tensor in wanted.items():
        dtype = str(tensor.dtype).removeprefix("torch.")
        stored = tensors[name]
        if (tuple(tensor.shape), dtype) != (stored.shape, stored.dtype.name):
            raise CorruptError(
                f"tensor {name!r} is {stored.dtype.name} of shape {stored.shape}, but that of the "
                f"model is {dtype} of shape {tuple(tensor.shape)}"
            )


@contextmanager
def _at_most(parameters: int) -> Iterator[None]:
    """End the building of a network in this thread that has more parameters."""
    from torch.nn.modules.module import register_module_parameter_registration_hook

    builder, count = threading.get_ident(), 0

    def counted(_module: torch.nn.Module, _name: str, parameter: object) -> None:
        nonlocal count
        if parameter is not None and threading.get_ident() == builder:
            count += 1
            if count > parameters:
                raise _TooManyError

    hook = register_module_parameter_registration_hook(counted)
    try:
        yield
    finally:
        hook.remove()
