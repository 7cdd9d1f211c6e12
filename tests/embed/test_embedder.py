"""What every embedder must do, and how one is fitted and found again."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from shoal.embed.command import fit_embedder
from shoal.embed.embedder import IdentityEmbedder, load_embedder
from shoal.errors import CorruptError, DataError, ModelError, SettingsError
from shoal.formats.fitted_state import save_state
from shoal.formats.ledger import Ledger
from shoal.formats.row_store import ShardRows
from tests.embed.conftest import keys_of

METHODS = ("identity", "pca", "counts", "scarf", "vicreg")
NETWORKS = ("scarf", "vicreg")


@pytest.fixture
def fit(settings, write_shard):
    """Fit a method on rows, all in one shard."""
    count = iter(range(100))

    def fitted(method, x, fold=None, **changes):
        key = keys_of(np.arange(len(x))[:, None])
        path = write_shard(f"fit{next(count)}", x, fold, key)
        return fit_embedder(settings(method, **changes), [path], x.shape[1:], Ledger("t"))

    return fitted


@pytest.fixture
def rows(method, images, tokens):
    """Rows that a method can embed."""
    return tokens if method == "counts" else images


def same_state(one, other) -> bool:
    """Whether two embedders have the same state, bit for bit."""
    (tensors, meta), (others, other_meta) = one.state(), other.state()
    alike = all(np.array_equal(tensors[name], others[name]) for name in tensors)
    return meta == other_meta and tensors.keys() == others.keys() and alike


@pytest.mark.parametrize("method", METHODS)
class TestEveryEmbedder:
    """The contract."""

    def test_gives_float32_rows_of_its_dims(self, method, fit, rows):
        """An embedding is float32 ``(rows, dims)``, for no rows too."""
        embedder = fit(method, rows)

        embedding = embedder.embed(rows)

        assert embedding.dtype == np.float32
        assert embedding.shape == (300, embedder.dims)
        assert embedder.dims == (36 if method == "identity" else 5)
        assert embedder.embed(rows[:0]).shape == (0, embedder.dims)

    def test_rows_have_the_same_bits_in_any_batch(self, method, fit, rows):
        """Batches of another size, at another place, give each row the same bits."""
        embedder = fit(method, rows)
        whole = embedder.embed(rows)

        for start, stop in ((0, 1), (3, 10), (0, 255), (1, 257), (250, 300)):
            assert np.array_equal(embedder.embed(rows[start:stop]), whole[start:stop])

    def test_rows_have_the_same_bits_in_any_order(self, method, fit, rows):
        """Reordered rows give reordered embeddings, bit for bit."""
        embedder = fit(method, rows)
        order = np.random.default_rng(0).permutation(300)

        assert np.array_equal(embedder.embed(rows[order]), embedder.embed(rows)[order])

    def test_state_makes_it_again(self, method, fit, rows, tmp_path):
        """What was saved loads as an embedder that gives the same bits and costs the same."""
        embedder = fit(method, rows)
        save_state(tmp_path / "e.safetensors", *embedder.state())

        again = load_embedder(tmp_path / "e.safetensors")

        assert same_state(again, embedder)
        assert again.method == method
        assert again.flops_per_row == embedder.flops_per_row
        assert np.array_equal(again.embed(rows), embedder.embed(rows))

    def test_fitted_twice_it_is_the_same(self, method, fit, rows):
        """Rows, settings and seed decide every bit, whatever torch drew before."""
        import torch

        first = fit(method, rows)
        torch.rand(7)

        assert same_state(first, fit(method, rows))

    def test_other_folds_do_not_count(self, method, fit, rows):
        """Rows outside the training fold change nothing that is fitted."""
        fold = np.arange(300) % 4
        changed = np.where(fold > 0, 9 * rows.T, rows.T).T

        assert same_state(fit(method, rows, fold), fit(method, changed, fold))

    def test_nothing_behind_the_prefix_is_seen(self, method, fit, rows):
        """Neither the fit nor an embedding changes with it; what lies before it decides both."""
        behind, before = rows.copy(), rows.copy()
        behind[:, 4:] = behind[::-1, 4:]
        before[:, 3] = before[::-1, 3]

        embedder = fit(method, rows, prefix=4)

        assert same_state(embedder, fit(method, behind, prefix=4))
        assert np.array_equal(embedder.embed(behind), embedder.embed(rows))
        assert not same_state(embedder, fit(method, before, prefix=4)) or method == "identity"
        assert not np.array_equal(embedder.embed(before), embedder.embed(rows))

    def test_with_a_prefix_state_makes_it_again(self, method, fit, rows, tmp_path):
        """Its file says how much of a row it sees, of rows that are shorter all."""
        for prefix in (4, 99):
            embedder = fit(method, rows, prefix=prefix)
            save_state(tmp_path / "e.safetensors", *embedder.state())

            again = load_embedder(tmp_path / "e.safetensors")

            assert again.flops_per_row == embedder.flops_per_row
            assert np.array_equal(again.embed(rows), embedder.embed(rows))
        assert np.array_equal(again.embed(rows), fit(method, rows).embed(rows))

    def test_rows_of_another_shape_are_refused(self, method, fit, rows):
        """The message names both shapes."""
        shape = str(rows.shape[1:]).replace("(", r"\(").replace(")", r"\)")
        with pytest.raises(DataError, match=rf"shape {shape}, but these have shape \("):
            fit(method, rows).embed(rows[:, :5])


def test_identity_is_the_row_flattened():
    """Identity keeps every value, in order."""
    x = np.arange(12, dtype=np.float32).reshape(2, 2, 3)

    assert np.array_equal(IdentityEmbedder((2, 3)).embed(x), x.reshape(2, 6))


@pytest.mark.parametrize("method", NETWORKS)
def test_another_seed_gives_another_network(method, fit, images):
    """The seed reaches weights and training."""
    assert not same_state(fit(method, images), fit(method, images, seed=1))


@pytest.mark.parametrize("method", NETWORKS)
def test_views_are_drawn_from_the_seed(method, settings):
    """With the same weights and rows, the seed alone decides the first loss."""
    import torch

    from shoal.embed.neural import Architecture
    from shoal.embed.self_supervised import ScarfModule, VicregModule

    x = torch.rand(8, 6, 6, generator=torch.Generator().manual_seed(0))

    def first_loss(seed):
        torch.manual_seed(0)
        encoder = Architecture(method, (6, 6), 5, 12, 2).build()
        wanted = settings(method, seed=seed)
        if method == "scarf":
            return ScarfModule(encoder, x.flatten(1), wanted).training_step((x,), 0).item()
        return VicregModule(encoder, wanted).training_step((x,), 0).item()

    assert first_loss(1) == first_loss(1)
    assert first_loss(1) != first_loss(2)


@pytest.mark.parametrize("method", NETWORKS)
def test_networks_are_standardised_over_the_training_fold(method, fit, images):
    """Each dimension has mean 0 and deviation 1 over training rows, not over others."""
    fold = np.r_[np.zeros(200), np.ones(100)]
    x = np.where((fold > 0)[:, None, None], 5 + images, images)

    embedding = fit(method, x, fold).embed(x)

    assert embedding[:200].mean(axis=0) == pytest.approx(0, abs=1e-4)
    assert embedding[:200].std(axis=0) == pytest.approx(1, abs=1e-4)
    assert abs(embedding[200:].mean(axis=0)).max() > 1


@pytest.mark.parametrize("method", NETWORKS)
def test_ledger_counts_training(method, settings, write_shard, images):
    """FLOPs are a step's times the steps."""
    ledger = Ledger("t")
    path = write_shard("a", images, np.arange(300) % 2)

    embedder = fit_embedder(settings(method, rows_seen=100), [path], (6, 6), ledger)

    assert ledger.rows_seen == 4 * 32
    # A step has two views, a forward and a backward pass, and a head.
    assert ledger.flops > 4 * 32 * 2 * 2 * embedder.flops_per_row


