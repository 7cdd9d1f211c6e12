"""A model of text, byte by byte, with a loss of its own: a plain module, taken as it is."""

import torch
from torch import nn
from torch.nn import functional


class NextByte(nn.Module):
    """Network of two layers that predicts each byte behind a row's prefix from the eight before it.

    Args:
        tokens: How many numbers of bytes there are; 0 is no byte.
        width: Units of both layers.
        prefix: Bytes of a row that are given, eight at least; those behind them are predicted.
    """

    density = True
    before = 8

    def __init__(self, tokens: int, width: int, prefix: int) -> None:
        super().__init__()
        self.prefix = prefix
        self.tokens = tokens
        self.tables = nn.Parameter(0.3 * torch.randn(self.before * tokens, width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.middle = nn.Linear(width, width)
        self.leave = nn.Linear(width, tokens)

    def row_losses(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Mean of -log p over the bytes of each row, in nats.

        As densities go, exp(-loss) is the geometric mean of a row's probabilities. Mixed row by row
        it is at most what the models give that are mixed byte by byte: no mixture is overrated.
        """
        x, _ = batch
        places = x[:, self.prefix - self.before : -1].unfold(1, self.before, 1)
        places = places + self.tokens * torch.arange(self.before, device=x.device)
        found = self.tables.index_select(0, places.flatten())  # a table for each of the eight
        inner = torch.relu(found.view(-1, self.before, len(self.bias)).sum(dim=1) + self.bias)
        logits = self.leave(torch.relu(self.middle(inner)))
        wanted = x[:, self.prefix :]
        losses = functional.cross_entropy(logits, wanted.flatten(), reduction="none")
        is_byte = wanted > 0
        return (losses.view_as(wanted) * is_byte).sum(dim=1) / is_byte.sum(dim=1).clamp(min=1)
