"""Fixed rules: a threshold, or the best few."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...utils.checks import check_positive, check_thr_topk
from .base import DecisionRule


class FixedThreshold(DecisionRule):
    """Predicts labels with a score strictly greater than a threshold.

    Args:
        num_classes: Number of labels C.
        thr: 0-1, one number for all labels or C numbers. Defaults to 0.5.

    Raises:
        ValueError: If ``thr`` is out of its range, or there are neither 1 nor C numbers.
    """

    thr: Tensor

    def __init__(self, num_classes: int, thr: float | Sequence[float] = 0.5) -> None:
        super().__init__(num_classes)
        check_thr_topk(thr, None)
        values = torch.tensor(thr, dtype=torch.float32)
        if values.dim() and len(values) != num_classes:
            raise ValueError(
                f'Expected one threshold, or one for each of {num_classes} labels, but got '
                f'{len(values)}.'
            )

        self.register_buffer('thr', values.expand(num_classes).clone())

    def decide(self, scores: Tensor, **inputs: Any) -> Tensor:
        """Mark the labels above their thresholds: (N, C) to boolean (N, C)."""
        self.check_scores(scores)
        return scores > self.thr.to(scores.dtype)

    def as_plain(self) -> dict[str, Any]:
        """Return the C thresholds."""
        return dict(thr=self.thr.tolist())


class TopLabels(DecisionRule):
    """Predicts the same number of best labels for every image.

    Args:
        num_classes: Number of labels C.
        number: Number of labels, at most C.

    Raises:
        ValueError: If ``number`` is not positive or more than C.
    """

    number: Tensor

    def __init__(self, num_classes: int, number: int) -> None:
        super().__init__(num_classes)
        check_positive(number=number)
        if number > num_classes:
            raise ValueError(
                f'Expected `number` to be at most num_classes={num_classes}, but got {number}.'
            )
        self.register_buffer('number', torch.tensor(number))

    def decide(self, scores: Tensor, **inputs: Any) -> Tensor:
        """Mark the best labels: (N, C) to boolean (N, C)."""
        self.check_scores(scores)
        return best_labels(scores, self.number)

    def as_plain(self) -> dict[str, Any]:
        """Return the number of labels."""
        return dict(topk=int(self.number))


def best_labels(scores: Tensor, numbers: Tensor) -> Tensor:
    """Mark the best labels of each image, with a separate number for each.

    Args:
        scores: (N, C).
        numbers: (N,), or one for all; below 1 marks none, above C all.

    Returns:
        Boolean (N, C). Ties: the lower class index is better.

    Examples:
        >>> scores = torch.tensor([[0.5, 0.6, 0.1], [0.2, 0.2, 0.3]])
        >>> best_labels(scores, torch.tensor([1, 2])).tolist()
        [[False, True, False], [True, False, True]]
    """
    order = scores.sort(dim=1, descending=True, stable=True).indices  # (N, C)
    places = torch.arange(scores.shape[1], device=scores.device)
    among_best = (places < numbers.reshape(-1, 1)).expand(scores.shape)
    return torch.zeros_like(among_best).scatter(1, order, among_best)
