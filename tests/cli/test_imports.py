"""No job imports a large library that it does not use: most of a small job's time is imports."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.fuzz.stages import jobs_of

if TYPE_CHECKING:
    from tests.workflow.small import Experiment

LARGE = """PIL duckdb hydra jinja2 matplotlib numba omegaconf optuna pandas plotly polars pulp
pyarrow pytorch_lightning scipy skops sklearn snakemake statsmodels sympy torch torch._dynamo typer
umap zarr"""

ARROW = "pyarrow pandas"
"""Arrow looks for pandas as soon as it makes an array."""

IMPORTS = {
    "split-fit": ARROW,
    "split": ARROW,
    "split-check": f"{ARROW} sklearn scipy",
    "transform-fit": "pyarrow",
    "transform": "pyarrow",
    "encode-fit": f"{ARROW} sklearn scipy",
    "encode": ARROW,
    "base-fit": "torch",
    "embed-fit": "scipy",
    "cluster-fit": f"{ARROW} sklearn scipy pulp",
    "assign": "pyarrow",
    "partition": "pyarrow",
    "train-specialist": "torch",
    "train-choose": "torch",
    "train-router": "torch pyarrow",
    "evaluate-generalist": "torch",
    "evaluate-random": f"torch {ARROW} sklearn scipy",
    "ask": "torch",
    "gate": "torch pyarrow scipy",
    "pool-build": "",
    "drift-sample": "pyarrow",
    "evaluate-drift": "pyarrow",
    "evaluate": f"torch {ARROW} jinja2 scipy sklearn",
    "pool-publish": "pyarrow jinja2",
    "answers": f"{ARROW} jinja2 scipy statsmodels",
}
"""Large libraries that the command of each stage may import, for a small experiment."""

SCRIPT = """
import json, sys
commands = json.loads(sys.argv[1])
from shoal.cli import main
for command in commands:
    sys.argv[:] = ["shoal", *command]
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
print("imported:", *sys.modules)
"""


@pytest.fixture(scope="module")
def once(finished: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """A copy whose jobs may be done again."""
    copy = finished.copy(tmp_path_factory.mktemp("imports") / "experiment")
    copy.forget_store()  # which would save the trainings
    return copy


def imported(experiment: Experiment, *commands: list[str]) -> set[str]:
    """Large libraries that commands have imported when they are done, in one process."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(commands)],
        cwd=experiment.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("imported:"))
    return set(LARGE.split()) & set(line.split())


@pytest.mark.parametrize("libraries", sorted(set(IMPORTS.values())))
def test_a_job_imports_nothing_large_that_it_does_not_use(once, libraries):
    """The commands of stages that may import the same, one after the other in a new process."""
    commands = {words[0]: words for _, words in jobs_of(once.folder)}
    own = [commands[name] for name, each in IMPORTS.items() if each == libraries]

    assert imported(once, *own) <= set(libraries.split()), own


def test_the_table_names_every_command_that_ran(once):
    """A new stage is added to it."""
    assert {words[0] for _, words in jobs_of(once.folder)} == IMPORTS.keys()


@pytest.mark.parametrize("arguments", [["--version"], ["predict", "--help"], ["split", "--help"]])
def test_help_imports_nothing_large(once, arguments):
    """Of the command line's own libraries typer alone, and Arrow where a stage describes itself."""
    assert imported(once, arguments) <= {"typer", *ARROW.split()}
