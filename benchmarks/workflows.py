"""The workflow, run on experiments that benchmarks write."""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.regimes.datasets import link

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


def run(folder: Path, name: str, experiment: str, overrides: Iterable[str]) -> Path:
    """Run an experiment unless its results are there.

    Args:
        folder: A working folder, absolute; links to the workflow are made in it.
        name: Name of the experiment.
        experiment: Its settings, YAML.
        overrides: Changes to them.

    Returns:
        The folder of its results.
    """
    link(folder)
    path = folder / "config" / "experiment" / f"{name}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"# @package _global_\nname: {name}\n{experiment}")
    command = ["snakemake", "-c", "1", "--scheduler", "greedy", "--quiet", "all"]
    config = ["--config", f"experiment={name}", f"overrides=[{', '.join(overrides)}]"]
    subprocess.run([*command, *config], cwd=folder, check=True)
    return folder / "results" / name


def asked(description: str | None, experiments: Collection[str], seeds: int) -> argparse.Namespace:
    """Arguments of a benchmark that runs experiments on data of a folder: data, work, seeds, only.

    Args:
        description: For ``--help``.
        experiments: Names of the experiments, all of which run by default.
        seeds: How many seeds there are by default.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", type=Path, required=True, help="folder of the datasets")
    parser.add_argument("--work", type=Path, required=True, help="experiments run here")
    parser.add_argument("--seeds", type=int, default=seeds)
    parser.add_argument("--only", nargs="+", default=list(experiments), choices=experiments)
    return parser.parse_args()
