"""Snakemake's own views see the whole workflow, whatever is done of it."""

from __future__ import annotations

import re
import zipfile
from typing import TYPE_CHECKING

import pytest

from shoal.formats.hashing import file_hash
from shoal.plan.stages import PACKS, STAGES
from tests.workflow.small import jobs

if TYPE_CHECKING:
    from tests.workflow.small import Experiment

OF_OTHERS = {
    *(stage.name for stage in PACKS),
    "cluster_grow",
    "compare_mixes",
    "choose_variant",
    "deploy_copy",
    "deploy_patch",
    "evaluate_prequential",
}
"""Of packs, growing, several variants and a second release, of which this experiment has none."""
RULES = set(STAGES) - OF_OTHERS


def rules_in(graph: str) -> set[str]:
    """Rules of the nodes of a graph in Graphviz's language."""
    return {label.split("\\n")[0] for label in re.findall(r'label = "([^"]+)"', graph)} - {"all"}


@pytest.mark.parametrize("state", ["experiment", "finished"])
@pytest.mark.parametrize("view", ["--dag", "--rulegraph"])
def test_a_graph_has_every_rule(request: pytest.FixtureRequest, state: str, view: str):
    """On a fresh clone, and where everything is done."""
    experiment: Experiment = request.getfixturevalue(state)

    result = experiment.snakemake(view)

    assert result.returncode == 0, result.stderr
    assert rules_in(result.stdout) == RULES


def test_the_summary_lists_every_file(finished: Experiment):
    """Of a finished run each is there, and none is to be made again."""
    result = finished.snakemake("--summary")

    lines = [line.split("\t") for line in result.stdout.splitlines() if line.startswith("results")]
    assert {line[2] for line in lines} == RULES
    assert {line[-1] for line in lines} == {"no update"}
    assert "missing" not in {line[-2] for line in lines}


def test_a_dry_run_of_everything_shows_every_job(finished: Experiment):
    """Those of the fits too; nothing is written."""
    before = sorted((finished.folder / "results").rglob("*"))

    result = finished.snakemake("-n", "--forceall")

    shown = jobs(result.stdout + result.stderr)
    assert set(shown) == RULES
    assert shown.count("split") == 3
    assert sorted((finished.folder / "results").rglob("*")) == before


def test_everything_again_leaves_the_generation_as_it_is(copied: Experiment):
    """A run with --forceall does all jobs but the fits, says so, and comes to the same weights."""
    fits = {
        path: path.stat().st_mtime_ns
        for stage in STAGES.values()
        if stage.frozen
        for name in stage.outputs.values()
        for path in copied.generation.glob(f"{stage.identity}/*/**/{name}")
    }
    pool = copied.folder / "results" / "tiny" / "pool"
    before = {path: file_hash(path) for path in pool.rglob("*.safetensors")}

    result = copied.snakemake("-c", "2", "--scheduler", "greedy", "--forceall")

    assert result.returncode == 0, result.stderr
    assert set(jobs(result.stderr)) == RULES - {name for name in STAGES if STAGES[name].frozen}
    assert "shoal: generation 1 stays as it was fitted" in result.stderr
    assert {path: path.stat().st_mtime_ns for path in fits} == fits
    assert fits
    assert {path: file_hash(path) for path in pool.rglob("*.safetensors")} == before


def test_a_report_shows_what_a_person_wants_to_see(finished: Experiment, tmp_path):
    """The report page, the metrics and the comparison of the choices."""
    archive = tmp_path / "report.zip"

    result = finished.snakemake("--report", str(archive))

    assert result.returncode == 0, result.stderr
    with zipfile.ZipFile(archive) as report:
        names = [name.rpartition("/")[2] for name in report.namelist()]
    assert names.count("report.html") == 3  # the archive's own, the experiment's, the answers
    assert "metrics.json" in names
