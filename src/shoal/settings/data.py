"""Settings of the data stages: sources, split, transform, encode."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from shoal.formats.kinds import ColumnKind, Fold, Task
from shoal.settings.section import Section, Seed

BYTES = "bytes"
"""Tokens that need no file."""


class ArraySource(Section):
    """An NPZ file whose arrays have other names than the columns, or several sets of rows."""

    path: str = Field(description="the file")
    arrays: list[dict[str, str]] = Field(
        description="one entry per set of rows: column name to array name"
    )


class Images(Section):
    """Encoded pictures in cells, as bytes or as paths: PNG, JPEG and what else Pillow reads."""

    size: tuple[PositiveInt, PositiveInt] | None = Field(
        description="height and width that pictures are resized to; null: all are of one size"
    )
    channels: Literal[1, 3] | None = Field(
        description="1 for grey, 3 for colours (first axis); null: as the first picture has"
    )


class Sources(Section):
    """Where the rows come from and what their columns are."""

    folder: str = Field(description="where the files lie")
    files: list[str | ArraySource] = Field(
        description="names or globs of CSV (also .gz), Parquet or NPZ files in the folder"
    )
    task: Task = Field(
        description="what the label is: a class (classification) or a number (regression); own: "
        "the model has a loss of its own, and any number of label columns or none"
    )
    columns: dict[str, ColumnKind] = Field(description="declared kind of each column")
    undeclared: Literal["infer", "ignore"] = Field(
        description="what happens to columns that are not declared"
    )
    images: Images = Field(description="how encoded pictures are read")
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


class _Shares(Section):
    """Base of splits by shares of the rows."""

    fractions: dict[Fold, float] = Field(description="share of the rows in each fold")

    @model_validator(mode="after")
    def _fractions_sum_to_one(self) -> _Shares:
        if set(self.fractions) != {"train", "validation", "test"}:
            raise ValueError("fractions must name train, validation and test")
        if any(share <= 0 for share in self.fractions.values()):
            raise ValueError("fractions must all be above zero: there are always three folds")
        if abs(sum(self.fractions.values()) - 1) > 1e-9:
            raise ValueError(f"fractions sum to {sum(self.fractions.values()):g}, not 1")
        return self


class PlainSplit(_Shares):
    """How rows fall into train, validation and test."""

    method: Literal["hash", "group", "time", "column", "stratified", "random"] = Field(
        description="what decides a row's fold"
    )
    column: str | None = Field(description="for 'column': the column that names the fold")
    values: dict[str, Fold] = Field(description="for 'column': its value to the fold")
    outside: list[str] = Field(
        description="for 'column': values whose rows are kept out of every fold and measured apart"
    )
    seed: Seed = Field(description="seed of hash, group, stratified and random")

    @model_validator(mode="after")
    def _column_and_values(self) -> PlainSplit:
        if self.method == "column" and (self.column is None or not self.values):
            raise ValueError("method 'column' needs split.column and split.values")
        return self


class KFold(Section):
    """One of several equal parts of the rows is the test fold, the next one validation."""

    method: Literal["k_fold"]
    folds: int = Field(ge=3, description="parts; about the same number of rows falls into each")
    fold: NonNegativeInt = Field(
        description="part that is the test fold, from 0; the next one, after the last the first, "
        "is validation, all others train"
    )
    seed: Seed = Field(description="seed of the parts; the same for every `fold` of one k-fold")

    @model_validator(mode="after")
    def _fold_is_one_of_them(self) -> KFold:
        if self.fold >= self.folds:
            raise ValueError(
                f"fold {self.fold} is not among the {self.folds} folds, 0 to {self.folds - 1}"
            )
        return self


class Similarity(_Shares):
    """Rows that are nearly identical fall together: whole clusters of them share a fold."""

    method: Literal["similarity"]
    similarity: float = Field(
        ge=0.5, le=1, description="share of their parts that two nearly identical rows share"
    )
    characters: PositiveInt = Field(description="length of the parts that a text is compared by")
    digits: PositiveInt = Field(description="significant digits that numbers are compared by")
    seed: Seed = Field(description="seed of the order in which clusters are dealt out")


Split = Annotated[PlainSplit | KFold | Similarity, Field(discriminator="method")]


class Step(Section):
    """One transform step on named columns."""

    step: str = Field(description="name of the step")
    columns: list[str] = Field(default=[], description="the columns it works on")
    options: dict[str, Any] = Field(default={}, description="the step's own options")


class Transform(Section):
    """Human-readable rows to human-readable rows."""

    steps: list[Step] = Field(description="what is done, in order")
    fit_rows: PositiveInt = Field(description="rows, at most, that a fitted step is fitted on")
    seed: Seed = Field(description="seed of the steps that draw")

    @property
    def targets(self) -> list[str]:
        """Dotted paths of the user's functions among the steps."""
        return [options["_target_"] for options in self.functions.values()]

    @property
    def functions(self) -> dict[str, dict[str, Any]]:
        """Options of the steps that name a function of the user's, by their place."""
        return {
            f"transform.steps.{place} ({step.step})": step.options
            for place, step in enumerate(self.steps)
            if step.step == "function" and isinstance(step.options.get("_target_"), str)
        }


class Encode(Section):
    """Rows to tensors."""

    kinds: dict[str, dict[str, Any]] = Field(
        description="encoder of each kind of column (numeric, categorical, text, image, vector)"
    )
    columns: dict[str, dict[str, Any]] = Field(
        description="encoder of single columns, where it differs from its kind's"
    )
    fit_rows: PositiveInt = Field(description="rows, at most, that encoders are fitted on")
    seed: Seed = Field(description="seed of encoders that draw")

    @property
    def targets(self) -> list[str]:
        """Dotted paths of the user's classes among the encoders."""
        return [spec["_target_"] for spec in self.classes.values()]

    @property
    def token_files(self) -> list[str]:
        """Files of tokenizers among the encoders; their content is the encoders' identity too."""
        specs = [*self.kinds.values(), *self.columns.values()]
        named = [spec.get("tokens") for spec in specs if spec.get("encoder") == "tokens"]
        return sorted({name for name in named if isinstance(name, str) and name != BYTES})

    @property
    def classes(self) -> dict[str, dict[str, Any]]:
        """Settings that name a class by ``_target_``, by their place."""
        places = {"kinds": self.kinds, "columns": self.columns}
        return {
            f"encode.{place}.{name}": spec
            for place, specs in places.items()
            for name, spec in specs.items()
            if isinstance(spec.get("_target_"), str) and "encoder" not in spec
        }
