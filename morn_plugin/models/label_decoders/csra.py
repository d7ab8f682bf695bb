"""CSRA: each label averages its class map, and adds its best places.

Zhu, Wu, "Residual Attention: A Simple but Effective Method for Multi-Label Recognition", ICCV 2021.
The computation equals MMPretrain's; as a decoder it also runs on cached maps.

N images, D features, C labels.
"""

from torch import Tensor, nn

from ...utils.checks import check_choice, check_positive
from .logit_decoder import LogitDecoder

NUM_HEADS = (1, 2, 4, 6, 8)


class CSRA(LogitDecoder):
    """Class-specific residual attention.

    Args:
        num_classes: Number of labels C.
        in_channels: Width of the map D.
        num_heads: Attention heads, each with its own temperature: 1, 2, 4, 6 or 8.
        lam: Weight of the attended score relative to the average, positive.
        loss: See :class:`LogitDecoder`.

    Raises:
        ValueError: If an option is out of its range.
    """

    inputs = ('feature_map',)
    display_name = 'CSRA'

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        num_heads: int = 1,
        lam: float = 0.1,
        loss: nn.Module | None = None,
    ) -> None:
        from mmpretrain.models import CSRAClsHead

        super().__init__(num_classes, loss)
        check_positive(in_channels=in_channels)
        check_choice('num_heads', num_heads, NUM_HEADS)
        if not lam > 0:
            raise ValueError(f'Expected `lam` to be a positive number, but got {lam}.')
        self.in_channels = in_channels
        self.head = CSRAClsHead(num_classes, in_channels, num_heads, lam)

    def logits(self, feature_map: Tensor) -> Tensor:
        """Map a feature map (N, D, H, W) to logits (N, C)."""
        self.check_feature_map(feature_map, self.in_channels)
        return self.head((feature_map,))
