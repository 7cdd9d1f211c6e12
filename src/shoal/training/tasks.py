"""Rules of a task: a model's answer about a row, its loss, how answers mix, what people are told.

Nothing else asks which task it is. Whoever needs to know asks :func:`rules` for its rules.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import torch

from shoal.errors import ModelError
from shoal.formats.units import mean_of
from shoal.training.metrics import row_correct, row_loss, row_squared_error

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa
    from numpy.typing import NDArray

    from shoal.formats.kinds import Metric
    from shoal.formats.shapes import Shapes
    from shoal.settings.user_code import Calling
    from shoal_edge.mixing import Mixing

    Array = NDArray[Any]
    Floats = NDArray[np.float64]
    Call = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

_LEAST_PROBABILITY = 1e-7


class OwnLoss(Protocol):
    """A model with a loss of its own, as the task ``own`` needs it.

    ``density = True`` says that ``row_losses`` is -log of a density or probability.
    ``predict_rows(batch)`` may say what ``predict`` returns.
    """

    def row_losses(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Loss of each row, ``(rows,)``.

        Args:
            batch: ``x``, and ``y`` with a number per label column, ``(rows, labels)``.
        """
        ...


class Label(Protocol):
    """Coding of labels, as :mod:`shoal.encode.label` has it."""

    @property
    def classes(self) -> list[str] | None:
        """Names of the classes, by code; None where labels are numbers."""
        ...

    def decode(self, y: Array) -> Array:
        """Labels of codes."""
        ...


@dataclass(frozen=True)
class Rules(ABC):
    """Rules of a task.

    Attributes:
        metric: The score that decides.
        loss: Loss of a plain module, where the settings leave it to the task; None: the model's
            own.
        row_value: Name of :meth:`values` in files.
    """

    metric: Metric
    loss: str | None
    row_value: str

    @abstractmethod
    def check(
        self, module: torch.nn.Module, x: torch.Tensor, shapes: Shapes, calling: Calling
    ) -> None:
        """Refuse a model that does not fit the labels.

        Args:
            module: The model, in evaluation mode.
            x: Some encoded rows.
            shapes: Shapes of rows and labels.
            calling: Block to call the model in.

        Raises:
            ModelError: It does not.
        """

    def answer(self, module: torch.nn.Module) -> Call:
        """Answers of a model about rows ``x``, whose labels it may look at; a tensor by row."""
        return lambda x, _: cast("torch.Tensor", module(x)).float().reshape(len(x), -1)

    def prediction(self, module: torch.nn.Module, labels: int) -> Call:
        """Answers of a model about rows without labels.

        Args:
            module: The model.
            labels: How many labels there are in training.
        """
        del labels
        return self.answer(module)

    def finished(self, answers: Array) -> Array:
        """Answers after a last step, from those of whole blocks, ``(rows, …)``, a row at a time."""
        return answers

    @abstractmethod
    def losses(self, answers: Array, y: Array) -> Floats:
        """Loss of each row by answers about them, by which models are chosen; lower is better."""

    @abstractmethod
    def values(self, answers: Array, y: Array) -> Floats:
        """Value of each row of which scores are means."""

    def mean_score(self, answers: Array, y: Array) -> float:
        """Score over all rows, higher is better; no coding of the labels changes it."""
        return float(self.values(answers, y).mean())

    def score_error(self, answers: Array, y: Array, units: Array) -> float | None:
        """Standard error of that score, by unit; None where it is not known."""
        error = mean_of(self.values(answers, y).astype(np.float64), units).error
        return float(error) if np.isfinite(error) else None

    @abstractmethod
    def is_density(self, module: torch.nn.Module) -> bool:
        """Whether :meth:`losses` of a model are -log of densities or probabilities."""

    @abstractmethod
    def told(self, answers: Array, label: Label) -> Array:
        """Answers as they are scored and written.

        Args:
            answers: Mixed answers about rows.
            label: Coding of the labels.

        Returns:
            Probabilities ``(rows, classes)``, numbers in the label's unit or losses ``(rows,)``.
        """

    def told_labels(self, y: Array, label: Label) -> Array:
        """Labels as they are compared with these: codes of classes, or numbers in their unit."""
        return y if label.classes is not None else label.decode(y)

    @abstractmethod
    def predicted(
        self, predictions: Array, label: Label, module: torch.nn.Module
    ) -> dict[str, object]:
        """Columns that ``predict`` returns.

        Args:
            predictions: What models say of rows without labels, mixed.
            label: Coding of the labels.
            module: One of these models.
        """

    def mixing(self, module: torch.nn.Module) -> Mixing:
        """How answers of models such as this one mix."""
        del module
        return "mean"

    def prediction_mixing(self, module: torch.nn.Module) -> Mixing:
        """The same of what they say of rows without labels."""
        return self.mixing(module)


