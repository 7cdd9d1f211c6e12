"""Settings of the data stages: sources, split, transform, encode."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PositiveInt, model_validator

from shoal.settings.section import Section

ColumnKind = Literal[
    "numeric", "categorical", "text", "image", "label", "id", "group", "time", "ignore"
]
Fold = Literal["train", "validation", "test"]
Task = Literal["classification", "regression"]


class ArraySource(Section):
    """An NPZ file whose arrays have other names than the columns, or several sets of rows."""

    path: str = Field(description="the file")
    arrays: list[dict[str, str]] = Field(
        description="one entry a set of rows: column name to array name"
    )


class Sources(Section):
    """Where the rows come from and what their columns are."""

    folder: str = Field(description="where the files lie")
    files: list[str | ArraySource] = Field(
        description="names or globs of CSV (also .gz), Parquet or NPZ files in the folder"
    )
    task: Task = Field(description="what the label is: a class or a number")
    columns: dict[str, ColumnKind] = Field(description="declared kind of each column")
    undeclared: Literal["infer", "ignore"] = Field(
        description="what happens to columns that are not declared"
    )
    shuffle_labels: bool = Field(
        description="a control: labels are drawn anew, so that every score must be at chance"
    )
    batch_rows: PositiveInt = Field(description="rows read at a time")

    def in_folder(self) -> Sources:
        """The same with the folder in front of every file's name."""
        files: list[str | ArraySource] = [
            str(Path(self.folder, file))
            if isinstance(file, str)
            else file.model_copy(update={"path": str(Path(self.folder, file.path))})
            for file in self.files
        ]
        return self.model_copy(update={"files": files})


class Split(Section):
    """How rows fall into train, validation and test."""

    method: Literal["hash", "group", "time", "column", "stratified", "random"] = Field(
        description="what decides a row's fold"
    )
    fractions: dict[Fold, float] = Field(description="share of the rows in each fold")
    column: str | None = Field(description="for 'column': the column that names the fold")
    values: dict[str, Fold] = Field(description="for 'column': its value to the fold")
    outside: list[str] = Field(
        description="for 'column': values whose rows are kept out of every fold and measured apart"
    )
    seed: int = Field(description="seed of hash, group, stratified and random")

    @model_validator(mode="after")
    def _fractions_sum_to_one(self) -> Split:
        if set(self.fractions) != {"train", "validation", "test"}:
            raise ValueError("fractions must name train, validation and test")
        if any(share <= 0 for share in self.fractions.values()):
            raise ValueError("fractions must all be above zero: there are always three folds")
        if abs(sum(self.fractions.values()) - 1) > 1e-9:
            raise ValueError(f"fractions sum to {sum(self.fractions.values()):g}, not 1")
        if self.method == "column" and (self.column is None or not self.values):
            raise ValueError("method 'column' needs split.column and split.values")
        return self


class Step(Section):
    """One transform step on named columns."""

    step: str = Field(description="name of the step")
    columns: list[str] = Field(default=[], description="the columns it works on")
    options: dict[str, Any] = Field(default={}, description="the step's own options")


class Transform(Section):
    """Human-readable rows to human-readable rows."""

    steps: list[Step] = Field(description="what is done, in order")
    fit_rows: PositiveInt = Field(description="rows, at most, that a fitted step is fitted on")
    seed: int = Field(description="seed of the steps that draw")


class Encode(Section):
    """Rows to tensors."""

    kinds: dict[str, dict[str, Any]] = Field(
        description="encoder of each kind of column (numeric, categorical, text, image)"
    )
    columns: dict[str, dict[str, Any]] = Field(
        description="encoder of single columns, where it differs from its kind's"
    )
    fit_rows: PositiveInt = Field(description="rows, at most, that encoders are fitted on")
    seed: int = Field(description="seed of encoders that draw")
