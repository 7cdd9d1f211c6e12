"""SCARF and VICReg against the formulas of their papers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from shoal.embed.neural import ImageEncoder
from shoal.embed.self_supervised import (
    ScarfModule,
    VicregModule,
    corrupt,
    info_nce,
    vicreg_loss,
    view_of,
)
from shoal.models import MLP


def published_info_nce(a: np.ndarray, b: np.ndarray, temperature: float) -> float:
    """Algorithm 1 of the paper, term by term."""
    rows = len(a)

    def similarity(i: int, k: int) -> float:
        return float(a[i] @ b[k] / (np.linalg.norm(a[i]) * np.linalg.norm(b[k])))

    total = 0.0
    for i in range(rows):
        own = math.exp(similarity(i, i) / temperature)
        everyone = sum(math.exp(similarity(i, k) / temperature) for k in range(rows)) / rows
        total += -math.log(own / everyone)
    return total / rows


@pytest.mark.parametrize("temperature", [0.1, 1.0, 3.0])
def test_info_nce_is_the_published_formula(temperature):
    """The loss equals algorithm 1 computed with loops, at any temperature."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 6, 4))

    loss = info_nce(torch.from_numpy(a), torch.from_numpy(b), temperature)

    assert loss.item() == pytest.approx(published_info_nce(a, b, temperature), rel=1e-9)


def test_info_nce_is_zero_where_views_tell_nothing():
    """Views that are all alike are matched at chance: loss 0."""
    a = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0]])
    b = torch.ones(3, 2)

    assert info_nce(a, b, 0.5).item() == pytest.approx(0, abs=1e-6)


def test_info_nce_ignores_length_and_rewards_matches():
    """Orthogonal rows and their scaled selves give minus log of rows, nearly, when it is cold."""
    a = torch.eye(4)

    assert info_nce(a, 7 * a, 0.01).item() == pytest.approx(-math.log(4), abs=1e-6)


def test_corruption_replaces_the_floor_of_the_share_in_every_row():
    """Exactly floor(share x features) features of each row come from the marginals."""
    x, marginals = torch.zeros(50, 7), torch.ones(3, 7)

    view = corrupt(x, marginals, 0.6, torch.Generator().manual_seed(0))

    assert view.sum(dim=1).tolist() == [4.0] * 50


@pytest.mark.parametrize(("share", "features", "count"), [(0.29, 100, 29), (0.1, 3, 1)])
def test_corruption_counts_without_rounding_errors_and_never_none(share, features, count):
    """A share that is a hair low in binary still counts fully; one feature at least goes."""
    view = corrupt(
        torch.zeros(2, features), torch.ones(1, features), share, torch.Generator().manual_seed(0)
    )

    assert view.sum(dim=1).tolist() == [count] * 2


def test_corruption_picks_another_subset_for_each_row():
    """Rows are corrupted in different features, each feature as often as any other."""
    view = corrupt(torch.zeros(4000, 4), torch.ones(1, 4), 0.5, torch.Generator().manual_seed(0))

    assert len({tuple(row) for row in view.tolist()}) == 6
    assert view.mean(dim=0).numpy() == pytest.approx(0.5, abs=0.03)


def test_corruption_draws_each_feature_from_its_own_marginal():
    """A replaced value comes from its own column, with the column's frequencies, row by row."""
    x = torch.full((6000, 2), -1.0)
    marginals = torch.tensor([[0.0, 10.0], [0.0, 10.0], [0.0, 10.0], [1.0, 11.0]])

    view = corrupt(x, marginals, 0.999999999999, torch.Generator().manual_seed(0))

    assert set(view[:, 0].tolist()) == {0.0, 1.0}
    assert set(view[:, 1].tolist()) == {10.0, 11.0}
    assert view.mean(dim=0).numpy() == pytest.approx([0.25, 10.25], abs=0.03)
    together = ((view[:, 0] == 1) & (view[:, 1] == 11)).float().mean().item()
    assert together == pytest.approx(0.0625, abs=0.015)


def test_the_same_seed_corrupts_alike():
    """Corruption is a function of the generator's seed."""
    x, marginals = torch.zeros(5, 6), torch.arange(60.0).reshape(10, 6)

    views = [corrupt(x, marginals, 0.5, torch.Generator().manual_seed(s)) for s in (1, 1, 2)]

    assert torch.equal(views[0], views[1])
    assert not torch.equal(views[0], views[2])