class _Supervised(Rules):
    """One label, and an output of the model that is compared with it."""

    @abstractmethod
    def wanted(self, outputs: int) -> tuple[list[tuple[int, ...]], str]:
        """Shapes that an output for 2 rows may have, the usual one last; and what it tells."""

    def check(
        self, module: torch.nn.Module, x: torch.Tensor, shapes: Shapes, calling: Calling
    ) -> None:
        with calling, torch.no_grad():
            output = module(x)
        if not isinstance(output, torch.Tensor):
            raise ModelError(f"{calling.place}: gives a {type(output).__name__}, not a tensor")
        fitting, told = self.wanted(shapes.outputs)
        if tuple(output.shape) not in fitting:
            raise ModelError(
                f"{calling.place}: gives an output of shape {tuple(output.shape)} for 2 rows, but "
                f"the labels need {told}: shape {fitting[-1]}"
            )


class _Classes(_Supervised):
    """Probabilities of classes; the loss is the negative logarithm of the label's."""

    def wanted(self, outputs: int) -> tuple[list[tuple[int, ...]], str]:
        return [(2, outputs)], f"{outputs} classes"

    def told(self, answers: Array, label: Label) -> Array:
        del label
        return answers

    def predicted(
        self, predictions: Array, label: Label, module: torch.nn.Module
    ) -> dict[str, object]:
        del module
        codes = predictions.argmax(axis=1)
        return {
            "prediction": _taken(label.classes or [], codes),
            "probability": predictions[np.arange(len(codes)), codes],
        }

    def finished(self, answers: Array) -> Array:
        # Along rows, so that a row's place in a vector register is that in its block.
        by_class = torch.from_numpy(answers.T.copy())
        return torch.softmax(by_class, dim=0).numpy().T.copy()

    def is_density(self, module: torch.nn.Module) -> bool:
        del module
        return True

    def losses(self, answers: Array, y: Array) -> Floats:
        # A class that the training fold does not have (-1) gets the floor's loss.
        chosen = np.where(y >= 0, answers[np.arange(len(y)), np.maximum(y, 0)], 0.0)
        return np.asarray(-np.log(np.maximum(chosen.astype(np.float64), _LEAST_PROBABILITY)))

    def values(self, answers: Array, y: Array) -> Floats:
        return row_correct(answers, y)


class _Numbers(_Supervised):
    """A number; the loss is the squared error."""

    def wanted(self, outputs: int) -> tuple[list[tuple[int, ...]], str]:
        del outputs
        return [(2,), (2, 1)], "one number"

    def told(self, answers: Array, label: Label) -> Array:
        return label.decode(answers[:, 0])

    def predicted(
        self, predictions: Array, label: Label, module: torch.nn.Module
    ) -> dict[str, object]:
        del module
        return {"prediction": label.decode(predictions[:, 0])}

    def is_density(self, module: torch.nn.Module) -> bool:
        del module
        return False

    def losses(self, answers: Array, y: Array) -> Floats:
        return np.asarray((answers[:, 0].astype(np.float64) - y) ** 2)

    def values(self, answers: Array, y: Array) -> Floats:
        return row_squared_error(answers, y)

    def mean_score(self, answers: Array, y: Array) -> float:
        # R², since variants that train on other rows standardise labels otherwise.
        error, spread = float(self.values(answers, y).mean()), float(np.var(y, dtype=np.float64))
        return 1 - error / spread if spread else -error

    def score_error(self, answers: Array, y: Array, units: Array) -> float | None:
        error, spread = super().score_error(answers, y, units), float(np.var(y, dtype=np.float64))
        return error / spread if error is not None and spread else error