def test_scarf_flops_of_a_row_are_two_a_weight(fit, images):
    """A row costs a multiplication and an addition for each weight of the encoder."""
    assert fit("scarf", images).flops_per_row == 2 * (36 * 12 + 12 * 12 + 12 * 5)


@pytest.mark.parametrize("method", NETWORKS)
def test_training_reads_shards_in_blocks(method, settings, write_shard, monkeypatch):
    """Neither training nor sampling nor measuring reads a whole shard of rows at once."""
    monkeypatch.setattr("shoal.embed.train.BUFFER_BYTES", 4 * 36 * 500)
    monkeypatch.setattr("shoal.embed.train.MARGINAL_ROWS", 100)
    x = np.random.default_rng(0).random((6000, 6, 6)).astype(np.float32)
    path = write_shard("a", x)
    lengths = []
    read = ShardRows.read

    def spy(self, name, start=0, stop=None):
        rows = read(self, name, start, stop)
        if name == "x":
            lengths.append(len(rows))
        return rows

    monkeypatch.setattr(ShardRows, "read", spy)
    fit_embedder(settings(method), [path], (6, 6), Ledger("t"))

    assert max(lengths) == 2048
    assert sum(lengths) >= 6000


def purity(x: np.ndarray, regime: np.ndarray, cells: int) -> float:
    """Share of rows that are of the commonest regime of their k-means cell."""
    from sklearn.cluster import KMeans

    cell = KMeans(cells, n_init=5, random_state=0).fit_predict(x)
    return sum(np.bincount(regime[cell == k]).max() for k in range(cells)) / len(x)


