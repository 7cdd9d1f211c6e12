"""How far layers are apart, by a few numbers of each."""

import numpy as np
import pytest

from shoal.archive.recipes import distance, sketches


def layers(seed, size=2000):
    """Parameters of two layers."""
    rng = np.random.default_rng(seed)
    return {
        f"{layer}.{name}": rng.normal(size=size).astype(np.float32)
        for layer in ("first", "second")
        for name in ("weight", "bias")
    }


@pytest.mark.parametrize("scale", [1e-6, 1.0])
def test_the_distance_is_estimated_to_within_a_third(scale):
    """On average over many layers, and mostly for one, whatever the distance is."""
    ratios = []
    for seed in range(40):
        one, noise = layers(seed), layers(seed + 1000)
        other = {
            name: (each + scale * noise[name]).astype(np.float64) for name, each in one.items()
        }
        exact = {name: each.astype(np.float64) for name, each in one.items()}
        first, second = sketches(exact), sketches(other)
        for layer in first:
            names = [name for name in one if name.startswith(layer)]
            apart = np.sqrt(sum(np.square(other[n] - exact[n]).sum() for n in names))
            ratios.append(distance(first[layer], second[layer]) / apart)
    assert np.mean(ratios) == pytest.approx(1, abs=0.1)
    assert np.mean([abs(ratio - 1) < 1 / 3 for ratio in ratios]) > 0.7


def test_a_layer_that_differs_is_told_apart():
    """Layers are sketched by themselves."""
    one = layers(0)
    other = one | {"second.bias": one["second.bias"] + np.float32(1)}
    first, second = sketches(one), sketches(other)

    assert set(first) == {"first", "second"}
    assert distance(first["first"], second["first"]) == 0
    assert distance(first["second"], second["second"]) > 1
