"""The commands: files in, files out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from shoal.embed.apply import embed
from shoal.embed.command import embed_fit
from shoal.embed.embedder import load_embedder
from shoal.errors import DataError, SourceError
from shoal.formats.json_file import read_json
from shoal.formats.row_store import ShardRows
from shoal.formats.shapes import Shapes


@pytest.fixture
def shapes(tmp_path_factory):
    """The file that says what shape a row has."""
    path = tmp_path_factory.mktemp("fit") / "shapes.json"
    Shapes([6, 6], 2, "classification", ["a", "b"], 300, [str(n) for n in range(36)], []).save(path)
    return path


@pytest.mark.parametrize("method", ["identity", "pca", "scarf", "vicreg"])
def test_fit_then_embed(method, settings, write_shard, images, shapes, tmp_path):
    """Every row of a shard, of any fold, comes out in order, and none is lost."""
    shard = write_shard("a", images, np.arange(300) % 4)
    state, ledger, out = (tmp_path / n for n in ("e.safetensors", "l.json", "out.zarr.zip"))

    embed_fit(settings(method), [shard], shapes, state, ledger, 1, 60)
    embed(shard, state, out, 1)

    with ShardRows(out) as store:
        assert store.attributes["rows_in"] == 300
        assert np.array_equal(store.read("embedding"), load_embedder(state).embed(images))
    assert read_json(ledger, Any)["job"] == "embed_fit"


@pytest.mark.parametrize("method", ["pca", "scarf", "vicreg"])
def test_the_same_inputs_give_the_same_bytes(
    method, settings, write_shard, images, shapes, tmp_path
):
    """State and embeddings are reproduced byte for byte."""
    shard = write_shard("a", images)
    files = []
    for run in ("one", "two"):
        state, out = tmp_path / run / "e.safetensors", tmp_path / run / "out.zarr.zip"
        embed_fit(settings(method), [shard], shapes, state, tmp_path / run / "l.json", 1, 60)
        embed(shard, state, out, 1)
        files.append((state.read_bytes(), out.read_bytes()))

    assert files[0] == files[1]


def test_a_shard_without_rows_has_an_embedding_without_rows(
    settings, write_shard, images, shapes, tmp_path
):
    """An empty shard is no error."""
    state, out = tmp_path / "e.safetensors", tmp_path / "out.zarr.zip"
    embed_fit(settings("identity"), [], shapes, state, tmp_path / "l.json", 1, 60)

    embed(write_shard("empty", images[:0]), state, out, 1)

    with ShardRows(out) as store:
        assert store.read("embedding").shape == (0, 36)


def test_a_failed_fit_writes_nothing(settings, write_shard, images, shapes, tmp_path):
    """Neither state nor ledger appears when the rows cannot be embedded."""
    shard = write_shard("a", np.zeros_like(images[:5]))
    state, ledger = tmp_path / "e.safetensors", tmp_path / "l.json"

    with pytest.raises(DataError, match="all 5 training rows are equal"):
        embed_fit(settings("pca", dims=36), [shard], shapes, state, ledger, 1, 60)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zarr.zip"]


def test_a_missing_embedder_is_named(write_shard, images, tmp_path):
    """A state file that is not there is one line."""
    with pytest.raises(SourceError, match=r"e\.safetensors: no such file"):
        embed(write_shard("a", images), tmp_path / "e.safetensors", tmp_path / "o.zarr.zip", 1)
