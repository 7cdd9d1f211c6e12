"""Copies in which a share of the weights moves."""

from __future__ import annotations

import numpy as np
import pytest

from shoal.deploy.sparse import exponent_of_bits, sparsely
from shoal.settings.deploying import Sparse
from shoal_edge.weights import common_grid


def asked(density: float = 0.1, choice: str = "top", bits: int = 8) -> Sparse:
    """Settings of sparse copies."""
    return Sparse.model_validate(
        {
            "method": "sparse",
            "density": density,
            "choice": choice,
            "bits": bits,
            "most_loss": 1.0,
        }
    )


def drawn(seed: int) -> dict[str, np.ndarray]:
    """Two tensors of 300 and 100 weights."""
    rng = np.random.default_rng(seed)
    return {
        name: rng.normal(0, 0.1, shape).astype(np.float32)
        for name, shape in (("a", (30, 10)), ("b", (100,)))
    }


def flat(tensors: dict[str, np.ndarray]) -> np.ndarray:
    """All weights, one after the other."""
    return np.concatenate([tensors[name].ravel() for name in sorted(tensors)])


def chain(settings: Sparse, seed: int = 0) -> list[dict[str, np.ndarray]]:
    """The first copy, the one after training, and the one after no more training."""
    first, grids = sparsely(drawn(0), settings, {}, {}, seed)
    trained = {name: values + drawn(1)[name] for name, values in drawn(0).items()}
    second, _ = sparsely(trained, settings, first, grids, seed + 1)
    third, _ = sparsely(trained, settings, second, grids, seed + 2)
    return [first, trained, second, third]


def test_a_first_copy_has_weights_of_so_many_bits():
    """Each is the nearest multiple of a power of two, the largest a number of eight bits."""
    (first, grids), weights = sparsely(drawn(0), asked(), {}, {}, 0), drawn(0)

    for name, values in first.items():
        whole = values * 2.0 ** -grids[name]
        assert np.array_equal(whole, np.round(whole))
        assert 64 <= np.abs(whole).max() <= 128
        assert np.abs(values - weights[name]).max() <= 2.0 ** grids[name] / 2


@pytest.mark.parametrize("choice", ["top", "random"])
def test_a_share_of_all_weights_moves_and_the_patch_has_steps(choice):
    """A tenth of the weights of both tensors together; the others have the bits that they had."""
    first, _, second, _ = chain(asked(choice=choice))

    moved = flat(first) != flat(second)
    assert 0.05 * 400 < moved.sum() <= 0.1 * 400
    for name in first:
        assert common_grid(first[name].view(np.uint32), second[name].view(np.uint32)) is not None


def test_the_weights_that_are_farthest_off_move():
    """None that stays is farther from its trained value than one that moves was."""
    first, trained, second, _ = chain(asked())

    off, moved = np.abs(flat(trained) - flat(first)), flat(first) != flat(second)
    assert off[moved].min() >= off[~moved].max()
    assert np.abs(flat(trained) - flat(second))[moved].max() <= 0.01


def test_what_was_left_out_moves_with_later_copies():
    """Without further training the next copy is nearer, by others of the weights."""
    first, trained, second, third = chain(asked())

    before, after = flat(first) != flat(second), flat(second) != flat(third)
    assert after.any()
    assert not (before & after).any()
    off = [np.abs(flat(trained) - flat(each)).sum() for each in (first, second, third)]
    assert off[0] > off[1] > off[2]


def test_a_random_choice_depends_on_the_seed_alone():
    """The same seed moves the same weights, another one others."""
    one, same, other = (chain(asked(choice="random"), seed)[2] for seed in (0, 0, 9))

    assert np.array_equal(flat(one), flat(same))
    assert not np.array_equal(flat(one), flat(other))


def test_all_of_the_weights_may_move():
    """With density 1 every weight is the nearest multiple."""
    _, trained, second, third = chain(asked(density=1.0))

    assert np.abs(flat(trained) - flat(second)).max() < 0.01
    assert np.array_equal(flat(second), flat(third))


@pytest.mark.parametrize(
    "weights",
    [np.zeros(3, np.float32), np.array([np.nan], np.float32), np.ones(3), np.zeros(0, np.float32)],
    ids=["zeros", "nan", "float64", "none"],
)
def test_weights_without_a_grid_are_deployed_exactly(weights):
    """They move as a whole, and no share counts them."""
    assert exponent_of_bits(weights, 8) is None

    found, grids = sparsely({"a": weights}, asked(), {"a": weights + 1}, {}, 0)

    assert found["a"] is weights
    assert grids == {}
