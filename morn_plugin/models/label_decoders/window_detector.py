"""A detector on windows of the map that learns from image labels only.

Bilen, Vedaldi, "Weakly Supervised Deep Detection Networks" (WSDDN), CVPR 2016, with all windows of
a few sizes instead of object proposals.

N images, C labels, D channels of the map, W windows, E width of a window's feature.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...utils.checks import check_positive
from ..losses.label_loss import label_loss
from .base import LabelDecoder


def window_features(feature_map: Tensor, sizes: Sequence[int]) -> Tensor:
    """Average a map over all windows of some sizes.

    Args:
        feature_map: (N, D, H, W).
        sizes: Places per side; a size larger than the map counts as the largest that fits.

    Returns:
        (N, number of windows, D), size after size, row after row.

    Examples:
        >>> feature_map = torch.arange(4.0).view(1, 1, 2, 2)
        >>> window_features(feature_map, (1, 2, 5)).flatten()
        tensor([0.0000, 1.0000, 2.0000, 3.0000, 1.5000])
    """
    largest = min(feature_map.shape[2:])
    fitting = sorted({min(size, largest) for size in sizes})
    pooled = [F.avg_pool2d(feature_map, size, stride=1).flatten(2) for size in fitting]
    return torch.cat(pooled, dim=2).transpose(1, 2)


class WindowDetector(LabelDecoder):
    """Scores windows by a softmax over labels and a softmax over windows.

    The score of a label is the product of both, summed over windows, 0-1.

    Args:
        num_classes: Number of labels C.
        in_channels: Width of the map D.
        window_sizes: Places per side of the windows. Defaults to 1, 2 and 3.
        embed_dims: Width of a window's feature E. Defaults to 512.

    Raises:
        ValueError: If a size is not positive, or no size is given.
    """

    inputs = ('feature_map',)
    display_name = 'Window detector'

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        window_sizes: Sequence[int] = (1, 2, 3),
        embed_dims: int = 512,
    ) -> None:
        super().__init__(num_classes)
        check_positive(in_channels=in_channels, embed_dims=embed_dims)
        if not window_sizes:
            raise ValueError('Expected a size or more in `window_sizes`, but got none.')

        for size in window_sizes:
            check_positive(window_sizes=size)

        self.in_channels = in_channels
        self.window_sizes = tuple(window_sizes)
        self.embed = nn.Sequential(nn.Linear(in_channels, embed_dims), nn.ReLU(inplace=True))
        self.classify = nn.Linear(embed_dims, num_classes)
        self.detect = nn.Linear(embed_dims, num_classes)

    def detections(self, feature_map: Tensor) -> Tensor:
        """Score every window for every label: (N, W, C), whose sum over windows is 0-1."""
        self.check_feature_map(feature_map, self.in_channels)
        windows = self.embed(window_features(feature_map, self.window_sizes))
        is_label = self.classify(windows).float().softmax(dim=2)
        is_there = self.detect(windows).float().softmax(dim=1)
        return is_label * is_there

    def logits(self, feature_map: Tensor) -> Tensor:
        """Map a feature map (N, D, H, W) to logits (N, C), of the sums over windows."""
        return self.detections(feature_map).sum(dim=1).logit(eps=1e-6)

    def loss(self, *, feature_map: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Compute ``loss_detector``, the cross-entropy of the sums over windows."""
        logits = self.logits(feature_map)
        self.check_target(target, len(logits))
        return dict(loss_detector=label_loss(nn.BCEWithLogitsLoss(), logits, target))

    def predict(self, feature_map: Tensor) -> dict[str, Tensor]:
        """Predict ``pred_score`` (N, C), 0-1."""
        return dict(pred_score=self.logits(feature_map).sigmoid())
