"""The workflow, run on experiments that benchmarks write."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from benchmarks.regimes.datasets import link

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


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
