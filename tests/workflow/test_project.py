"""A project outside the clone: a folder with data and one file of settings."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.workflow.small import ROOT, SETTINGS, Experiment, jobs, write_rows

if TYPE_CHECKING:
    from pathlib import Path

    from tests.workflow.warm import Server


@pytest.fixture
def project(warm: Server, tmp_path: Path) -> Experiment:
    """No Snakefile, no rules, no defaults."""
    for name in ("data", "config/experiment"):
        (tmp_path / name).mkdir(parents=True)
    write_rows(tmp_path / "data" / "part-0.csv", 0)
    settings = SETTINGS.replace("tiny", "mine")
    (tmp_path / "config" / "experiment" / "mine.yaml").write_text(settings)
    return Experiment(tmp_path, warm.bin)


def test_a_project_outside_the_clone_plans_and_runs(project: Experiment):
    """Both entry points find its experiment, the package's defaults, and the workflow."""
    planned = project.shoal("plan", "mine", "--json")
    command = ["snakemake", "-s", str(ROOT / "Snakefile"), "--directory", "."]
    options = ["-c", "1", "--scheduler", "greedy", "--config", "experiment=mine"]

    ran = subprocess.run(
        [*command, *options],
        cwd=project.folder,
        env=project.environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    expected = sorted(job["rule"] for job in json.loads(planned.stdout)["jobs"])
    assert jobs(ran.stderr) == expected
    write_rows(project.folder / "data" / "part-1.csv", 1, rows=20)
    again = json.loads(project.shoal("plan", "mine", "--json").stdout)
    assert again["exact"]
    again_made = {job["rule"] for job in again["jobs"]}
    assert again_made >= {"train_choose", "pool"}
    assert again_made & {"train_specialist", "train_pack"}
    said = project.shoal("refit", "mine").stdout
    assert f"--snakefile {ROOT / 'Snakefile'} --cores all --config experiment=mine" in said