def test_scarf_separates_what_features_do_not(fit):
    """Many weak dependent features tell the regime; four loud ones that tell nothing drown them."""
    rng = np.random.default_rng(0)
    regime = rng.integers(0, 2, 400)
    weak = 0.7 * (2 * regime[:, None] - 1) * rng.choice([-1, 1], size=12)
    quiet, loud = 0.5 * rng.normal(size=(400, 12)), 3 * rng.normal(size=(400, 4))
    x = np.concatenate([weak + quiet, loud], axis=1).astype(np.float32)

    embedding = fit("scarf", x, rows_seen=12800).embed(x)

    assert purity(x, regime, 2) < 0.7
    assert purity(embedding, regime, 2) > 0.95


def test_vicreg_separates_what_pixels_do_not(fit):
    """Lying and standing bars at any place: cells of pixels mix them, cells of VICReg do not."""
    rng = np.random.default_rng(0)
    regime = rng.integers(0, 2, 400)
    x = 0.05 * rng.random((400, 12, 12)).astype(np.float32)
    for row, turned in enumerate(regime):
        top, left = rng.integers(1, 6), rng.integers(1, 10)
        x[row, top : top + 6, left : left + 2] += 1
        x[row] = x[row].T.copy() if turned else x[row]

    embedding = fit("vicreg", x, rows_seen=12800, shift=0.5, scale=0).embed(x)

    assert purity(x.reshape(400, -1), regime, 8) < 0.92
    assert purity(embedding, regime, 8) > 0.97


def test_vicreg_is_refused_for_tables(settings):
    """The message says what to choose instead."""
    with pytest.raises(SettingsError, match=r"'vicreg' is for images.*\(9,\); choose 'scarf'"):
        fit_embedder(settings("vicreg"), [], (9,), Ledger("t"))


@pytest.mark.parametrize("method", NETWORKS)
def test_batches_of_one_row_are_refused(method, settings):
    """Rows are told from each other, so a batch has two."""
    with pytest.raises(SettingsError, match=r"embed\.batch_size: .* 2 or more, not 1"):
        fit_embedder(settings(method, batch_size=1), [], (6, 6), Ledger("t"))


@pytest.mark.parametrize("method", NETWORKS)
@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_training_rows_are_refused(method, rows, fit, images):
    """The message says how many there are."""
    fold = np.r_[np.zeros(rows), np.ones(5 - rows)]
    with pytest.raises(DataError, match=f"{method} needs two rows .* has {rows}"):
        fit(method, images[:5], fold)


@pytest.mark.parametrize("method", NETWORKS)
def test_a_loss_that_is_no_number_is_a_model_error(method, fit, images):
    """Infinite values end the fit with one line, not with an embedder of NaN."""
    x = images.copy()
    x[:] = np.inf
    with pytest.raises(ModelError, match="the loss became nan at step"):
        fit(method, x)


@pytest.mark.parametrize("method", NETWORKS)
def test_few_rows_still_train(method, fit, images):
    """With fewer training rows than a batch, all of them are the batch."""
    assert np.isfinite(fit(method, images[:3]).embed(images)).all()


def test_something_else_is_no_embedder(tmp_path):
    """A state file of another stage is named as such."""
    save_state(tmp_path / "s.safetensors", {}, {"method": "kmeans"})
    with pytest.raises(CorruptError, match=r"s\.safetensors: holds no embedder.*'kmeans'"):
        load_embedder(tmp_path / "s.safetensors")


@pytest.mark.parametrize(
    ("method", "heavy"),
    [
        ("identity", ["torch", "sklearn"]),
        ("pca", ["torch", "sklearn"]),
        ("counts", ["torch", "sklearn"]),
        ("scarf", ["pytorch_lightning", "sklearn"]),
        ("vicreg", ["pytorch_lightning", "sklearn"]),
    ],
)
def test_embedding_imports_no_more_than_it_needs(
    method, heavy, settings, write_shard, rows, tmp_path
):
    """A job that embeds rows does not pay for importing what fitting needs."""
    shard = write_shard("a", rows)
    state = tmp_path / "e.safetensors"
    save_state(state, *fit_embedder(settings(method), [shard], rows.shape[1:], Ledger("t")).state())
    code = (
        "import sys, numpy; from shoal.embed.embedder import load_embedder;"
        f"load_embedder({str(state)!r}).embed(numpy.ones({(9, *rows.shape[1:])}, numpy.float32));"
        f"sys.exit(any(name in sys.modules for name in {heavy}))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
