"""SCARF and VICReg: losses over whole batches of rows without labels.

Source:
    SCARF: Bahri, Jiang, Tay and Metzler 2022, arXiv 2106.15147, algorithm 1.
    VICReg: Bardes, Ponce and LeCun 2022, arXiv 2105.04906, algorithm 1.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from torch import distributed, nn

from shoal.models import channels_first
from shoal.training.processes import ALONE, rank_and_count

if TYPE_CHECKING:
    from shoal.settings.discovery import SCARF, VICReg


class SeededModule(pl.LightningModule):
    """A module that draws from its own ``generator``, on the CPU, which checkpoints hold too."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)

    def whole(self, rows: torch.Tensor) -> torch.Tensor:
        """The rows of all processes' shares of a batch, in order.

        Every process must get the same loss from them.
        """
        if rank_and_count() == ALONE:
            return rows
        whole: torch.Tensor = _Whole.apply(rows)  # type: ignore[no-untyped-call]
        return whole

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the generator's state."""
        checkpoint["generator"] = self.generator.get_state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Set the generator's state."""
        self.generator.set_state(checkpoint["generator"])


class _Whole(torch.autograd.Function):
    """Gathers rows; each process's own get their gradient, which all processes know alike."""

    @staticmethod
    def forward(_: Any, rows: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 - torch's
        shares = [torch.empty_like(rows) for _ in range(rank_and_count()[1])]
        distributed.all_gather(shares, rows.contiguous())
        return torch.cat(shares)

    @staticmethod
    def backward(_: Any, gradient: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 - torch's
        # The processes' gradients are averaged, yet each has those of its own rows alone.
        return rank_and_count()[1] * part_of(gradient, rank_and_count())


def part_of(draws: torch.Tensor, part: tuple[int, int]) -> torch.Tensor:
    """One of several equal parts of what was drawn for a whole batch."""
    rows = len(draws) // part[1]
    return draws[part[0] * rows : (part[0] + 1) * rows]


def info_nce(a: torch.Tensor, b: torch.Tensor, temperature: float) -> torch.Tensor:
    """InfoNCE of anchors against the views of all rows of the batch.

    With s the cosine similarity: mean over i of
    -log( exp(s(a_i, b_i) / t) / (1/n sum over k of exp(s(a_i, b_k) / t)) ).

    Args:
        a: Projected anchors ``(rows, projection)``.
        b: Projected views of the same rows, same shape.
        temperature: t above.

    Returns:
        A scalar; 0 where views tell rows apart no better than chance.

    Source:
        Bahri et al. 2022, algorithm 1.
    """
    similarity = nn.functional.normalize(a, dim=1) @ nn.functional.normalize(b, dim=1).T
    own = torch.arange(len(a), device=a.device)
    return nn.functional.cross_entropy(similarity / temperature, own) - math.log(len(a))


def corrupt(
    x: torch.Tensor,
    marginals: torch.Tensor,
    share: float,
    generator: torch.Generator,
    part: tuple[int, int] = ALONE,
) -> torch.Tensor:
    """Rows with some features replaced by draws from those features' marginals.

    Args:
        x: Rows, ``(rows, features)``.
        marginals: Training rows whose columns are the empirical marginals,
            ``(any number, features)``.
        share: Share of the features that is replaced in each row: the floor of share times
            features (one at least), another subset for each row.
        generator: Source of the draws, on the CPU.
        part: Which of how many equal parts of a batch the rows are; draws are the whole batch's.
    """
    rows, features = len(x) * part[1], x.shape[1]
    # The tiny addend: 0.29 * 100 is a hair below 29.
    count = max(1, math.floor(share * features + 1e-9))
    shuffled = torch.rand(rows, features, generator=generator).argsort(dim=1)
    chosen = part_of(shuffled[:, :count], part).to(x.device)
    draws = torch.randint(len(marginals), (rows, count), generator=generator)
    donors = part_of(draws, part).to(x.device)
    return x.scatter(1, chosen, marginals[donors, chosen])


class ScarfModule(SeededModule):
    """An encoder with a projection head, trained to match rows with their corrupted views."""

    def __init__(self, encoder: nn.Module, marginals: torch.Tensor, settings: SCARF) -> None:
        """Add the projection head.

        Args:
            encoder: Rows ``(rows, …)`` to ``(rows, dims)``.
            marginals: Training rows to draw features from, ``(any number, features)``.
            settings: Widths, corruption, temperature, learning rate and seed.
        """
        super().__init__(settings.seed)
        self.encoder = encoder
        self.head = nn.Sequential(
            nn.Linear(settings.dims, settings.projection),
            nn.ReLU(),
            nn.Linear(settings.projection, settings.projection),
        )
        self.register_buffer("marginals", marginals, persistent=False)
        self._settings = settings

    def training_step(self, batch: tuple[torch.Tensor], _: int) -> torch.Tensor:
        """InfoNCE between a batch and its corrupted view."""
        x = batch[0].flatten(1)
        marginals = self.get_buffer("marginals")
        view = corrupt(x, marginals, self._settings.corruption, self.generator, rank_and_count())
        a, b = (self.head(self.encoder(rows)) for rows in (x, view))
        return info_nce(self.whole(a), self.whole(b), self._settings.temperature)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=self._settings.lr)


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
        views = [
            view_of(images, self._settings, self.generator, rank_and_count()) for _ in range(2)
        ]
        # Its batch normalisation, like the loss, is over whole batches.
        a, b = (self.expander(self.whole(self.encoder(view))) for view in views)
        weights = self._settings
        return vicreg_loss(a, b, weights.invariance, weights.variance, weights.covariance)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=self._settings.lr)
