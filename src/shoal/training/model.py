"""The user's model: build it, check it against the labels, predict. Imports no Lightning."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import save

from shoal.errors import ModelError
from shoal.formats.units import mean_of
from shoal.models import MLP, has_channels_last
from shoal.settings.targets import OURS, import_target
from shoal.settings.user_code import Calling, check_arguments
from shoal.training.bounded import check_layout
from shoal.training.flops import forward_flops
from shoal.training.means import ExactMean
from shoal.training.tasks import Rules, rules
from shoal_edge.exact import BLOCK_ROWS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from shoal.formats.documents.choice import Margin
    from shoal.formats.shapes import Shapes
    from shoal.settings.learning import Model


def model_class(model: Model) -> type[torch.nn.Module]:
    """The user's class.

    Raises:
        ModelError: It does not import, is no class of modules, or one of the package
            ``lightning``, whose steps would not be used.
    """
    named: type[torch.nn.Module] = import_target(model.target, "model")
    for base in named.__mro__:
        if base.__name__ == "LightningModule" and base.__module__.startswith("lightning."):
            raise ModelError(
                f"model {model.target}: a LightningModule of the package lightning, but it is "
                f"trained by pytorch_lightning: derive it from pytorch_lightning.LightningModule"
            )
    return named


def build_model(model: Model, shapes: Shapes, seed: int) -> torch.nn.Module:
    """The user's model with seeded initial weights.

    Args:
        model: Class and arguments; ``data:NAME`` arguments are filled from ``shapes``.
        shapes: Shape of rows and labels.
        seed: Seed of the initial weights.

    Raises:
        ModelError: The class does not import, does not take its arguments, gives an output that
            does not fit the labels, says no loss by row where it should, has state that cannot be
            kept, or raises anything.
    """
    kind, place = model_class(model), f"model {model.target}"
    arguments = shapes.fill(model.arguments())
    check_arguments(kind, place, **arguments)
    torch.manual_seed(seed)
    with Calling(kind, place, "its constructor"):
        built = kind(**arguments)
    _check_output(built, place, shapes)
    _check_state(built, place)
    return built


def _check_output(module: torch.nn.Module, place: str, shapes: Shapes) -> None:
    """Refuse a model that does not fit the labels, asked about two rows of zeros."""
    batch = ", ".join(["B", *map(str, shapes.x_shape)])
    hint = f"; x is {shapes.x_dtype} of shape ({batch}){_axes(shapes.x_shape)}"
    calling = Calling(type(module), place, "the forward pass", hint)
    rules(shapes.task).check(module.eval(), blank_rows(shapes, 2), shapes, calling)


def blank_rows(shapes: Shapes, rows: int) -> torch.Tensor:
    """Encoded rows of zeros, to call a model with."""
    return torch.zeros((rows, *shapes.x_shape), dtype=getattr(torch, shapes.x_dtype))


def _axes(x_shape: Sequence[int]) -> str:
    """Advice on how to bring the axes of images to the order of convolutions."""
    if len(x_shape) == 2:
        return ", without channels: x.unsqueeze(1) adds them"
    if len(x_shape) == 3 and has_channels_last(x_shape):
        return ", channels last: x.permute(0, 3, 1, 2) has them first"
    return ""


def _check_state(module: torch.nn.Module, place: str) -> None:
    """Refuse a tensor in the state that cannot be written, before a training is lost."""
    with Calling(type(module), place, "its state"):
        state = module.state_dict()
    for name, value in state.items():
        kind = _unkept(value)
        if kind is not None:
            raise ModelError(
                f"{place}: tensor {name!r} of its state {kind}, which cannot be kept; make it "
                f"float32, or leave it out by register_buffer(…, persistent=False)"
            )


def _unkept(value: Any) -> str | None:  # noqa: ANN401 - whatever a state holds
    """The reason why a part of a model's state cannot be written; None where it can."""
    if not isinstance(value, torch.Tensor):
        return f"is a {type(value).__name__}"
    if value.layout is not torch.strided or value.is_quantized:
        return "is sparse or quantized"
    if value.is_meta:
        return "has no data"
    try:
        save({"": value.detach().new_empty(0).numpy(force=True)})
    except (TypeError, SafetensorError):
        return f"is of type {str(value.dtype).removeprefix('torch.')}"
    return None


