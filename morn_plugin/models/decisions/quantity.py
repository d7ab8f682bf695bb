"""Predicts the number of labels of an image from its features, and that many best labels.

The number is learnt in one of two ways: by regression, the label quantity prediction of Niu, Lu,
Wen, Xiang, Chang, "Multi-Modal Multi-Scale Deep Learning for Large-Scale Image Annotation", TIP
2019; or as one of a few classes, a label decision of Li, Song, Luo, "Improving Pairwise Ranking for
Multi-label Image Classification", CVPR 2017.

N images, C labels, D features.
"""

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from ...utils.checks import check_positive
from .base import DecisionRule
from .fixed import best_labels


def mlp(
    in_channels: int,
    hidden_dims: Sequence[int],
    out_channels: int,
) -> nn.Sequential:
    """Return linear layers with ReLU between them."""
    check_positive(in_channels=in_channels, out_channels=out_channels)
    layers: list[nn.Module] = []
    for width in hidden_dims:
        check_positive(hidden_dims=width)
        layers += [nn.Linear(in_channels, width), nn.ReLU()]
        in_channels = width
    return nn.Sequential(*layers, nn.Linear(in_channels, out_channels))


def known_images(target: Tensor) -> Tensor:
    """Mark the images (N,) with at least one known label: not all of (N, C) are -1."""
    return (target >= 0).any(dim=1)


class LabelQuantity(DecisionRule):
    """Predicts the best k labels, where k is the rounded output of a regression.

    Args:
        num_classes: Number of labels C.
        in_channels: Width of the features D.
        hidden_dims: Widths of the hidden layers, with ReLU after each. Defaults to 512 and 256.
    """

    inputs = ('features',)

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        hidden_dims: Sequence[int] = (512, 256),
    ) -> None:
        super().__init__(num_classes)
        self.regressor = mlp(in_channels, hidden_dims, 1)

    def quantity(self, features: Tensor) -> Tensor:
        """Return the number of labels (N,), not rounded, of features (N, D)."""
        return self.regressor(features)[:, 0]

    def decide(self, scores: Tensor, **inputs: Any) -> Tensor:
        """Mark the best labels of each image; halves are rounded up, and zero is possible."""
        self.check_scores(scores)
        numbers = (self.quantity(inputs['features']) + 0.5).floor()
        return best_labels(scores, numbers)

    def loss(
        self,
        scores: Tensor,
        target: Tensor,
        **inputs: Any,
    ) -> dict[str, Tensor]:
        """Compute ``loss_quantity``: the mean squared error of the number of true labels.

        An image counts if at least one of its labels is known. Ignored labels (-1) do not count as
        true.
        """
        known = known_images(target)
        numbers = (target == 1).sum(dim=1)
        errors = (self.quantity(inputs['features']) - numbers).square() * known
        return dict(loss_quantity=errors.sum() / known.sum().clamp(min=1))


class LabelCount(DecisionRule):
    """Predicts the best k labels, where k is the most probable number from 1 to ``most``.

    Args:
        num_classes: Number of labels C.
        in_channels: Width of the features D.
        most: Highest number; images with more labels are treated as having this many. Defaults to
            4.
        hidden_dims: Widths of the hidden layers, with ReLU after each. Defaults to 100 and 10.

    Raises:
        ValueError: If ``most`` is more than C.
    """

    inputs = ('features',)

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        most: int = 4,
        hidden_dims: Sequence[int] = (100, 10),
    ) -> None:
        super().__init__(num_classes)
        check_positive(most=most)
        if most > num_classes:
            raise ValueError(
                f'Expected `most` to be at most num_classes={num_classes}, but got {most}.'
            )
        self.most = most
        self.classifier = mlp(in_channels, hidden_dims, most)

    def decide(self, scores: Tensor, **inputs: Any) -> Tensor:
        """Mark the best labels of each image, at least one."""
        self.check_scores(scores)
        numbers = self.classifier(inputs['features']).argmax(dim=1) + 1
        return best_labels(scores, numbers)

    def loss(
        self,
        scores: Tensor,
        target: Tensor,
        **inputs: Any,
    ) -> dict[str, Tensor]:
        """Compute ``loss_count``: softmax cross-entropy of the number of true labels.

        It is averaged over the images with a true label; there is no class for zero labels.
        """
        numbers = (target == 1).sum(dim=1).clamp(max=self.most)
        counts = numbers > 0
        logits = self.classifier(inputs['features'])
        losses = F.cross_entropy(logits, (numbers - 1).clamp(min=0), reduction='none') * counts
        return dict(loss_count=losses.sum() / counts.sum().clamp(min=1))
