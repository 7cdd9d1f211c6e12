"""VICReg: variance-invariance-covariance regularisation of two views of an image.

Source:
    Bardes, Ponce and LeCun 2022, arXiv 2105.04906, algorithm 1.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

from shoal.embed.seeded import SeededModule, part_of
from shoal.models import channels_first
from shoal.training.processes import ALONE, place

if TYPE_CHECKING:
    from shoal.settings.discovery import VICReg


def vicreg_loss(
    a: torch.Tensor, b: torch.Tensor, invariance: float, variance: float, covariance: float
) -> torch.Tensor:
    """Weighted sum of the three terms of VICReg.

    Invariance: mean squared difference of the views. Variance, for each view: mean over
    dimensions of max(0, 1 - sqrt(var + 1e-4)). Covariance, for each view: squared off-diagonal
    entries of the covariance matrix, summed and divided by the dimensions. Variances and
    covariances are unbiased.

    Args:
        a: Projections of one view, ``(rows, projection)``, at least two rows.
        b: Projections of the other view of the same rows.
        invariance: Weight of the invariance term.
        variance: Weight of the variance term.
        covariance: Weight of the covariance term.

    Returns:
        A scalar.

    Source:
        Bardes et al. 2022, algorithm 1; like it, the invariance term is a mean over dimensions
        too (equation 5 sums over them).
    """
    likeness = nn.functional.mse_loss(a, b)
    spread = _spread(a) + _spread(b)
    redundancy = _redundancy(a) + _redundancy(b)
    return invariance * likeness + variance * spread + covariance * redundancy


def _spread(z: torch.Tensor) -> torch.Tensor:
    return torch.relu(1 - torch.sqrt(z.var(dim=0) + 1e-4)).mean()


def _redundancy(z: torch.Tensor) -> torch.Tensor:
    rows, dims = z.shape
    centred = z - z.mean(dim=0)
    covariances = centred.T @ centred / (rows - 1)
    off_diagonal = covariances - torch.diag(torch.diagonal(covariances))
    return off_diagonal.square().sum() / dims


def view_of(
    images: torch.Tensor,
    settings: VICReg,
    generator: torch.Generator,
    part: tuple[int, int] = ALONE,
) -> torch.Tensor:
    """A random view of each image: shifted, scaled, with noise. Never turned or mirrored.

    Orientation may be what tells regimes apart, so a view must keep it.

    Args:
        images: ``(rows, channels, height, width)``.
        settings: ``shift``: up to this share of the side, along each axis. ``scale``: between
            1 / (1 + scale) and 1 + scale times the size. ``noise``: standard deviation of the
            Gaussian noise of a pixel. What comes in from outside the image is 0.
        generator: Source of the draws, on the CPU.
        part: Which of how many equal parts of a batch they are; draws are the whole batch's.
    """
    rows, whole = len(images), len(images) * part[1]
    draws = part_of(2 * torch.rand(whole, 3, generator=generator) - 1, part)
    pixels = torch.randn((whole, *images.shape[1:]), generator=generator)
    noise = settings.noise * part_of(pixels, part)
    affine = torch.zeros(rows, 2, 3)
    # An affine grid asks where an output pixel comes from: hence the inverse of the scale.
    shrink = torch.exp(-draws[:, 0] * math.log1p(settings.scale))
    affine[:, 0, 0] = affine[:, 1, 1] = shrink
    # Coordinates run from -1 to 1: a whole side is 2.
    affine[:, :, 2] = 2 * settings.shift * draws[:, 1:]
    grid = nn.functional.affine_grid(affine, list(images.shape), align_corners=False)
    moved = nn.functional.grid_sample(
        images, grid.to(images.device), padding_mode="zeros", align_corners=False
    )
    return moved + noise.to(images.device)


class VicregModule(SeededModule):
    """An encoder with an expander, trained on two views of each image."""

    def __init__(self, encoder: nn.Module, settings: VICReg) -> None:
        """Add the expander.

        Args:
            encoder: Images ``(rows, channels, height, width)`` to ``(rows, dims)``.
            settings: Widths, weights of the terms, views, learning rate and seed.
        """
        super().__init__(settings.seed)
        self.encoder = encoder
        width = settings.projection
        self.expander = nn.Sequential(
            nn.Linear(settings.dims, width),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Linear(width, width),
        )
        self._settings = settings

    def training_step(self, batch: tuple[torch.Tensor], _: int) -> torch.Tensor:
        """VICReg between two views of a batch of images, whatever place their channels have."""
        images = channels_first(batch[0])
        views = [view_of(images, self._settings, self.generator, place()) for _ in range(2)]
        # Its batch normalisation, like the loss, is over whole batches.
        a, b = (self.expander(self.whole(self.encoder(view))) for view in views)
        weights = self._settings
        return vicreg_loss(a, b, weights.invariance, weights.variance, weights.covariance)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=self._settings.lr)