def weights(module: torch.nn.Module) -> dict[str, NDArray[Any]]:
    """A copy of a module's state as numpy arrays, by name."""
    return {name: value.numpy(force=True).copy() for name, value in module.state_dict().items()}


def load_weights(module: torch.nn.Module, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Set a module's state.

    Raises:
        ModelError: The names or shapes differ, as when a grid point changes the model's shape.
    """
    state = {name: torch.from_numpy(np.array(tensor)) for name, tensor in tensors.items()}
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise ModelError(
            f"the model's parameters have another shape than the base's ({reason}); "
            f"a grid may not change the shape of parameters"
        ) from None


def keep_statistics(module: torch.nn.Module) -> None:
    """Have normalisation layers go by the statistics that they have, in training too."""
    for part in module.modules():
        if getattr(part, "running_mean", None) is not None:
            part.eval()
            part.__dict__["train"] = lambda mode=True: None  # noqa: ARG005 - a signature


def predict(
    module: torch.nn.Module, x: NDArray[Any], task: str, y: NDArray[Any] | None = None
) -> NDArray[np.float32]:
    """A model's answer about each row, bit for bit the same in any batch.

    Args:
        module: The model, in evaluation mode during the call and after it; on any device.
        x: Encoded rows ``(rows, …)``.
        task: ``classification``, ``regression`` or ``own``.
        y: Their labels, at which a model with a loss of its own looks.

    Returns:
        float32: probabilities ``(rows, classes)``, standardised numbers ``(rows, 1)``, or the
        model's own losses ``(rows, 1)``.
    """
    own = rules(task)
    return _in_blocks([(module, None)], own, own.answer, x, y)


def predictions(
    parts: Sequence[tuple[torch.nn.Module, NDArray[np.int64] | None]],
    x: NDArray[Any],
    task: str,
    labels: int,
) -> NDArray[Any]:
    """Answers of models about rows without labels, otherwise as :func:`predict`.

    Args:
        parts: Models, and the places of the rows that each is asked about; None for all.
        x: Encoded rows ``(rows, …)``.
        task: ``classification``, ``regression`` or ``own``.
        labels: How many labels there are in training.

    Returns:
        Of all parts, one after the other, as :func:`predict`; of a model with a loss of its own
        what its ``predict_rows`` says; without that its losses ``(rows, 1)``, or nothing,
        ``(rows, 0)``, where they need labels.
    """
    own = rules(task)
    return _in_blocks(parts, own, lambda module: own.prediction(module, labels), x, None)


def _in_blocks(
    parts: Sequence[tuple[torch.nn.Module, NDArray[np.int64] | None]],
    own: Rules,
    call_of: Callable[[Any], Callable[[torch.Tensor, torch.Tensor], torch.Tensor]],
    x: NDArray[Any],
    y: NDArray[Any] | None,
) -> NDArray[Any]:
    """Results of calls of models about rows, in padded blocks of one size."""
    counts = [len(x) if places is None else len(places) for _, places in parts]
    begins = [0, *itertools.accumulate(max(1, -(-n // BLOCK_ROWS)) * BLOCK_ROWS for n in counts)]
    arrays = [x] if y is None else [x, y]
    blocks = [np.zeros((BLOCK_ROWS, *array.shape[1:]), dtype=array.dtype) for array in arrays]
    inputs = [torch.from_numpy(block) for block in blocks]
    if y is None:
        inputs.append(torch.empty((BLOCK_ROWS, 0)))
    answers: NDArray[Any] | None = None
    with torch.no_grad():
        for (module, places), rows, begin in zip(parts, counts, begins, strict=False):
            call = call_of(_forward(module))
            device = next((value.device for value in module.parameters()), torch.device("cpu"))
            for start in range(0, max(1, rows), BLOCK_ROWS):
                count = min(BLOCK_ROWS, rows - start)
                some = slice(start, start + count)
                for array, block in zip(arrays, blocks, strict=True):
                    if places is None:
                        block[:count] = array[some]
                    else:
                        array.take(places[some], axis=0, out=block[:count], mode="clip")
                    if count < BLOCK_ROWS:
                        block[count:] = 0
                output = call(*(tensor.to(device) for tensor in inputs)).numpy(force=True)
                if answers is None:
                    answers = np.empty((begins[-1], *output.shape[1:]), dtype=output.dtype)
                answers[begin + start : begin + start + BLOCK_ROWS] = output
    assert answers is not None  # noqa: S101 - there is at least one block
    kept = [np.arange(begin, begin + n) for begin, n in zip(begins, counts, strict=False)]
    return own.finished(answers).take(np.concatenate(kept), axis=0)


def _forward(module: torch.nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    """The forward pass of a block; of Shoal's network without the work around each layer.

    That is a third of the time of a small network. The products are the same, and so are the bits.
    """
    if type(module) is not MLP:
        return module.eval()
    linear = [layer for layer in module.layers if isinstance(layer, torch.nn.Linear)]
    held = [
        (layer.bias, layer.weight.t(), layer.weight.new_empty(BLOCK_ROWS, len(layer.weight)))
        for layer in linear
    ]

    def forward(x: torch.Tensor) -> torch.Tensor:
        x = x.flatten(1)
        for number, (bias, weight, out) in enumerate(held):
            x = torch.addmm(bias, x if not number else x.relu_(), weight, out=out)
        return x

    return forward


def row_losses(output: NDArray[np.float32], y: NDArray[Any], task: str) -> NDArray[np.float64]:
    """Loss of each row: negative log probability of its class, squared error, or the model's own.

    A class that the training fold does not have (``y`` = -1) gets the floor's loss, as does any
    probability below 1e-7.
    """
    return rules(task).losses(output, y)


def answer_flops(net: torch.nn.Module, shapes: Shapes) -> float:
    """FLOPs of a model's answer about one row."""
    y = torch.zeros((1, *shapes.y_shape))
    return float(forward_flops(net, blank_rows(shapes, 1), y, call=rules(shapes.task).answer))


def trained_model(
    model: Model, shapes: Shapes, tensors: Mapping[str, NDArray[Any]]
) -> torch.nn.Module:
    """The user's model with trained weights.

    Args:
        model: Class and arguments, those of the grid point that the weights were trained at: they
            may change what the forward pass does.
        shapes: Shape of rows and labels.
        tensors: The trained weights.

    Raises:
        CorruptError: A model of Shoal's own has other parameters.
        ModelError: A user's model has, or does not build.
    """
    if model.target in OURS:  # a user's may need the content of tensors
        target, arguments = import_target(model.target, "model"), shapes.fill(model.arguments())
        check_layout(lambda: target(**arguments), tensors)
    net = build_model(model, shapes, seed=0)
    load_weights(net, tensors)
    return net


def losses_by_row(
    candidates: Mapping[str, torch.nn.Module],
    x: NDArray[np.float32],
    y: NDArray[Any],
    task: str,
) -> dict[str, NDArray[np.float64]]:
    """Loss of each candidate on each of the same rows."""
    return {
        name: row_losses(predict(net, x, task, y=y), y, task) for name, net in candidates.items()
    }


def mean_losses(
    candidates: Mapping[str, torch.nn.Module],
    blocks: Iterable[tuple[NDArray[np.float32], NDArray[Any]]],
    task: str,
) -> dict[str, float]:
    """Mean loss of each candidate on the same rows, which are held a block at a time.

    Args:
        candidates: Models by name.
        blocks: ``x`` and ``y`` of some rows; neither order nor cut changes a bit of the means.
        task: ``classification`` or ``regression``.

    Returns:
        By name; empty without rows.
    """
    means = {name: ExactMean() for name in candidates}
    for x, y in blocks:
        for name, losses in (losses_by_row(candidates, x, y, task) if len(y) else {}).items():
            means[name].add(losses)
    return {name: mean.value for name, mean in means.items() if mean.value is not None}


def margin(
    losses: Mapping[str, NDArray[np.float64]], best: str, units: NDArray[np.uint64] | None = None
) -> Margin | None:
    """How far the best grid point is ahead of the next, row by row.

    Args:
        losses: Loss of each grid point on each of the same rows, by id.
        best: The point with the lowest mean.
        units: Unit of each row; None where each is its own.

    Returns:
        ``point``, the next best; ``value``, its mean loss minus the best one's; ``error``, the
        standard error of that mean over units, None with fewer than two; and the number of
        ``units``. None where there is no other point.
    """
    others = {name: values for name, values in losses.items() if name != best}
    if best not in losses or not others:
        return None
    second = min(sorted(others), key=lambda point: float(others[point].mean()))
    ahead = mean_of(others[second] - losses[best], units)
    error = ahead.error if ahead.units > 1 else None
    return {"point": second, "value": ahead.value, "error": error, "units": ahead.units}
