"""SCARF: contrastive learning with random feature corruption.

Source:
    Bahri, Jiang, Tay and Metzler 2022, arXiv 2106.15147, algorithm 1.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

from shoal.embed.seeded import SeededModule, part_of
from shoal.training.processes import ALONE, place

if TYPE_CHECKING:
    from shoal.settings.discovery import SCARF


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
        view = corrupt(x, marginals, self._settings.corruption, self.generator, place())
        a, b = (self.head(self.encoder(rows)) for rows in (x, view))
        return info_nce(self.whole(a), self.whole(b), self._settings.temperature)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=self._settings.lr)
