"""SRN: attention maps of the labels, and convolutions that learn their relations.

Zhu, Li, Ouyang, Yu, Wang, "Learning Spatial Regularization with Image-level Supervisions for
Multi-label Image Classification", CVPR 2017. Sizes are recalled from the paper and agree with most
ports.

N images, C labels, D channels, S x S places of the map of stage 3.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from ...utils.checks import check_choice, check_positive
from ..losses.label_loss import label_loss
from .base import LabelDecoder
from .lstm import BiasedBatchNorm1d

TRAIN = ('all', 'attention', 'regularization')


class SRN(LabelDecoder):
    """Spatial regularisation beside the CNN's own classifier.

    Each label has an attention over the places of an earlier stage, which sums to 1, and a
    confidence at each place. Convolutions over the attention of all labels, weighted by the
    confidence, learn their relative positions. Their output is averaged with the CNN's logits.

    Args:
        num_classes: Number of labels C.
        stage_channels: Channels of the backbone's stages; the first is the attended one (stage 3 of
            a ResNet: ``out_indices=(2, 3)``).
        map_size: S. The last convolution covers the whole map, so S is part of the network; a map
            of another size is pooled or enlarged to it. Defaults to 14, from 224 px at stride 16.
        embed_dims: Channels of the convolutions. Defaults to 512.
        num_filters: Filters of the last convolution for each of its channels. Defaults to 4.
        train: What is trained: ``'attention'`` (the paper's second stage), ``'regularization'``
            (the third), or ``'all'`` (the fourth, the default).

    Raises:
        ValueError: If an option is out of its range.
    """

    inputs = ('logits', 'stage_maps')
    display_name = 'SRN'

    def __init__(
        self,
        num_classes: int,
        stage_channels: Sequence[int] = (1024, 2048),
        map_size: int = 14,
        embed_dims: int = 512,
        num_filters: int = 4,
        train: str = 'all',
    ) -> None:
        super().__init__(num_classes)
        check_positive(map_size=map_size, embed_dims=embed_dims, num_filters=num_filters)
        check_choice('train', train, TRAIN)
        self.stage_channels = tuple(stage_channels)
        self.map_size = map_size
        self.learns = train

        in_channels = self.stage_channels[0]
        self.attention = nn.Sequential(
            nn.Conv2d(in_channels, embed_dims, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(embed_dims, embed_dims, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(embed_dims, num_classes, 1),
        )
        self.confidence = nn.Conv2d(in_channels, num_classes, 1)

        self.regularization = nn.Sequential(
            *_conv(num_classes, embed_dims, 1),
            *_conv(embed_dims, embed_dims, 1),
            # Every channel has its own filters over the whole map.
            nn.Conv2d(embed_dims, num_filters * embed_dims, map_size, groups=embed_dims),
            _PlacelessBatchNorm(num_filters * embed_dims),
            nn.ReLU(inplace=True),
            nn.Flatten(),
            nn.Linear(num_filters * embed_dims, num_classes),
        )
        self._freeze()

    def attend(self, feature_map: Tensor) -> tuple[Tensor, Tensor]:
        """Compute attention and confidence.

        Args:
            feature_map: The map of the attended stage, (N, D, S, S).

        Returns:
            Attention (N, C, S, S), which sums to 1 for each label, and confidence (N, C, S, S).
        """
        self.check_feature_map(feature_map, self.stage_channels[0])
        raw = self.attention(feature_map)
        attention = raw.flatten(2).softmax(dim=2).view_as(raw)
        return attention, self.confidence(feature_map)

    def logits(self, logits: Tensor, stage_maps: tuple[Tensor, ...]) -> Tensor:
        """Map the CNN's logits (N, C) and the stages' maps to logits (N, C)."""
        return self._both(logits, stage_maps)[0]

    def loss(
        self, logits: Tensor, stage_maps: tuple[Tensor, ...], target: Tensor
    ) -> dict[str, Tensor]:
        """Compute ``loss_attention`` of the attended confidence and ``loss_srn`` of the logits."""
        self.check_target(target, len(logits))
        answer, attended = self._both(logits, stage_maps)
        losses = {}
        if self.learns != 'regularization':
            losses['loss_attention'] = _bce(attended, target)
        if self.learns != 'attention':
            losses['loss_srn'] = _bce(answer, target)
        return losses

    def predict(self, logits: Tensor, stage_maps: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Predict ``pred_score`` (N, C), 0-1."""
        return dict(pred_score=self.logits(logits, stage_maps).sigmoid())

    def _both(self, logits: Tensor, stage_maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Compute logits (N, C), and the attended confidence (N, C) that trains the attention."""
        attention, confidence = self.attend(stage_maps[0])
        attended = (attention * confidence).sum(dim=(2, 3))

        weighted = attention * confidence.sigmoid()
        if weighted.shape[2:] != (self.map_size, self.map_size):
            weighted = F.adaptive_avg_pool2d(weighted, self.map_size)
        return 0.5 * logits + 0.5 * self.regularization(weighted), attended

    def _freeze(self) -> None:
        """Freeze everything but the requested part."""
        if self.learns == 'attention':
            self.regularization.requires_grad_(False)
        if self.learns == 'regularization':
            self.attention.requires_grad_(False)
            self.confidence.requires_grad_(False)


class _PlacelessBatchNorm(BiasedBatchNorm1d):
    """Batch normalisation of a map with one place, (N, D, 1, 1), even for a single image."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(1))[..., None, None]


def _conv(
    in_channels: int,
    out_channels: int,
    size: int,
) -> list[nn.Module]:
    return [
        nn.Conv2d(in_channels, out_channels, size),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    ]


def _bce(logits: Tensor, target: Tensor) -> Tensor:
    return label_loss(nn.BCEWithLogitsLoss(), logits, target)
