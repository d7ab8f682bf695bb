"""ML-Decoder: fixed queries attend to the map, and each scores a group of labels.

Ridnik, Sharir, Ben-Cohen, Ben-Baruch, Noy, "ML-Decoder: Scalable and Versatile Classification
Head", WACV 2023. The network is timm's.

N images, D features, C labels.
"""

from torch import Tensor, nn

from ...utils.checks import check_positive
from ...utils.extras import require_extra
from .logit_decoder import LogitDecoder


class MLDecoder(LogitDecoder):
    """One cross-attention from queries to places, then one linear layer per group of labels.

    Args:
        num_classes: Number of labels C.
        in_channels: Width of the map D.
        num_groups: Number of queries, at most C. Defaults to None: 100, or C if that is smaller.
        embed_dims: Width of queries and keys, a multiple of 8. Defaults to 768.
        loss: See :class:`LogitDecoder`; the paper's is the asymmetric loss.

    Raises:
        ImportError: If timm is not installed; gives the pip command.
        ValueError: If a size is not positive.
    """

    inputs = ('feature_map',)
    display_name = 'ML-Decoder'

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        num_groups: int | None = None,
        embed_dims: int = 768,
        loss: nn.Module | None = None,
    ) -> None:
        super().__init__(num_classes, loss)
        check_positive(in_channels=in_channels, embed_dims=embed_dims)
        if num_groups is not None:
            check_positive(num_groups=num_groups)
        if embed_dims % 8:
            raise ValueError(f'Expected `embed_dims` to be a multiple of 8, but got {embed_dims}.')

        self.in_channels = in_channels
        timm_layers = require_extra('timm.layers.ml_decoder', 'timm')
        groups = -1 if num_groups is None else num_groups
        self.decoder = timm_layers.MLDecoder(num_classes, groups, embed_dims, in_channels)
        # torch's TransformerDecoder passes arguments that timm's layer does not accept. There is
        # only one layer, so it is called directly.
        (self.decoder.decoder,) = self.decoder.decoder.layers

    def logits(self, feature_map: Tensor) -> Tensor:
        """Map a feature map (N, D, H, W) to logits (N, C)."""
        self.check_feature_map(feature_map, self.in_channels)
        return self.decoder(feature_map)
