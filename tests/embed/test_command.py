"""The commands: files in, files out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from shoal.embed.apply import embed_checked
from shoal.embed.command import embed_fit
from shoal.embed.embedder import IdentityEmbedder, load_embedder
from shoal.errors import DataError, SettingsError
from shoal.formats.json_file import read_json
from shoal.formats.shapes import Shapes


@pytest.fixture
def shapes(tmp_path_factory):
    """The file that says what shape a row has."""
    path = tmp_path_factory.mktemp("fit") / "shapes.json"
    Shapes([6, 6], 2, "classification", ["a", "b"], 300, [str(n) for n in range(36)], []).save(path)
    return path


@pytest.mark.parametrize("method", ["identity", "pca", "scarf", "vicreg"])
def test_a_fitted_embedder_is_kept_with_its_ledger(
    method, settings, write_shard, images, shapes, tmp_path
):
    """It embeds rows of any fold, none at all too."""
    shard = write_shard("a", images, np.arange(300) % 4)
    state, ledger = tmp_path / "e.safetensors", tmp_path / "l.json"

    embed_fit(settings(method), [shard], shapes, state, ledger, 1, 60)

    embedder = load_embedder(state)
    assert embed_checked(embedder, images, "a", np.arange(300)).shape == (300, embedder.dims)
    assert embedder.embed(images[:0]).shape == (0, embedder.dims)
    assert read_json(ledger, Any)["job"] == "embed_fit"


@pytest.mark.parametrize("method", ["pca", "scarf", "vicreg"])
def test_the_same_inputs_give_the_same_bytes(
    method, settings, write_shard, images, shapes, tmp_path
):
    """State and embeddings are reproduced byte for byte."""
    shard = write_shard("a", images)
    made = []
    for run in ("one", "two"):
        state = tmp_path / run / "e.safetensors"
        embed_fit(settings(method), [shard], shapes, state, tmp_path / run / "l.json", 1, 60)
        made.append((state.read_bytes(), load_embedder(state).embed(images).tobytes()))

    assert made[0] == made[1]


def test_a_row_whose_embedding_is_not_finite_is_named():
    """By its place in the file that it comes from."""
    x = np.zeros((3, 2), dtype=np.float32)
    x[1, 1] = np.inf

    with pytest.raises(DataError, match=r"^a\.zarr\.zip: the embedding of row 42 is not finite"):
        embed_checked(IdentityEmbedder([2]), x, "a.zarr.zip", np.array([40, 41, 42]))


def test_an_embedder_of_other_rows_is_refused(settings, write_shard, images, tokens, tmp_path):
    """Tokens are names, not numbers; numbers are no tokens. The message says what to choose."""
    state, ledger = tmp_path / "e.safetensors", tmp_path / "l.json"
    numbers, names = tmp_path / "numbers.json", tmp_path / "names.json"
    Shapes([36], 1, "regression", None, 300, [str(n) for n in range(36)], []).save(numbers)
    Shapes([12], 0, "own", None, 300, [str(n) for n in range(12)], [], 257).save(names)

    with pytest.raises(SettingsError, match=r"'counts' embeds tokens, .* choose embed=pca"):
        embed_fit(settings("counts"), [write_shard("a", images)], numbers, state, ledger, 1, 60)
    for method in ("identity", "pca", "scarf"):
        with pytest.raises(SettingsError, match=f"'{method}' embeds numbers, .* embed=counts"):
            embed_fit(settings(method), [write_shard("b", tokens)], names, state, ledger, 1, 60)

    assert not state.exists()
    embed_fit(settings("counts"), [write_shard("c", tokens)], names, state, ledger, 1, 60)
    assert load_embedder(state).dims == 5


def test_a_failed_fit_writes_nothing(settings, write_shard, images, shapes, tmp_path):
    """Neither state nor ledger appears when the rows cannot be embedded."""
    shard = write_shard("a", np.zeros_like(images[:5]))
    state, ledger = tmp_path / "e.safetensors", tmp_path / "l.json"

    with pytest.raises(DataError, match="all 5 training rows are equal"):
        embed_fit(settings("pca", dims=36), [shard], shapes, state, ledger, 1, 60)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zarr.zip"]
