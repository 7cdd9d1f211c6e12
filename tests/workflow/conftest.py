"""A small experiment that the real Snakemake runs in seconds."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.workflow.small import Experiment, set_up
from tests.workflow.warm import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Programs whose imports are paid once."""
    with Server(tmp_path_factory.mktemp("warm") / "server") as server:
        yield server


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """An experiment that has run to the end, cold. Tests must leave it as it is."""
    experiment = set_up(tmp_path_factory.mktemp("finished") / "experiment")
    planned = experiment.plan()
    assert experiment.run() == planned
    return experiment


@pytest.fixture
def copied(finished: Experiment, warm: Server, tmp_path: Path) -> Experiment:
    """A copy of the finished experiment, to change."""
    folder = tmp_path / "experiment"
    shutil.copytree(finished.folder, folder, symlinks=True)
    return Experiment(folder, warm.bin)


@pytest.fixture
def experiment(warm: Server, tmp_path: Path) -> Experiment:
    """A fresh experiment that has not run."""
    return Experiment(set_up(tmp_path / "experiment").folder, warm.bin)
