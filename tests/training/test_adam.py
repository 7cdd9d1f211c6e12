"""AdamW without torch.optim."""

import pytest
import torch

from shoal.training import adam
from shoal.training.adam import adamw_


def ours(start, gradients, rates, weight_decay, epsilon=1e-8):
    """A parameter after some steps."""
    value, mean, square = start.clone(), torch.zeros_like(start), torch.zeros_like(start)
    count = torch.zeros(())
    for gradient, lr in zip(gradients, rates, strict=True):
        adamw_([value], [gradient], [mean], [square], [count], lr, weight_decay, epsilon)
    return value


def torchs(kind, start, gradients, rates, weight_decay, epsilon=1e-8):
    """The same by one of torch's classes."""
    value = start.clone().requires_grad_()
    optimizer = kind([value], lr=1.0, weight_decay=weight_decay, eps=epsilon, fused=True)
    for gradient, lr in zip(gradients, rates, strict=True):
        optimizer.param_groups[0]["lr"] = lr
        value.grad = gradient.clone()
        optimizer.step()
    return value.detach()


@pytest.fixture
def steps():
    """A start of odd length, twenty gradients and falling rates."""
    torch.manual_seed(0)
    return torch.randn(101), list(torch.randn(20, 101)), [0.1 / (1 + n) for n in range(20)]


@pytest.mark.parametrize("epsilon", [1e-8, 0.1])
def test_steps_have_the_bits_of_torchs_adamw(steps, epsilon):
    """Decay, corrected means, a changing rate and epsilon are those of the published class."""
    assert torch.equal(ours(*steps, 0.1, epsilon), torchs(torch.optim.AdamW, *steps, 0.1, epsilon))


def test_without_decay_it_is_adam(steps):
    """The two differ in nothing but how weights decay."""
    assert torch.equal(ours(*steps, 0.0), torchs(torch.optim.Adam, *steps, 0.0))


def test_without_the_private_kernel_the_bits_are_the_same(steps, monkeypatch):
    """A version of torch that lacks it trains by torch's public function."""
    before = ours(*steps, 0.1)
    monkeypatch.setattr(adam, "_KERNEL", None)

    assert torch.equal(ours(*steps, 0.1), before)
