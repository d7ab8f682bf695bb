"""Pairs of a true and a false label of the same image.

N images, C labels. Ranking losses compare these pairs. An ignored label is in no pair.
"""

import torch
from torch import Tensor

from .label_loss import check_logits_and_target


def true_and_false(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the masks of the true and of the false labels.

    Args:
        logits: (N, C), used only for its shape.
        target: (N, C) in {0, 1, -1}; -1 is in neither mask.

    Returns:
        Two boolean (N, C).

    Raises:
        ValueError: If the shapes do not fit, or a target has another value.

    Examples:
        >>> true, false = true_and_false(torch.zeros(1, 3), torch.tensor([[1, 0, -1]]))
        >>> true.tolist(), false.tolist()
        ([[True, False, False]], [[False, True, False]])
    """
    check_logits_and_target(logits, target)
    true = target == 1
    false = target == 0

    other = ~(true | false | (target == -1))
    if bool(other.any()):
        raise ValueError(
            'Expected every label to be true (1), false (0) or ignored (-1), since a pair has one '
            f'that is true and one that is false, but got {target[other][0].item():g}. Soft labels '
            'of mixed images need a loss that sees each label by itself, such as sigmoid '
            'cross-entropy.'
        )

    return true, false


def masked_logsumexp(values: Tensor, mask: Tensor) -> Tensor:
    """Compute log(sum of exp) of the entries in a mask.

    Args:
        values: (N, C).
        mask: Boolean (N, C).

    Returns:
        (N,). For an empty row of the mask, a number so low that its exponential and its gradient
        are 0.

    Examples:
        >>> values = torch.zeros(2, 4)
        >>> masked_logsumexp(values, torch.tensor([[True, True, False, False], [False] * 4])).exp()
        tensor([2., 0.])
    """
    lowest = torch.finfo(values.dtype).min / 4  # two of them may be added
    return values.masked_fill(~mask, lowest).logsumexp(dim=1)
