"""The command cluster-grow."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from shoal.cluster.assigner import load_assigner
from shoal.cluster.command import cluster_fit
from shoal.cluster.grow_command import cluster_grow
from shoal.errors import SettingsError
from shoal.formats.kinds import TEST
from tests.cluster.conftest import Rows
from tests.cluster.test_command import COLUMN, KMEANS

NEW = np.array([40, 0, 0], np.float32)


@pytest.fixture
def project(tmp_path, shards):
    """An assigner fitted on one shard; grows it by other shards."""
    before = shards.random_rows(400)
    fitted = shards.write(tmp_path, "before", before)
    assigner, ledger = tmp_path / "assigner.safetensors", tmp_path / "ledger.json"

    def fit(settings=KMEANS):
        cluster_fit(
            settings, [fitted.encoded], fitted.embedder, [fitted.table], assigner, ledger, 1
        )

    def grow(parts, assigner=assigner, settings=KMEANS):
        folder = tmp_path / "-".join(parts)
        rows = [shards.write(folder, name, rows).encoded for name, rows in parts.items()]
        out, said = folder / "grown.safetensors", folder / "grown.json"
        basis = [fitted.encoded], ["before"]
        cluster_grow(settings, rows, fitted.embedder, assigner, *basis, out, said, 1)
        return load_assigner(out), json.loads(said.read_text())["detail"], out

    return SimpleNamespace(before=before, fit=fit, grow=grow, first=assigner)


def moved(rows: Rows, shift) -> Rows:
    """The same rows elsewhere."""
    return Rows(rows.x + shift, rows.y, rows.fold, rows.colour)


def test_a_new_kind_gets_partitions_and_no_row_from_before_moves(project, shards):
    """Of another file; training and validation rows stay exactly."""
    project.fit()
    new = moved(shards.random_rows(300, seed=1), NEW)
    first = load_assigner(project.first)

    grown, detail, _ = project.grow({"before": project.before, "new": new})

    assert detail["partitions"] == grown.partitions - first.partitions > 0
    assert detail["rows"] == (grown.assign(new.x[new.fold == 0]) >= first.partitions).sum()
    known = project.before.x[project.before.fold < TEST]
    assert (grown.assign(known) == first.assign(known)).all()


def test_rows_that_arrived_are_told_by_content(project, shards):
    """A file that was appended to, and other cuts of the same rows, give the same assigner."""
    project.fit()
    new = moved(shards.random_rows(300, seed=1), NEW)
    whole = shards.joined(project.before, new)
    order = np.random.default_rng(2).permutation(len(whole))
    cut = {"a": whole[order[:200]], "b": whole[order[200:]]}

    found = [project.grow(each) for each in ({"appended": whole}, cut)]
    beside = project.grow({"before": project.before, "new": new})

    assert found[0][1] == found[1][1] == beside[1]
    for name, tensor in beside[0].state()[0].items():
        assert all(np.array_equal(tensor, grown.state()[0][name]) for grown, *_ in found)


def test_more_rows_of_known_kinds_leave_the_assigner_as_it_is(project, shards):
    """To the byte of its tensors; and too few rows of a new kind do as well."""
    project.fit()
    first = load_assigner(project.first)
    known = Rows(
        *(np.concatenate([getattr(project.before, c)[:300]]) for c in ("x", "y", "fold", "colour"))
    )
    jittered = moved(known, np.random.default_rng(3).normal(size=(300, 3)).astype(np.float32) / 50)
    few = moved(shards.random_rows(20, seed=1), NEW)

    for name, rows, settings in (
        ("known", jittered, KMEANS),
        ("few", few, KMEANS.model_copy(update={"min_rows": 50})),
    ):
        grown, detail, _ = project.grow({"before": project.before, name: rows}, settings=settings)
        assert detail["partitions"] == 0
        assert grown.state()[1] == first.state()[1]
        for each, tensor in first.state()[0].items():
            assert np.array_equal(tensor, grown.state()[0][each])


def test_an_assigner_by_column_does_not_grow(project):
    """A value says the partition."""
    project.fit(COLUMN)

    with pytest.raises(SettingsError, match="column"):
        project.grow({"before": project.before})
