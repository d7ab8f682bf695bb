"""A linear classifier on the CNN's features, learnt by any multi-label loss.

The CNN's own classifier, apart from the CNN: what a loss brings can be tried on cached features in
seconds. With batch normalisation before it, it is the form in which the Multi-order RNN's first
author ran WARP and LSEP.

N images, D features, C labels.
"""

from typing import Any

from torch import Tensor, nn

from ...utils.checks import check_positive
from ..losses.label_loss import label_loss
from .base import LabelDecoder
from .lstm import BiasedBatchNorm1d


class LinearClassifier(LabelDecoder):
    """Scores are the sigmoid of a linear layer on the features.

    Whether a score is a probability (``has_probability``) is for the loss to say: one that only
    ranks labels has ``has_probability = False``.

    Args:
        num_classes: Number of labels C.
        in_channels: Width of the features D.
        loss: A loss as :func:`~morn_plugin.models.losses.label_loss` takes it; heads build it from
            a config. Defaults to None, sigmoid cross-entropy.
        feature_norm: Arguments of :class:`BiasedBatchNorm1d` that the features pass first, or None
            (default).
    """

    inputs = ('features',)

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        loss: nn.Module | None = None,
        feature_norm: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(num_classes)
        check_positive(in_channels=in_channels)
        self.in_channels = in_channels
        self.norm = (
            nn.Identity()
            if feature_norm is None
            else BiasedBatchNorm1d(in_channels, **feature_norm)
        )
        self.fc = nn.Linear(in_channels, num_classes)
        self.label_loss = nn.BCEWithLogitsLoss() if loss is None else loss
        self.has_probability = getattr(loss, 'has_probability', True)

    def logits(self, features: Tensor) -> Tensor:
        """Map features (N, D) to logits (N, C)."""
        self.check_features(features, self.in_channels)
        return self.fc(self.norm(features))

    def loss(self, features: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Compute ``loss_labels`` of features (N, D) and target (N, C) in {0, 1, -1}."""
        self.check_target(target, len(features))
        return dict(loss_labels=label_loss(self.label_loss, self.logits(features), target))

    def predict(self, features: Tensor) -> dict[str, Tensor]:
        """Predict ``pred_score`` (N, C), 0-1, from features (N, D)."""
        return dict(pred_score=self.logits(features).sigmoid())
