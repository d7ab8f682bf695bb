"""A backbone small enough to train in milliseconds, with everything that resuming can get wrong: BatchNorm and dropout."""

from mmengine.model import BaseModule
from mmpretrain.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module(force=True)
class TinyCNN(BaseModule):

    def __init__(self, width: int = 8, dropout: float = 0.2) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, width, 3, stride=4), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(dropout))

    def forward(self, images: Tensor) -> tuple[Tensor]:
        return (self.layers(images), )
