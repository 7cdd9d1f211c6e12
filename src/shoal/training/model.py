"""The user's model: build it, check it against the labels, predict. Imports no Lightning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import save

from shoal.errors import ModelError
from shoal.formats.units import mean_of
from shoal.models import has_channels_last
from shoal.settings.targets import OURS, import_target
from shoal.settings.user_code import Calling, check_arguments
from shoal.training.bounded import check_layout
from shoal.training.exact import BLOCK_ROWS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
            does not fit the labels, has state that cannot be kept, or raises anything.
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
    """Refuse a model whose output for two rows of zeros does not fit the labels."""
    x = torch.zeros((2, *shapes.x_shape))
    batch = ", ".join(["B", *map(str, shapes.x_shape)])
    hint = f"; x is float32 of shape ({batch}){_axes(shapes.x_shape)}"
    with Calling(type(module), place, "the forward pass", hint), torch.no_grad():
        output = module.eval()(x)
    if not isinstance(output, torch.Tensor):
        raise ModelError(f"{place}: gives a {type(output).__name__}, not a tensor")
    shape = tuple(output.shape)
    wanted = [(2, shapes.outputs)] if shapes.task == "classification" else [(2,), (2, 1)]
    if shape not in wanted:
        labels = f"{shapes.outputs} classes" if shapes.task == "classification" else "one number"
        raise ModelError(
            f"{place}: gives an output of shape {shape} for 2 rows, but the labels need "
            f"{labels}: shape {wanted[-1]}"
        )


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


def predict(
    module: torch.nn.Module,
    x: NDArray[np.float32],
    task: str,
    places: NDArray[np.int64] | None = None,
) -> NDArray[np.float32]:
    """Class probabilities or numbers of rows, bit for bit the same in any batch.

    Args:
        module: The model, in evaluation mode during the call and after it; on any device.
        x: Rows, float32 ``(rows, …)``.
        task: ``classification`` or ``regression``.
        places: The rows that are asked for; all by default.

    Returns:
        float32: probabilities ``(rows, classes)``, or standardised numbers ``(rows, 1)``.
    """
    module.eval()
    device = next((value.device for value in module.parameters()), torch.device("cpu"))
    rows = len(x) if places is None else len(places)
    block = np.zeros((BLOCK_ROWS, *x.shape[1:]), dtype=np.float32)
    inputs = torch.from_numpy(block)
    answer: NDArray[np.float32] | None = None
    with torch.no_grad():
        for start in range(0, max(1, rows), BLOCK_ROWS):
            count = min(BLOCK_ROWS, rows - start)
            some = slice(start, start + count)
            if places is None:
                block[:count] = x[some]
            else:
                np.take(x, places[some], axis=0, out=block[:count], mode="clip")
            block[count:] = 0
            output = module(inputs.to(device)).float().reshape(BLOCK_ROWS, -1).cpu()
            if answer is None:
                answer = np.empty((rows, output.shape[1]), dtype=np.float32)
            answer[some] = output[:count].numpy()
        assert answer is not None  # noqa: S101 - there is at least one block
        if task == "classification":  # a row's softmax depends on no other
            answer = torch.softmax(torch.from_numpy(answer), dim=1).numpy()
    return answer


def row_losses(output: NDArray[np.float32], y: NDArray[Any], task: str) -> NDArray[np.float64]:
    """Loss of each row: negative log probability of its class, or squared error.

    A class that the training fold does not have (``y`` = -1) gets the floor's loss, as does any
    probability below 1e-7.
    """
    if task == "regression":
        squares: NDArray[np.float64] = (output[:, 0].astype(np.float64) - y) ** 2
        return squares
    chosen = np.where(y >= 0, output[np.arange(len(y)), np.maximum(y, 0)], 0.0)
    losses: NDArray[np.float64] = -np.log(np.maximum(chosen.astype(np.float64), 1e-7))
    return losses


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
    return {name: row_losses(predict(net, x, task), y, task) for name, net in candidates.items()}


def mean_losses(
    candidates: Mapping[str, torch.nn.Module],
    x: NDArray[np.float32],
    y: NDArray[Any],
    task: str,
) -> dict[str, float]:
    """Mean loss of each candidate on the same rows."""
    by_row = losses_by_row(candidates, x, y, task)
    return {name: float(losses.mean()) for name, losses in by_row.items()}


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