def test_training_lowers_the_loss(settings):
    """Steps of Adam on rows with dependent features bring InfoNCE down."""
    torch.manual_seed(0)
    x = torch.randn(64, 1) @ torch.randn(1, 10) + 0.1 * torch.randn(64, 10)
    module = ScarfModule(MLP(10, 5, 12, 2), x, settings("scarf"))
    optimizer = module.configure_optimizers()
    losses = []

    for step in range(150):
        loss = module.training_step((x,), step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

    assert np.mean(losses[-20:]) < np.mean(losses[:5]) - 0.3


def published_terms(a: np.ndarray, b: np.ndarray) -> tuple[float, float, float]:
    """Invariance, variance and covariance terms of algorithm 1, with loops."""
    rows, dims = a.shape
    likeness = sum((a[i, j] - b[i, j]) ** 2 for i in range(rows) for j in range(dims))
    spread = redundancy = 0.0
    for z in (a, b):
        mean = [sum(z[i, j] for i in range(rows)) / rows for j in range(dims)]
        for j in range(dims):
            for k in range(dims):
                products = sum((z[i, j] - mean[j]) * (z[i, k] - mean[k]) for i in range(rows))
                covariance = products / (rows - 1)
                if j == k:
                    spread += max(0.0, 1 - math.sqrt(covariance + 1e-4)) / dims
                else:
                    redundancy += covariance**2 / dims
    return likeness / (rows * dims), spread, redundancy


@pytest.mark.parametrize("weights", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (25, 25, 1)])
def test_loss_is_the_published_formula(weights):
    """Each term, and their weighted sum, equals algorithm 1 computed with loops."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 7, 4)) * [0.3, 0.9, 1.1, 2.0] + 5

    loss = vicreg_loss(torch.from_numpy(a), torch.from_numpy(b), *weights)

    terms = published_terms(a, b)
    assert loss.item() == pytest.approx(np.dot(weights, terms), rel=1e-9)


def test_collapse_costs_the_full_variance_term():
    """Projections that are all alike cost the hinge, 1 less sqrt(1e-4), in each view alone."""
    a = torch.full((8, 3), 2.0, dtype=torch.float64)

    assert vicreg_loss(a, a, 1, 1, 1).item() == pytest.approx(2 * 0.99, rel=1e-12)


def test_spread_and_independent_views_cost_nothing():
    """Equal views with variance above 1 and no covariance have loss 0."""
    a = 2 * torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])

    assert vicreg_loss(a, a, 25, 25, 1).item() == 0


def test_a_view_without_shift_scale_and_noise_is_the_image(settings):
    """All three ranges at zero leave every pixel where it is."""
    images = torch.rand(4, 2, 6, 5)

    view = view_of(images, settings("vicreg", shift=0, scale=0, noise=0), torch.Generator())

    assert view.numpy() == pytest.approx(images.numpy(), abs=1e-5)


def centre_and_mass(images: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Centre of mass ``(rows, 2)`` in pixels, rows then columns, and mass of one-channel images."""
    stack = images[:, 0].numpy().astype(np.float64)
    places = np.stack(np.mgrid[: stack.shape[1], : stack.shape[2]])
    mass = stack.sum(axis=(1, 2))
    return np.einsum("nhw,chw->nc", stack, places) / mass[:, None], mass


def test_shift_moves_up_to_its_share_of_the_side_along_both_axes(settings):
    """Centres of mass move independently by up to the share, in both directions, and no more."""
    images = torch.zeros(500, 1, 20, 20)
    images[:, :, 8:11, 8:11] = 1

    view = view_of(
        images, settings("vicreg", shift=0.2, scale=0, noise=0), torch.Generator().manual_seed(0)
    )

    moved = centre_and_mass(view)[0] - [9, 9]
    assert moved.min(axis=0) == pytest.approx([-4, -4], abs=0.1)
    assert moved.max(axis=0) == pytest.approx([4, 4], abs=0.1)
    assert abs(np.corrcoef(moved.T)[0, 1]) < 0.15


def test_what_a_shift_brings_in_is_zero(settings):
    """Pixels from outside the image are 0, not the border's value."""
    images = torch.ones(300, 1, 10, 10)

    view = view_of(
        images, settings("vicreg", shift=0.3, scale=0, noise=0), torch.Generator().manual_seed(0)
    )

    mass = centre_and_mass(view)[1]
    assert mass.max() <= 100
    assert mass.min() < 65


def test_scale_changes_size_both_ways_within_its_bounds(settings):
    """A square's side grows to 1 + scale times and shrinks to its inverse, about the centre."""
    images = torch.zeros(500, 1, 40, 40)
    images[:, :, 12:28, 12:28] = 1

    view = view_of(
        images, settings("vicreg", shift=0, scale=0.25, noise=0), torch.Generator().manual_seed(0)
    )

    centre, mass = centre_and_mass(view)
    sides = np.sqrt(mass) / 16
    assert sides.min() == pytest.approx(1 / 1.25, abs=0.02)
    assert sides.max() == pytest.approx(1.25, abs=0.02)
    assert centre == pytest.approx(np.full((500, 2), 19.5), abs=0.01)


def test_a_view_is_never_turned_or_mirrored(settings):
    """An image with four unequal corners keeps each corner's rank, whatever the draw."""
    images = torch.zeros(200, 1, 20, 20)
    images[:, :, 4:7, 4:7] = 1
    images[:, :, 4:7, 13:16] = 2
    images[:, :, 13:16, 4:7] = 3
    images[:, :, 13:16, 13:16] = 4

    view = view_of(
        images, settings("vicreg", shift=0.05, noise=0), torch.Generator().manual_seed(0)
    )

    quarters = [
        view[:, 0, r, c] for r in (slice(10), slice(10, 20)) for c in (slice(10), slice(10, 20))
    ]
    peaks = torch.stack([quarter.amax(dim=(1, 2)) for quarter in quarters], dim=1)
    assert (peaks.argsort(dim=1) == torch.arange(4)).all()


def test_noise_has_its_standard_deviation_and_differs_between_views(settings):
    """Pixel noise is Gaussian with the set deviation, drawn anew for each view."""
    generator = torch.Generator().manual_seed(0)
    wanted = settings("vicreg", shift=0, scale=0, noise=0.3)
    images = torch.zeros(50, 1, 10, 10)

    first, second = (view_of(images, wanted, generator) for _ in range(2))

    assert first.std().item() == pytest.approx(0.3, rel=0.05)
    assert (first * second).mean().item() == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("shape", [(6, 6), (3, 5, 7)])
def test_training_lowers_the_loss_of_vicreg(settings, shape):
    """Steps of Adam bring VICReg's loss down, for images with and without channels."""
    torch.manual_seed(0)
    x = torch.rand(64, *shape)
    module = VicregModule(ImageEncoder(shape, 5, 12, 2), settings("vicreg"))
    optimizer = module.configure_optimizers()
    losses = []

    for step in range(60):
        loss = module.training_step((x,), step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:3])
