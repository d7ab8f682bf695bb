"""Pooling of maps whose channels come last.

N images, H x W places, D features.
"""

from mmpretrain.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class ChannelLastPooling(nn.Module):
    """Averages maps (N, H, W, D) over places, such as timm's Swin in ``TIMMBackbone``.

    ``GlobalAveragePooling`` would average over the width and the features.
    """

    def forward(self, feats: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Pool each stage.

        Args:
            feats: The stages, each (N, H, W, D).

        Returns:
            Each as (N, D).

        Raises:
            ValueError: If a stage has a different number of dimensions.
        """
        return tuple(self._pool(maps) for maps in feats)

    @staticmethod
    def _pool(maps: Tensor) -> Tensor:
        if maps.dim() != 4:
            raise ValueError(
                f'ChannelLastPooling expected maps (N, H, W, D), but got {tuple(maps.shape)}.'
            )
        return maps.mean((1, 2))
