"""Names of the kinds of columns, of labels, scores and folds, as settings and files say them."""

from __future__ import annotations

from typing import Literal

ColumnKind = Literal[
    "numeric", "categorical", "text", "image", "vector", "label", "id", "group", "time", "ignore"
]
Task = Literal["classification", "regression", "own"]
"""Labels are classes, or numbers; or the model has a loss of its own, with any labels or none."""
Metric = Literal[
    "accuracy",
    "balanced_accuracy",
    "f1",
    "auroc",
    "average_precision",
    "log_loss",
    "rmse",
    "mae",
    "r2",
    "loss",
]
Fold = Literal["train", "validation", "test"]

FOLDS: tuple[Fold, ...] = ("train", "validation", "test")
LINEAR, BOOSTED = "linear_model", "boosted_trees"
"""Names of the usual models of tables."""
TRAIN, VALIDATION, TEST = range(3)
OUTSIDE = 3
"""Code of rows kept out of every fold, such as queries known to be out of scope."""
