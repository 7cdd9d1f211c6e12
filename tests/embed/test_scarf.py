"""SCARF against the formula of Bahri et al. 2022."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from shoal.embed.self_supervised import ScarfModule, corrupt, info_nce
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
