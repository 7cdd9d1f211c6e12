"""How often a job on a node starts Snakemake; tests/slurm counts the steps of real ones."""

from types import SimpleNamespace

import pytest
from snakemake_executor_plugin_slurm import Executor

from shoal.operate.slurm.one_start import start_snakemake_once


@pytest.mark.parametrize(("arrays", "starts_another"), [(set(), False), ({"split"}, True)])
def test_a_job_starts_another_snakemake_only_where_arrays_are_submitted(
    monkeypatch: pytest.MonkeyPatch, arrays: set[str], starts_another: bool
):
    """By what the job's first Snakemake is told to run its command with."""
    monkeypatch.setattr(Executor, "additional_general_args", Executor.additional_general_args)
    settings = SimpleNamespace(pass_command_as_script=False)
    workflow = SimpleNamespace(executor_settings=settings)

    start_snakemake_once()

    told = Executor.additional_general_args(SimpleNamespace(array_jobs=arrays, workflow=workflow))
    assert ("slurm-jobstep" in told) == starts_another
