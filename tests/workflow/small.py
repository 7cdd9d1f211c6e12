"""A small experiment that the real Snakemake runs in seconds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shoal.formats.kinds import TRAIN
from shoal.formats.row_store import ShardRows
from shoal.partitions.reader import halves

ROOT = Path(__file__).parents[2]

SETTINGS = """\
# @package _global_
name: tiny
sources:
  folder: data
  files: ["*.csv"]
  columns: {id: id, a: numeric, b: numeric, town: categorical, note: ignore, label: label}
embed: {dims: 2}
cluster: {partitions: 2, atoms: 6, min_rows: 10}
model: {width: 4, depth: 1}
train_specialists: {rows_seen: 2000, batch_size: 16}
evaluate: {bootstrap: 200}
grid: {lr: [0.01, 0.03]}
packing: {devices: null}
"""

AT_ONCE = ("-c", "2", "--scheduler", "greedy", "--max-jobs-per-timespan", "1000/0s")
"""No solver is started to choose the next jobs, and no run ends with a second's wait."""

CONTINUING = ("continuing=proactive", "continuing.history=1", "grid.lr=[0.03]")
"""Settings by which specialists continue."""


@dataclass
class Experiment:
    """A folder with data, configuration and a way to run the workflow there.

    Attributes:
        folder: Where they lie.
        programs: Folder of the ``snakemake`` and ``shoal`` to use, before those of the system.
    """

    folder: Path
    programs: Path | None = None

    @property
    def generation(self) -> Path:
        """The generation's folder."""
        return self.folder / "results" / "tiny" / "g1"

    def copy(self, folder: Path) -> Experiment:
        """A copy of everything, to change."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Experiment(folder, self.programs)

    def forget_store(self) -> None:
        """Remove the model store, which would give trained specialists back."""
        shutil.rmtree(self.folder / "results" / "tiny" / "store")

    def metrics(self, name: str = "tiny") -> dict[str, Any]:
        """Content of metrics.json."""
        path = self.folder / "results" / name / "metrics.json"
        content: dict[str, Any] = json.loads(path.read_text())
        return content

    def environment(self, **changes: str) -> dict[str, str]:
        """The environment in which commands run."""
        path = os.environ["PATH"]
        if self.programs is not None:
            path = f"{self.programs}{os.pathsep}{path}"
        return {**os.environ, "PATH": path, **changes}

    def snakemake(
        self, *arguments: str, overrides: str = "[]", name: str = "tiny", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the literal command in the folder."""
        command = ["snakemake", "--snakefile", str(self.folder / "Snakefile"), *arguments]
        config = ["--config", f"experiment={name}", f"overrides={overrides}"]
        return subprocess.run(
            [*command, *config],
            cwd=self.folder,
            env=self.environment(**environment),
            capture_output=True,
            text=True,
            check=False,
        )

    def shoal(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of Shoal's in the folder."""
        return subprocess.run(
            ["shoal", *arguments],
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )

    def run(self, *arguments: str, overrides: str = "[]", **environment: str) -> list[str]:
        """Run everything; the rules of the jobs that ran, sorted."""
        result = self.snakemake(*AT_ONCE, *arguments, overrides=overrides, **environment)
        assert result.returncode == 0, result.stderr
        return jobs(result.stderr)

    def plan(self, overrides: str = "[]", name: str = "tiny") -> list[str]:
        """The rules of the jobs that a dry run shows, sorted."""
        result = self.snakemake("-n", overrides=overrides, name=name)
        assert result.returncode == 0, result.stderr + result.stdout
        return jobs(result.stdout + result.stderr)


def jobs(text: str) -> list[str]:
    """Rules of the jobs that Snakemake announces, without the target rule."""
    kinds = ("rule ", "localrule ", "checkpoint ", "localcheckpoint ")
    lines = [line for line in text.splitlines() if line.startswith(kinds) and line.endswith(":")]
    names = [line.split()[1].rstrip(":") for line in lines]
    return sorted(name for name in names if name != "all")


def as_config(*overrides: str) -> str:
    """Overrides as Snakemake's ``--config`` takes them."""
    return f"[{', '.join(overrides)}]"


def training_lines(
    experiment: Experiment, partition: int = 0
) -> tuple[Path, pd.DataFrame, list[int]]:
    """The first source file, its content, and where training rows of a partition are in it."""
    return source_lines(experiment, TRAIN, partition)


def source_lines(
    experiment: Experiment, fold: int, partition: int = 0, half: int | None = None
) -> tuple[Path, pd.DataFrame, list[int]]:
    """The first source file, its content, and where rows of a partition and a fold are in it.

    Args:
        experiment: The experiment.
        fold: The fold's code.
        partition: Number of the partition.
        half: Only rows of this half of the fold, see :func:`shoal.partitions.reader.halves`.
    """
    path = experiment.folder / "data" / "part-0.csv"
    source = pd.read_csv(path)
    (table,) = (
        found
        for each in experiment.generation.glob("split/*/rows/*/*.parquet")
        if (found := pd.read_parquet(each))["a"].equals(source["a"])
    )
    number = {key: line for line, key in enumerate(table["_key"])}
    for store in experiment.generation.glob("cluster/*/rows/*/*.zarr.zip"):
        with ShardRows(store) as shard:
            keys = shard.read("key")
            wanted = (shard.read("fold") == fold) & (shard.read("partition") == partition)
        if half is not None:
            wanted &= halves({"key": keys}) == half
        lines = [number.get(key.tobytes(), -1) for key in keys[wanted]]
        if lines and lines[0] >= 0:
            return path, source, lines
    raise AssertionError(f"the first source file has no such rows in partition {partition}")


def remove_training_row(experiment: Experiment, partition: int = 0) -> None:
    """Take a training row of a partition out of the first source file."""
    path, source, lines = training_lines(experiment, partition)
    source.drop(index=lines[0]).to_csv(path, index=False)


def nudge_training_rows(experiment: Experiment, rows: int) -> None:
    """Change column ``a`` of training rows of one partition a little, in the first source file."""
    path, source, lines = training_lines(experiment)
    source.loc[lines[:rows], "a"] = (source.loc[lines[:rows], "a"] + 0.001).round(3)
    source.to_csv(path, index=False)


def write_rows(path: Path, seed: int, rows: int = 150) -> None:
    """Rows of two regimes: in town 'north' the label is a > 0, elsewhere its opposite."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, rows)).round(3)
    north = rng.random(rows) < 0.5
    table = pd.DataFrame(
        {
            "id": [f"{path.stem}-{n}" for n in range(rows)],
            "a": a,
            "b": b,
            "town": np.where(north, "north", "south"),
            "note": "-",
            "label": np.where((a > 0) == north, "yes", "no"),
        }
    )
    table.to_csv(path, index=False)


def write_wave(experiment: Experiment, number: int, rows: int = 60) -> None:
    """A further source file of new rows."""
    write_rows(experiment.folder / "data" / f"part-{number}.csv", number, rows)


def set_up(folder: Path) -> Experiment:
    """Lay out configuration and three source files."""
    (folder / "data").mkdir(parents=True)
    for number in range(3):
        write_rows(folder / "data" / f"part-{number}.csv", number)
    for name in ("Snakefile", "workflow", "envs", "profiles", "examples"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "config").mkdir()
    for path in (ROOT / "config").iterdir():
        if path.name != "experiment":
            (folder / "config" / path.name).symlink_to(path)
    (folder / "config" / "experiment").mkdir()
    (folder / "config" / "experiment" / "tiny.yaml").write_text(SETTINGS)
    return Experiment(folder)
