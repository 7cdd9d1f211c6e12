"""The large experiment that planning is measured on."""

from benchmarks import scale_experiment
from benchmarks.scale_experiment import Scale
from tests.workflow.small import Experiment


def test_the_generated_experiment_is_complete(warm, tmp_path):
    """Neither Snakemake nor the plan finds anything to do, nor a fit whose code has changed."""
    folder = tmp_path / "experiment"
    scale_experiment.complete(folder, Scale(shards=3, partitions=2, rows=600), seed=0)

    result = Experiment(folder, warm.bin).snakemake("-n", name="scale")

    assert result.returncode == 0, result.stderr
    assert "Nothing to be done" in result.stdout + result.stderr
    assert "refit needed" not in result.stderr
