"""Scores by classes that settings name, such as those of torchmetrics."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from shoal.errors import ModelError
from shoal.settings.targets import import_target
from shoal.settings.user_code import Calling, check_arguments
from shoal.training.metrics import UNSEEN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from shoal.formats.shapes import Shapes
    from shoal.settings.learning import OwnScore


def own_scores(
    settings: Mapping[str, OwnScore], shapes: Shapes, prediction: NDArray[Any], y: NDArray[Any]
) -> dict[str, float | None]:
    """Scores of one contender, by name.

    Args:
        settings: Classes and arguments, ``data:NAME`` among them.
        shapes: Fills these.
        prediction: Probabilities ``(rows, classes)``, or numbers or losses ``(rows,)``.
        y: Labels ``(rows,)``; rows of a class that the training fold does not hold are left out.

    Returns:
        Numbers; None where the class gives one that is not finite.

    Raises:
        ModelError: A class does not import, does not take its arguments, raises, or gives no
            single number.
    """
    known = y != UNSEEN if shapes.task == "classification" else slice(None)
    batch = torch.from_numpy(prediction[known].copy()), torch.from_numpy(y[known].copy())
    found: dict[str, float | None] = {}
    for name, score in settings.items():
        place = f"evaluate.scores.{name} {score.target}"
        kind = import_target(score.target, "score")
        arguments = shapes.fill(score.arguments(), f"evaluate.scores.{name}")
        check_arguments(kind, place, **arguments)
        with Calling(kind, place, "the call"):
            value = kind(**arguments)(*batch)
        try:
            number = float(value)
        except (TypeError, ValueError, RuntimeError):
            raise ModelError(f"{place}: gives no single number") from None
        found[name] = number if math.isfinite(number) else None
    return found
