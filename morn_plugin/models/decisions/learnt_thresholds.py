"""A threshold for each label and image, learnt from the image's features.

This is the threshold decision of Li, Song, Luo, "Improving Pairwise Ranking for Multi-label Image
Classification", CVPR 2017: a network on the CNN's features predicts C thresholds. It learns from
the scores and does not change them.

N images, C labels, D features.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import DecisionRule
from .quantity import mlp


class LearntThresholds(DecisionRule):
    """Predicts labels whose logit is above a threshold computed from the features.

    The logit of a score s is log(s / (1 - s)), the classifier's output if the score is its sigmoid.

    Args:
        num_classes: Number of labels C.
        in_channels: Width of the features D.
        hidden_dims: Widths of the hidden layers, with ReLU after each. Defaults to 100 and 10.
    """

    inputs = ('features',)

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        hidden_dims: Sequence[int] = (100, 10),
    ) -> None:
        super().__init__(num_classes)
        self.network = mlp(in_channels, hidden_dims, num_classes)

    def margins(self, scores: Tensor, features: Tensor) -> Tensor:
        """Return the logits minus their thresholds: (N, C)."""
        self.check_scores(scores)
        eps = torch.finfo(scores.dtype).eps
        return scores.logit(eps=eps) - self.network(features)

    def decide(self, scores: Tensor, **inputs: Any) -> Tensor:
        """Mark the labels above their thresholds: (N, C) to boolean (N, C)."""
        return self.margins(scores, inputs['features']) > 0

    def loss(
        self,
        scores: Tensor,
        target: Tensor,
        **inputs: Any,
    ) -> dict[str, Tensor]:
        """Compute ``loss_thresholds``: sigmoid cross-entropy of the margins.

        It is summed over labels that are not ignored (-1) and averaged over images.
        """
        margins = self.margins(scores.detach(), inputs['features'])
        losses = F.binary_cross_entropy_with_logits(
            margins, target.clamp(min=0).to(margins.dtype), reduction='none'
        )
        return dict(loss_thresholds=torch.where(target >= 0, losses, 0).sum() / len(scores))
