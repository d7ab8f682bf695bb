"""The base of all decision rules, independent of MMPretrain.

A decision rule chooses the labels of an image from their scores, for any method. Its state
(thresholds, weights, a fitted map) is in parameters and buffers, and so is saved with the model.

N images, C labels, D features.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ...utils.checks import check_positive


class DecisionRule(nn.Module, ABC):
    """Maps the scores of a method to the labels that are predicted.

    Args:
        num_classes: Number of labels C; the head gives it.
    """

    #: What else a rule sees of an image, by the names of ``LabelDecoder.inputs``.
    inputs: tuple[str, ...] = ()

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        check_positive(num_classes=num_classes)
        self.num_classes = num_classes

    @abstractmethod
    def decide(self, scores: Tensor, **inputs: Any) -> Tensor:
        """Mark the labels that are predicted.

        Args:
            scores: (N, C), 0-1: probabilities, or ranks where the method has no probability.
            **inputs: What the class's ``inputs`` names.

        Returns:
            Boolean (N, C).
        """

    def loss(self, scores: Tensor, target: Tensor, **inputs: Any) -> dict[str, Tensor]:
        """Compute the losses that the rule learns from; none unless a subclass has some.

        Args:
            scores: (N, C), of which no gradient is wanted.
            target: (N, C); 1 true, 0 false, -1 ignored.
            **inputs: What the class's ``inputs`` names.

        Returns:
            Scalars by names that start with ``loss_``.
        """
        return {}

    @property
    def learns(self) -> bool:
        """Whether :meth:`loss` has anything to teach; otherwise no scores are made for it."""
        return any(parameter.requires_grad for parameter in self.parameters())

    @property
    def gives_probability(self) -> bool:
        """Whether :meth:`map_scores` makes probabilities of whatever scores the method has."""
        return False

    def map_scores(self, scores: Tensor) -> Tensor:
        """Return the scores (N, C) that are shown and measured; a rule may rescale them."""
        return scores

    def as_plain(self) -> dict[str, Any] | None:
        """Return the rule as ``thr`` or ``topk`` of the scores that are shown.

        Exported models and averaged scores are decided by these.

        Returns:
            Arguments of :func:`select_labels`, or None for a rule that looks at the image.
        """
        return None

    def forward(self, scores: Tensor, inputs: Mapping[str, Any]) -> Tensor:
        """Mark the labels that are predicted, from scores (N, C) and a dict of inputs."""
        return self.decide(scores, **{name: inputs[name] for name in self.inputs})

    def check_scores(self, scores: Tensor) -> None:
        """Raise if ``scores`` is not (N, C); checks the shape alone.

        Raises:
            ValueError: Says both shapes.
        """
        if scores.dim() != 2 or scores.shape[1] != self.num_classes:
            raise ValueError(
                f'{type(self).__name__} expected scores of shape (N, {self.num_classes}), one for '
                f'each of its classes, but got {tuple(scores.shape)}.'
            )
