"""A CNN that trains on four views of every image: large and small, plain and mirrored.

Guo, Zheng, Fan, Yu, Wang, "Visual Attention Consistency under Image Transforms for Multi-Label
Image Classification", CVPR 2019 (ACfs).

N images, C labels, maps of S x S places.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor

from ..losses.attention_consistency import class_activation_maps
from .multi_label_classifier import MultiLabelClassifier


@MODELS.register_module()
class FourViewClassifier(MultiLabelClassifier):
    """A :class:`MultiLabelClassifier` trained on four views of the batch.

    The views are computed here from the batch, so no data pipeline changes. Prediction uses one
    view, as usual, and the weights have the same names as without views.

    Args:
        *args: Those of ``MultiLabelClassifier``. The head must have the CNN's own classifier.
        small_scale: Side of the small views, as a share of the large ones' side. Defaults to 8/9,
            the paper's 256 of 288 px. None: only large views.
        consistency: Config of :class:`AttentionConsistencyLoss`. None: only the head's losses of
            the same views, as a control.
        **kwargs: Those of ``MultiLabelClassifier``.

    Raises:
        ValueError: If ``small_scale`` is out of its range, or the head has no classifier.
    """

    looks_at_maps = True

    def __init__(
        self,
        *args: Any,
        small_scale: float | None = 8 / 9,
        consistency: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if small_scale is not None and not 0 < small_scale < 1:
            raise ValueError(
                f'Expected `small_scale` to be between 0 and 1, or None, but got {small_scale!r}.'
            )
        if getattr(self.head, 'fc', None) is None:
            raise ValueError(
                'FourViewClassifier expected a LabelDecoderHead with a classifier, whose '
                f'activation maps it compares, but got {type(self.head).__name__}.'
            )

        self.small_scale = small_scale
        self.consistency = None if consistency is None else MODELS.build(consistency)

    def loss(self, inputs: Tensor, data_samples: Sequence[DataSample]) -> dict[str, Tensor]:
        """Compute the head's losses, averaged over the views, and the consistency losses.

        Args:
            inputs: Images (N, 3, H, W), preprocessed.
            data_samples: N samples with the true labels.

        Returns:
            Scalars to be summed.
        """
        sizes = [inputs] if self.small_scale is None else [inputs, self._shrink(inputs)]
        samples = [*data_samples, *data_samples]

        losses: list[dict[str, Tensor]] = []
        maps: list[Tensor] = []  # for each size plain, then mirrored
        for images in sizes:
            feats = self.extract_feat(torch.cat([images, images.flip(-1)]))
            losses.append(self.head.loss(feats, samples))
            if self.consistency is not None:
                heat = class_activation_maps(feats[-1], self.head.fc.weight)  # (2N, C, S, S)
                maps += heat.split(len(inputs))

        averaged: dict[str, Tensor] = {}
        for name in losses[0]:
            values = torch.stack([found[name] for found in losses])
            averaged[name] = values.mean()

        if self.consistency is not None:
            averaged |= self.consistency(*maps)
        return averaged

    def _shrink(self, inputs: Tensor) -> Tensor:
        """Resize images (N, 3, H, W) to the small views' size."""
        assert self.small_scale is not None
        size = [max(1, round(self.small_scale * side)) for side in inputs.shape[2:]]
        return F.interpolate(inputs, size, mode='bilinear', antialias=True, align_corners=False)
