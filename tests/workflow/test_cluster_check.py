"""The settings' view of a cluster against the cluster's own."""

import pytest

from shoal.errors import SettingsError
from shoal.operate.slurm.check import check_account, check_class, read_partitions
from shoal.settings.nodes import NodeClass

SINFO = """\
cpu|(null)|1:00:00|2|8000
gpu|gpu:h200:2(S:0)|1-12:00:00|2+|8000+
gpu|(null)|infinite|64|9000
"""


def node(**changes):
    """A class of nodes that fits partition gpu."""
    fields = {"partition": "gpu", "cores": 2, "memory_mb": 8000, "minutes": 60, "gpus": 2}
    fields |= {"gpu_model": "h200", "gpu_memory_mb": 1000, "cost": 1}
    return NodeClass(**(fields | changes))


def test_partitions_are_read_as_slurm_prints_them():
    """The largest nodes of a partition count, and days are part of a walltime."""
    partitions = read_partitions(SINFO)

    assert (partitions["cpu"].minutes, partitions["cpu"].gpus) == (60, {})
    assert (partitions["gpu"].minutes, partitions["gpu"].cores) == (2160, 64)
    assert partitions["gpu"].gpus == {"h200": 2}


def test_a_class_that_fits_is_accepted():
    """Nothing is said of a class that its partition can serve."""
    check_class("gpu", node(), read_partitions(SINFO))


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"partition": "gpus"}, ["nodes.classes.gpu.partition", "'gpus'", "did you mean 'gpu'"]),
        ({"gpu_model": "a100"}, ["nodes.classes.gpu.gpu_model", "'a100'", "2 h200"]),
        ({"gpus": 3}, ["nodes.classes.gpu.gpus: 3", "2 h200"]),
        ({"partition": "cpu"}, ["nodes.classes.gpu.gpus: 2", "'cpu' has no GPUs"]),
        ({"minutes": 9999}, ["nodes.classes.gpu.minutes: 9999", "2160"]),
        ({"memory_mb": 9001}, ["nodes.classes.gpu.memory_mb: 9001", "9000"]),
        ({"cores": 65}, ["nodes.classes.gpu.cores: 65", "64"]),
    ],
)
def test_a_class_that_the_cluster_does_not_have_is_one_line(changes, parts):
    """The line names the setting, its value and what the cluster has."""
    with pytest.raises(SettingsError) as caught:
        check_class("gpu", node(**changes), read_partitions(SINFO))

    assert all(part in str(caught.value) for part in parts)
    assert "\n" not in str(caught.value)


def test_an_unknown_account_is_one_line_and_no_accounting_is_no_mistake():
    """Accounts are compared only where Slurm knows any."""
    with pytest.raises(SettingsError, match=r"nodes.account: me has no account 'x'.*known: a, b"):
        check_account("x", "me", {"a", "b"})
    check_account("x", "me", set())
    check_account("A", "me", {"a"})
