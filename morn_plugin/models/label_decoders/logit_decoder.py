"""Base class of decoders that score each label by one logit, trained with a loss of the labels.

N images, C labels.
"""

from abc import abstractmethod
from typing import Any

from torch import Tensor, nn

from ..losses.label_loss import label_loss
from .base import LabelDecoder


class LogitDecoder(LabelDecoder):
    """A decoder whose scores are the sigmoid of its logits.

    The loss decides whether a score is a probability: a ranking loss has ``has_probability =
    False``.

    Args:
        num_classes: Number of labels C.
        loss: A loss accepted by :func:`~morn_plugin.models.losses.label_loss`; heads build it from
            a config. Defaults to None, sigmoid cross-entropy.
    """

    def __init__(self, num_classes: int, loss: nn.Module | None = None) -> None:
        super().__init__(num_classes)
        self.label_loss = nn.BCEWithLogitsLoss() if loss is None else loss
        self.has_probability = getattr(loss, 'has_probability', True)

    @abstractmethod
    def logits(self, *args: Any, **inputs: Any) -> Tensor:
        """Compute logits (N, C) from the ``inputs``."""

    def loss(self, *args: Any, **inputs: Any) -> dict[str, Tensor]:
        """Compute ``loss_labels`` of the inputs and target (N, C) in {0, 1, -1}."""
        named = dict(zip((*self.inputs, 'target'), args, strict=False)) | inputs
        target = named.pop('target')
        logits = self.logits(**named)
        self.check_target(target, len(logits))
        return dict(loss_labels=label_loss(self.label_loss, logits, target))

    def predict(self, *args: Any, **inputs: Any) -> dict[str, Tensor]:
        """Predict ``pred_score`` (N, C), 0-1."""
        return dict(pred_score=self.logits(*args, **inputs).sigmoid())
