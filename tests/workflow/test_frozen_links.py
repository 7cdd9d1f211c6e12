"""Specialists that continue with the statistics of their normalisation layers as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from torch import nn

from shoal.archive.kept import Archive
from shoal.archive.storage import keep_as
from shoal.models import MLP
from shoal.plan.plan import Plan
from tests.workflow.in_turn import run
from tests.workflow.small import set_up, write_wave

STATISTICS = ("layers.1.running_mean", "layers.1.running_var", "layers.1.num_batches_tracked")


class Normed(MLP):
    """A network whose inputs are normalised by batch."""

    def __init__(self, features: int, outputs: int, width: int, depth: int) -> None:
        super().__init__(features, outputs, width, depth)
        self.layers.insert(1, nn.BatchNorm1d(features))


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Models of an experiment to which a wave of rows came; its folder is the current one."""
    experiment = set_up(tmp_path / "experiment")
    monkeypatch.chdir(experiment.folder)
    for number in (1, 2):
        Path(f"data/part-{number}.csv").unlink()
    settings = ["continuing=proactive", "continuing.buffers=frozen", "grid.lr=[0.03]"]
    plan = lambda: Plan("tiny", [*settings, f"model._target_={__name__}.Normed"], Path("config"))  # noqa: E731
    run(plan())
    write_wave(experiment, 3)
    run(plan())
    return Archive(plan().home, trust=[__name__])


def test_frozen_statistics_stay_those_of_the_parent_and_a_recipe_gives_the_same_bits(kept):
    """Other training moves them; trained again from the parent, a link has every bit."""
    base = kept.load(kept.find("base"))
    for number in ("0", "1"):
        parent, link = (kept.find(f"{release}:{number}") for release in (1, 2))
        before, expected = kept.load(parent), kept.load(link)

        keep_as(kept, link, "recipe")

        assert kept.store.load(link) == {}
        again = kept.load(link)
        assert again.keys() == expected.keys()
        assert all(np.array_equal(again[name], expected[name]) for name in again)
        assert all(np.array_equal(again[name], before[name]) for name in STATISTICS)
        assert not any(np.array_equal(before[name], base[name]) for name in STATISTICS)
        assert not np.array_equal(again["layers.2.weight"], before["layers.2.weight"])
