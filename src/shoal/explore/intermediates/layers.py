"""Outputs of a model's layers, the tensors they are made from, and the cost of reaching them."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from shoal.explore.intermediates.costs import Clock
from shoal.explore.intermediates.forms import Kind, Layer
from shoal_edge.exact import BLOCK_ROWS, padded_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    Seen = Callable[[str, Any], None]

_REPEATS = 7


class _Enough(BaseException):
    """Ends a forward pass after the last layer that is wanted; no user's code may catch it."""


class _Reads(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes which of a model's tensors any operation reads, views and tied ones too."""

    def __init__(self, net: torch.nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: set[str] = set()
        self._owners: dict[int, set[str]] = {}
        for name, value in net.state_dict(keep_vars=True).items():
            self._owners.setdefault(value.untyped_storage().data_ptr(), set()).add(name)
        self._owners.pop(0, None)  # of tensors without elements

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 - torch's own
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        for value in tree_leaves((args, kwargs)):
            if isinstance(value, torch.Tensor):
                self.names |= self._owners.get(value.untyped_storage().data_ptr(), set())
        return func(*args, **(kwargs or {}))


@contextmanager
def _watching(net: torch.nn.Module, seen: Seen) -> Iterator[None]:
    """Call ``seen`` with name and output of every module, in the order in which they end.

    All modules have a hook, whichever are wanted: torch takes other, faster ways through some
    modules without, which round otherwise.
    """

    def hook(name: str) -> Any:  # noqa: ANN401 - what torch calls
        return lambda _module, _inputs, output: seen(name, output)

    handles = [
        module.register_forward_hook(hook(name)) for name, module in net.named_modules() if name
    ]
    try:
        with torch.no_grad():
            yield
    finally:
        for handle in handles:
            handle.remove()


def survey(net: torch.nn.Module, x: NDArray[Any]) -> dict[str, Layer]:
    """Look at every layer while some rows go through the model.

    Args:
        net: The model.
        x: Encoded rows ``(rows, …)``; the first ``BLOCK_ROWS`` are used.

    Returns:
        Every module but the model itself, by name.
    """
    net.eval()
    _, block = next(padded_blocks(x[:BLOCK_ROWS], x.dtype.name))
    rows = torch.from_numpy(block)
    layers = {name: Layer() for name, _ in net.named_modules() if name}
    calls = dict.fromkeys(layers, 0)
    reads = _Reads(net)

    def look(name: str, output: Any) -> None:  # noqa: ANN401 - whatever the module gives
        calls[name] += 1
        layers[name].reason = _reason(output, calls[name])
        layers[name].kind = None if layers[name].reason else _kind(output)
        layers[name].tensors = frozenset(reads.names)

    with _watching(net, look), reads:
        net(rows)
    counter = FlopCounterMode(display=False)

    def count(name: str, _: Any) -> None:  # noqa: ANN401 - the same
        layers[name].flops = counter.get_total_flops() / BLOCK_ROWS

    with _watching(net, count), counter:
        net(rows)
    return layers


def seconds_a_row(net: torch.nn.Module, x: NDArray[Any]) -> dict[str, float]:
    """Measure the time from a row's start until each module has ended, on this machine.

    Args:
        net: The model.
        x: As :func:`survey` takes them.
    """
    _, block = next(padded_blocks(x[:BLOCK_ROWS], x.dtype.name))
    rows = torch.from_numpy(block)
    net.eval()
    found: dict[str, list[float]] = {}
    clock = Clock()

    def note(name: str, _: Any) -> None:  # noqa: ANN401 - the same
        found.setdefault(name, []).append(clock.seconds)

    with _watching(net, note):
        net(rows)  # the first pass is slower
        found.clear()
        for _ in range(_REPEATS):
            clock = Clock()
            net(rows)
    # Others may use the machine, so what is more than the least is theirs.
    return {name: min(each) / BLOCK_ROWS for name, each in found.items()}


def _reason(output: Any, calls: int) -> str:  # noqa: ANN401 - whatever the module gives
    """Why a layer's output cannot be kept; empty where it can."""
    if calls > 1:
        return f"is called {calls} times for a row; choose one that is called once"
    if not isinstance(output, torch.Tensor):
        return f"gives a {type(output).__name__}, no tensor; choose a layer within or after it"
    if output.layout is not torch.strided or not output.is_floating_point():
        return f"gives {output.dtype} ({output.layout}), no dense floats"
    if not output.ndim or len(output) != BLOCK_ROWS:
        return f"gives shape {tuple(output.shape)} for {BLOCK_ROWS} rows: rows must come first"
    return ""


def _kind(output: torch.Tensor) -> Kind:
    wide = output.dtype == torch.float64
    return Kind(tuple(output.shape[1:]), "float64" if wide else "float32")


@dataclass(frozen=True)
class Passed:
    """Outputs of some layers for some rows.

    Attributes:
        values: Name of a layer to ``(rows, …)``.
        tensors: Name of a layer to the tensors that were read before it ended; empty unless
            they were watched.
    """

    values: dict[str, NDArray[Any]] = field(default_factory=dict)
    tensors: dict[str, set[str]] = field(default_factory=dict)


def activations(
    net: torch.nn.Module, x: NDArray[Any], names: Iterable[str], *, watched: bool = False
) -> Passed:
    """Send rows through a model as far as its layers are wanted.

    Args:
        net: The model.
        x: Encoded rows ``(rows, …)``.
        names: Layers that :func:`~.forms.wanted_layer` has approved.
        watched: Whether to note which tensors are read.

    Returns:
        A row's bits are the same in any batch; nothing the model does later changes them.
    """
    net.eval()
    wanted = frozenset(names)
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in wanted}
    passed = Passed(tensors={name: set() for name in wanted})
    for place, block in padded_blocks(x, x.dtype.name):
        found = _one_block(net, torch.from_numpy(block), wanted, passed, watched)
        for name, value in found.items():
            parts[name].append(value[: place.stop - place.start])
    passed.values.update({name: np.concatenate(each) for name, each in parts.items() if each})
    return passed


def _one_block(
    net: torch.nn.Module, rows: torch.Tensor, wanted: frozenset[str], passed: Passed, watched: bool
) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {}
    reads = _Reads(net) if watched else None

    def take(name: str, output: Any) -> None:  # noqa: ANN401 - a tensor, as the survey has seen
        if name not in wanted:
            return
        wide = output.dtype == torch.float64
        copied = output.detach().to(torch.float64 if wide else torch.float32, copy=True)
        found[name] = copied.numpy(force=True)  # a copy: what follows may change it in place
        if reads is not None:
            passed.tensors[name] |= reads.names
        if len(found) == len(wanted):
            raise _Enough

    try:
        with _watching(net, take):
            if reads is None:
                net(rows)
            else:
                with reads:
                    net(rows)
    except _Enough:
        pass
    return found
