"""A linear classifier on the CNN's features, trained with any multi-label loss.

This is the CNN's own classifier without the CNN, so you can try a loss on cached features in
seconds. With batch normalisation before it, it equals the model in which the Multi-order RNN's
first author ran WARP and LSEP.

N images, D features, C labels.
"""

from typing import Any

from torch import Tensor, nn

from ...utils.checks import check_positive
from .logit_decoder import LogitDecoder
from .lstm import BiasedBatchNorm1d


class LinearClassifier(LogitDecoder):
    """Scores are the sigmoid of a linear layer on the features.

    Args:
        num_classes: Number of labels C.
        in_channels: Width of the features D.
        loss: A loss accepted by :func:`~morn_plugin.models.losses.label_loss`; heads build it from
            a config. Defaults to None, sigmoid cross-entropy.
        feature_norm: Arguments of :class:`BiasedBatchNorm1d` applied to the features first, or None
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
        super().__init__(num_classes, loss)
        check_positive(in_channels=in_channels)
        self.in_channels = in_channels
        self.norm = (
            nn.Identity()
            if feature_norm is None
            else BiasedBatchNorm1d(in_channels, **feature_norm)
        )
        self.fc = nn.Linear(in_channels, num_classes)

    def logits(self, features: Tensor) -> Tensor:
        """Map features (N, D) to logits (N, C)."""
        self.check_features(features, self.in_channels)
        return self.fc(self.norm(features))
