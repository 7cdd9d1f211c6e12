"""The command ``follow`` on a real Slurm."""

import pytest

from tests.slurm.conftest import Cluster
from tests.slurm.test_slurm import TRAIN_ON_GPUS
from tests.workflow.small import ROOT, Experiment, write_rows

pytestmark = pytest.mark.campaign
LOCAL = {"partition", "pool_publish"}


@pytest.fixture
def asks_soon(ran: Experiment) -> Experiment:
    """An experiment whose profile of Slurm asks for states of jobs soon."""
    profile = ran.folder / "slurm"
    profile.unlink()
    profile.mkdir()
    wait = "slurm-init-seconds-before-status-checks: "
    content = (ROOT / "slurm" / "config.yaml").read_text()
    assert f"\n{wait}5" in content
    (profile / "config.yaml").write_text(content.replace(f"\n{wait}5", f"\n{wait}1"))
    return ran


def test_a_wave_that_arrived_is_released_by_jobs_of_slurm(asks_soon: Experiment, cluster: Cluster):
    """Its index and the rest are two runs of the cluster; a second look submits nothing."""
    write_rows(asks_soon.folder / "data" / "part-3.csv", 3)
    follow = ("follow", "tiny", "--once", "--settle", "1", "--profile", "slurm")

    done = asks_soon.shoal(*follow)

    assert done.returncode == 0, done.stderr + done.stdout
    assert done.stdout.splitlines()[-1].endswith("the run has ended well")
    assert sum(asks_soon.metrics()["rows"].values()) == 600
    jobs = cluster.jobs()
    assert {job.state for job in jobs} == {"COMPLETED"}
    assert {"split", "assign", "train_specialist", "evaluate"} <= {job.rule for job in jobs}
    assert not LOCAL & {job.rule for job in jobs}
    assert {job.rule for job in jobs if job.gpus} == TRAIN_ON_GPUS & {job.rule for job in jobs}

    again = asks_soon.shoal(*follow)

    assert again.stdout.splitlines()[-1].endswith("nothing to do"), again.stderr
    assert len(cluster.jobs()) == len(jobs)
