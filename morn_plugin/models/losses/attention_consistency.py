"""Attention maps that follow the image when it is mirrored or scaled.

Guo, Zheng, Fan, Yu, Wang, "Visual Attention Consistency under Image Transforms for Multi-Label
Image Classification", CVPR 2019. The attention of a label is its class activation map. The model
stays unchanged; the loss is added in training.

N images, D channels of features, C labels, maps of S x S places.
"""

import math

import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS
from torch import Tensor, nn


def class_activation_maps(feature_map: Tensor, weight: Tensor) -> Tensor:
    """Weight the channels of a feature map by a classifier's weights.

    The weights get no gradient, so a loss of the maps trains only the features.

    Args:
        feature_map: (N, D, S, S).
        weight: (C, D), of the linear classifier behind the pooling.

    Returns:
        (N, C, S, S).
    """
    return F.conv2d(feature_map, weight.detach()[:, :, None, None])


def flip_consistency(maps: Tensor, mirrored: Tensor) -> Tensor:
    """Compare maps with those of the mirrored images, by the mean squared difference.

    Args:
        maps: (N, C, S, S).
        mirrored: (N, C, S, S), of the same images, mirrored left to right.

    Returns:
        Scalar.

    Raises:
        ValueError: If the shapes differ.

    Examples:
        >>> maps = torch.tensor([[[[1.0, 2.0]]]])
        >>> flip_consistency(maps, maps.flip(-1)), flip_consistency(maps, maps)
        (tensor(0.), tensor(1.))
    """
    if maps.shape != mirrored.shape:
        raise ValueError(
            f'Expected maps of one shape, but got {tuple(maps.shape)} and, of the mirrored images, '
            f'{tuple(mirrored.shape)}.'
        )
    return F.mse_loss(maps, mirrored.flip(-1))


def scale_consistency(maps: Tensor, other: Tensor) -> Tensor:
    """Compute the mean squared difference of maps of two sizes.

    Both are compared as if enlarged to a common multiple of their sizes, each place becoming a
    block. No tensor of that size is created: the blocks overlap in at most H + H' - 1 stretches per
    side, and each stretch is weighted by its length.

    Args:
        maps: (N, C, H, W).
        other: (N, C, H', W'), of the same images at another size.

    Returns:
        Scalar.

    Raises:
        ValueError: If the maps are not of the same images and labels.

    Examples:
        >>> maps, other = torch.tensor([[[[1.0, 2.0]]]]), torch.tensor([[[[1.0, 1.0, 2.0]]]])
        >>> scale_consistency(maps, other)  # one of six columns differs, by 1
        tensor(0.1667)
    """
    if maps.dim() != 4 or maps.shape[:2] != other.shape[:2]:
        raise ValueError(
            'Expected maps (N, C, H, W) of the same images and labels, but got '
            f'{tuple(maps.shape)} and {tuple(other.shape)}.'
        )

    rows, other_rows, heights = _overlaps(maps.shape[2], other.shape[2], maps.device)
    columns, other_columns, widths = _overlaps(maps.shape[3], other.shape[3], maps.device)

    blocks = maps[:, :, rows][..., columns]
    other_blocks = other[:, :, other_rows][..., other_columns]
    difference = blocks - other_blocks

    shares = heights[:, None] * widths  # sums to 1
    weighted = difference.square() * shares.to(difference.dtype)
    return weighted.sum(dim=(2, 3)).mean()


def _overlaps(
    size: int,
    other: int,
    device: torch.device,
) -> tuple[Tensor, Tensor, Tensor]:
    """Cut a side into stretches, each inside one place of both divisions.

    Returns:
        For each stretch its place in the first division, its place in the second, and its share of
        the side.
    """
    length = math.lcm(size, other)
    step = length // size
    other_step = length // other

    edges = [torch.arange(0, length, step), torch.arange(0, length, other_step)]
    starts = torch.cat(edges).unique()
    ends = torch.cat([starts[1:], torch.tensor([length])])
    shares = (ends - starts).double() / length

    places = starts // step
    other_places = starts // other_step
    return places.to(device), other_places.to(device), shares.to(device)


@MODELS.register_module()
class AttentionConsistencyLoss(nn.Module):
    """Consistency of class activation maps over the views of an image.

    Args:
        flip_weight: Factor of :func:`flip_consistency`, of each size. Defaults to 0.6.
        scale_weight: Factor of :func:`scale_consistency`. Defaults to 0.8.

    Raises:
        ValueError: If a factor is negative.
    """

    def __init__(self, flip_weight: float = 0.6, scale_weight: float = 0.8) -> None:
        super().__init__()
        if min(flip_weight, scale_weight) < 0:
            raise ValueError(
                'Expected factors of 0 or more, but got flip_weight='
                f'{flip_weight!r}, scale_weight={scale_weight!r}.'
            )
        self.flip_weight = flip_weight
        self.scale_weight = scale_weight

    def forward(
        self,
        large: Tensor,
        large_mirrored: Tensor,
        small: Tensor | None = None,
        small_mirrored: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Compute the losses of two sizes, or of one.

        Args:
            large: Class activation maps (N, C, S, S) of the images.
            large_mirrored: (N, C, S, S), of the mirrored images.
            small: (N, C, S', S'), of the images at the smaller size. Defaults to None, one size.
            small_mirrored: (N, C, S', S').

        Returns:
            ``loss_flip``, summed over the sizes, and with two of them ``loss_scale``; weighted
            scalars.

        Raises:
            ValueError: If shapes do not fit, or a small view is missing.
        """
        loss_flip = flip_consistency(large, large_mirrored)
        if small is None and small_mirrored is None:
            return dict(loss_flip=self.flip_weight * loss_flip)
        if small is None or small_mirrored is None:
            raise ValueError('Expected the small view plain and mirrored, but got one of the two.')

        loss_flip = loss_flip + flip_consistency(small, small_mirrored)
        plain = scale_consistency(large, small)
        mirrored = scale_consistency(large_mirrored, small_mirrored)
        loss_scale = (plain + mirrored) / 2
        return dict(
            loss_flip=self.flip_weight * loss_flip, loss_scale=self.scale_weight * loss_scale
        )
