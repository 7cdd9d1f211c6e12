"""A user's own model: a LightningModule with its own loss and optimiser, taken as it is."""

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig


class HousingNet(pl.LightningModule):
    """Residual network for tables, trained with Huber loss and Adam with a one-cycle rate."""

    def __init__(self, features: int, lr: float) -> None:
        super().__init__()
        self.lr = lr
        self.enter = torch.nn.Linear(features, 32)
        self.middle = torch.nn.Sequential(
            torch.nn.Linear(32, 32), torch.nn.SiLU(), torch.nn.Linear(32, 32)
        )
        self.leave = torch.nn.Linear(32, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Numbers, ``(rows,)``."""
        hidden = torch.nn.functional.silu(self.enter(x))
        return self.leave(hidden + self.middle(hidden)).squeeze(1)  # type: ignore[no-any-return]

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> torch.Tensor:
        """Huber loss of one batch."""
        x, y = batch
        return torch.nn.functional.huber_loss(self(x), y)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Adam with a one-cycle learning rate."""
        optimizer = torch.optim.Adam(self.parameters(), lr=self.lr)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.lr, total_steps=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
