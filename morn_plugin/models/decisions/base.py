"""Base class of all decision rules, independent of MMPretrain.

A decision rule chooses the labels of an image from their scores, for any method. Its state
(thresholds, weights, a fitted map) is in parameters and buffers, so it is saved with the model.

N images, C labels, D features.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ...utils.checks import check_positive


class DecisionRule(nn.Module, ABC):
    """Maps the scores of a method to the predicted labels.

    Args:
        num_classes: Number of labels C, set by the head.
    """

    #: Further inputs of a rule, by the names of ``LabelDecoder.inputs``.
    inputs: tuple[str, ...] = ()

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        check_positive(num_classes=num_classes)
        self.num_classes = num_classes

    @abstractmethod
    def decide(self, scores: Tensor, **inputs: Any) -> Tensor:
        """Mark the predicted labels.

        Args:
            scores: (N, C), 0-1: probabilities, or ranks if the method has no probability.
            **inputs: The inputs that the class declares.

        Returns:
            Boolean (N, C).
        """

    def loss(
        self,
        scores: Tensor,
        target: Tensor,
        **inputs: Any,
    ) -> dict[str, Tensor]:
        """Compute the losses of the rule; none unless a subclass defines some.

        Args:
            scores: (N, C), without gradient.
            target: (N, C); 1 true, 0 false, -1 ignored.
            **inputs: The inputs that the class declares.

        Returns:
            Scalars, with names that start with ``loss_``.
        """
        return {}

    @property
    def learns(self) -> bool:
        """Whether :meth:`loss` returns losses; otherwise no scores are computed for it."""
        return any(parameter.requires_grad for parameter in self.parameters())

    @property
    def gives_probability(self) -> bool:
        """Whether :meth:`map_scores` turns the method's scores into probabilities."""
        return False

    def map_scores(self, scores: Tensor) -> Tensor:
        """Return the scores (N, C) to show and measure; a rule may rescale them."""
        return scores

    def as_plain(self) -> dict[str, Any] | None:
        """Return the rule as ``thr`` or ``topk`` of the shown scores.

        Exported models and averaged scores use these.

        Returns:
            Arguments of :func:`select_labels`, or None for a rule that depends on the image.
        """
        return None

    def forward(self, scores: Tensor, inputs: Mapping[str, Any]) -> Tensor:
        """Mark the predicted labels, from scores (N, C) and a dict of inputs."""
        return self.decide(scores, **{name: inputs[name] for name in self.inputs})

    def check_scores(self, scores: Tensor) -> None:
        """Raise if ``scores`` is not (N, C). Checks only the shape.

        Raises:
            ValueError: Names both shapes.
        """
        if scores.dim() != 2 or scores.shape[1] != self.num_classes:
            raise ValueError(
                f'{type(self).__name__} expected scores of shape (N, {self.num_classes}), one for '
                f'each of its classes, but got {tuple(scores.shape)}.'
            )
