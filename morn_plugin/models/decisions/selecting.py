"""The two plain decisions: labels above a threshold, or the best k."""

from collections.abc import Sequence

import torch
from torch import Tensor


def select_labels(
    scores: Tensor,
    thr: float | Sequence[float] | None = None,
    topk: int | None = None,
) -> Tensor:
    """Mark the predicted labels: score strictly greater than ``thr``, or the ``topk`` best.

    Args:
        scores: (N, C), 0-1.
        thr: 0-1, one number for all labels or C numbers, or None for 0.5.
        topk: A positive integer, or None. Ties: the lower class index is better.

    Returns:
        Boolean (N, C).

    Raises:
        ValueError: If there are neither 1 nor C thresholds, or ``topk`` is more than C.

    Examples:
        >>> select_labels(torch.tensor([[0.5, 0.6, 0.1]]), 0.5, None).tolist()
        [[False, True, False]]
        >>> select_labels(torch.tensor([[0.5, 0.6, 0.1]]), None, 2).tolist()
        [[True, True, False]]
    """
    if topk is None:
        return scores > _threshold(thr, scores)

    if topk > scores.shape[1]:
        raise ValueError(
            f'Expected `topk` to be at most the number of classes, {scores.shape[1]}, but got '
            f'{topk}.'
        )

    best = scores.sort(dim=1, descending=True, stable=True).indices[:, :topk]
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(1, best, True)


def _threshold(thr: float | Sequence[float] | None, scores: Tensor) -> Tensor | float:
    if not isinstance(thr, Sequence):
        return 0.5 if thr is None else thr

    if len(thr) != scores.shape[1]:
        raise ValueError(
            f'Expected one threshold for each of {scores.shape[1]} labels, but got {len(thr)}.'
        )
    return scores.new_tensor(thr)