class _Own(Rules):
    """The loss that the model says; it is the answer too."""

    def check(
        self, module: torch.nn.Module, x: torch.Tensor, shapes: Shapes, calling: Calling
    ) -> None:
        place, told = calling.place, "sources.task is own"
        if not callable(getattr(module, "row_losses", None)):
            raise ModelError(
                f"{place}: {told}, so it needs a method row_losses(batch) that returns the loss of "
                f"each row"
            )
        rows = len(x)
        calls: dict[str, tuple[int, ...]] = {"row_losses": (rows, shapes.outputs)}
        if callable(getattr(module, "predict_rows", None)):
            calls["predict_rows"] = (rows, 0)
        for name, labels in calls.items():
            with calling, torch.no_grad():
                found = getattr(module, name)((x, torch.zeros(labels)))
            if not isinstance(found, torch.Tensor):
                raise ModelError(f"{place}: {name} gives a {type(found).__name__}, not a tensor")
            fits = found.shape[:1] == (rows,) and (found.ndim == 1 or name == "predict_rows")
            if not fits:
                raise ModelError(
                    f"{place}: {name} gives a tensor of shape {tuple(found.shape)} for {rows} "
                    f"rows, not one entry per row"
                )

    def answer(self, module: torch.nn.Module) -> Call:
        own = cast("OwnLoss", module)
        return lambda x, y: own.row_losses((x, y)).float()[:, None]

    def prediction(self, module: torch.nn.Module, labels: int) -> Call:
        if callable(getattr(module, "predict_rows", None)):
            predict_rows = cast("Any", module).predict_rows
            return lambda x, y: predict_rows((x, y[:, :0]))
        if labels:  # which rows to predict do not have
            return lambda x, _: torch.empty((len(x), 0))
        return self.answer(module)

    def told(self, answers: Array, label: Label) -> Array:
        del label
        return answers[:, 0]

    def predicted(
        self, predictions: Array, label: Label, module: torch.nn.Module
    ) -> dict[str, object]:
        from shoal.formats.tables import image_array

        del label
        if callable(getattr(module, "predict_rows", None)):
            is_single = predictions.ndim == 1
            return {"prediction": predictions if is_single else image_array(predictions)}
        return {"loss": predictions[:, 0]} if predictions.shape[1] else {}

    def losses(self, answers: Array, y: Array) -> Floats:
        return np.asarray(answers.reshape(len(y)), dtype=np.float64)

    def values(self, answers: Array, y: Array) -> Floats:
        return row_loss(answers.reshape(len(y)))

    def mean_score(self, answers: Array, y: Array) -> float:
        return -super().mean_score(answers, y)

    def is_density(self, module: torch.nn.Module) -> bool:
        return getattr(module, "density", False) is True

    def mixing(self, module: torch.nn.Module) -> Mixing:
        return "density" if self.is_density(module) else "leading"

    def prediction_mixing(self, module: torch.nn.Module) -> Mixing:
        mixing = self.mixing(module)
        says = callable(getattr(module, "predict_rows", None))
        return "mean" if says and mixing == "density" else mixing


_RULES: dict[str, Rules] = {
    "classification": _Classes("accuracy", "cross_entropy", "correct"),
    "regression": _Numbers("rmse", "mse", "squared_error"),
    "own": _Own("loss", None, "loss"),
}


def rules(task: str) -> Rules:
    """Rules of a task.

    Args:
        task: ``classification``, ``regression`` or ``own``.
    """
    return _RULES[task]


def _taken(classes: list[str], codes: NDArray[np.int64]) -> pa.Array:
    """The class of each code; of one row without a search for Arrow's function."""
    import pyarrow as pa

    if len(codes) == 1:
        return pa.array([classes[codes[0]]], pa.string())
    return pa.array(classes, pa.string()).take(codes)
