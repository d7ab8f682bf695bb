"""What the tests' configs register.

A backbone small enough to train in milliseconds, with everything that resuming can get wrong:
BatchNorm and dropout; and a hook that kills.
"""

import os
import signal
from pathlib import Path
from typing import Any

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.model import BaseModule
from mmpretrain.registry import HOOKS, MODELS
from torch import Tensor, nn


@MODELS.register_module(force=True)
class TinyCNN(BaseModule):
    def __init__(self, width: int = 8, dropout: float = 0.2) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, width, 3, stride=4), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(dropout)
        )

    def forward(self, images: Tensor) -> tuple[Tensor]:
        return (self.layers(images),)


@HOOKS.register_module(force=True)
class KillOnceHook(Hook):
    """Kills the process of a rank before an iteration, the first time that it is reached."""

    def __init__(self, marker: str, iteration: int, rank: int = 1) -> None:
        self.marker = Path(marker)
        self.iteration = iteration
        self.rank = rank

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter == self.iteration and get_rank() == self.rank and not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)


@HOOKS.register_module(force=True)
class DisturbHook(Hook):
    """Lets the second process start from other weights than the first."""

    priority = 'LOWEST'

    def before_train(self, runner: Any) -> None:
        if get_rank() == 1:
            next(iter(runner.model.parameters())).data.add_(1)
