"""Sigmoid cross-entropy that weights the rarer value of each label more.

From Guo, Zheng, Fan, Yu, Wang, "Visual Attention Consistency under Image Transforms for Multi-Label
Image Classification", CVPR 2019: if a share r of the training images has a label, its weight is
exp(1 - r) where true and exp(r) where false.

N images, C labels.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from ...utils.checks import check_positive


def frequency_weighted_bce(logits: Tensor, target: Tensor, positive_ratio: Tensor) -> Tensor:
    """Compute the weighted cross-entropy of each label.

    Args:
        logits: (N, C).
        target: (N, C), 0-1.
        positive_ratio: (C,), the share of training images that have the label, 0-1.

    Returns:
        (N, C).

    Examples:
        >>> ratio = torch.tensor([0.25, 0.25])
        >>> loss = frequency_weighted_bce(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]), ratio)
        >>> loss / torch.tensor(2.0).log()  # exp(0.75) and exp(0.25)
        tensor([[2.1170, 1.2840]])
    """
    if_true = target * (1 - positive_ratio).exp() * F.softplus(-logits)
    if_false = (1 - target) * positive_ratio.exp() * F.softplus(logits)
    return if_true + if_false


@MODELS.register_module()
class FrequencyWeightedBCELoss(nn.Module):
    """Registered form of :func:`frequency_weighted_bce`.

    It returns one value per entry; :func:`~morn_plugin.models.losses.label_loss` leaves out ignored
    labels, sums over labels and averages over images.

    Args:
        num_classes: Number of labels C.
        positive_ratio: C shares 0-1. Defaults to None: :meth:`prepare` counts them, and checkpoints
            store them.
        loss_weight: Factor of the result. Defaults to 1.

    Raises:
        ValueError: If ``positive_ratio`` is not C numbers between 0 and 1.
    """

    positive_ratio: Tensor

    def __init__(
        self,
        num_classes: int,
        positive_ratio: Sequence[float] | None = None,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        check_positive(num_classes=num_classes)
        self.num_classes = num_classes
        self.loss_weight = loss_weight
        self.register_buffer('positive_ratio', torch.full((num_classes,), float('nan')))
        self._is_prepared = False
        if positive_ratio is not None:
            self._set_ratio(np.asarray(positive_ratio, dtype=np.float64))

    def prepare(self, class_names: Sequence[str], targets: np.ndarray) -> None:
        """Count how often each label is true.

        Args:
            class_names: Names of the C labels.
            targets: True labels of the training set (N, C), int8 in {0, 1, -1}. As in the authors'
                code, the share is relative to all N images, including those without labels.

        Raises:
            ValueError: If there is no image, or there are not C labels.
        """
        if targets.ndim != 2 or targets.shape[1] != self.num_classes or not len(targets):
            raise ValueError(
                f'Expected training labels of shape (N, {self.num_classes}), N at least 1, for '
                f'{len(class_names)} classes, but got {targets.shape}: write num_classes='
                f'{len(class_names)} in the config.'
            )
        self._set_ratio((targets == 1).mean(axis=0))

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Map logits (N, C) and target (N, C), 0-1, to values (N, C).

        Raises:
            RuntimeError: If the shares are not known yet.
        """
        if not self._is_prepared:
            raise RuntimeError(
                f'{type(self).__name__} does not know how frequent the labels are: give '
                '`positive_ratio`, call `prepare` with the training annotations, or load a '
                'checkpoint.'
            )
        ratio = self.positive_ratio.to(logits.dtype)
        return self.loss_weight * frequency_weighted_bce(logits, target, ratio)

    def _set_ratio(self, ratio: np.ndarray) -> None:
        in_range = (ratio >= 0) & (ratio <= 1)
        if ratio.shape != (self.num_classes,) or not in_range.all():
            raise ValueError(
                f'Expected `positive_ratio` to be {self.num_classes} numbers between 0 and 1, but '
                f'got {ratio.tolist()}.'
            )
        self.positive_ratio.copy_(torch.from_numpy(ratio))
        self._is_prepared = True

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._is_prepared = bool(self.positive_ratio.isfinite().all())
