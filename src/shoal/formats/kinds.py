"""Names of the kinds of columns, of labels and of scores, as settings and files say them."""

from __future__ import annotations

from typing import Literal

ColumnKind = Literal[
    "numeric", "categorical", "text", "image", "vector", "label", "id", "group", "time", "ignore"
]
Task = Literal["classification", "regression"]
Metric = Literal["accuracy", "rmse"]
