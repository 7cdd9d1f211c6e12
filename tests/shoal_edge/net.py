"""Networks that are not Shoal's own."""

import torch


class Normed(torch.nn.Module):
    """A network with statistics beside its weights, and an activation that numpy does not know."""

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        self.first = torch.nn.Linear(features, 8)
        self.norm = torch.nn.BatchNorm1d(8)
        self.last = torch.nn.Linear(8, outputs)
        with torch.no_grad():
            self.norm.running_mean.copy_(torch.randn(8))
            self.norm.running_var.copy_(torch.rand(8) + 0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits ``(rows, outputs)``."""
        hidden = torch.nn.functional.gelu(self.norm(self.first(x)))
        return self.last(hidden)


class Deciding(torch.nn.Module):
    """A network whose steps depend on the values of rows, which no graph tells."""

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        self.last = torch.nn.Linear(features, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits ``(rows, outputs)``."""
        return self.last(x) if x.sum() >= 0 else self.last(-x)
