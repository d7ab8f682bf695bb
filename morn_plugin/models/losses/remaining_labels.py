"""The correct next symbols: any true label not predicted before, and END after the last.

N images, C labels, T steps. Symbol C is END.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def right_symbols(step_labels: Tensor, target: Tensor) -> Tensor:
    """Mark the correct symbols of each step, given the previous ones.

    Args:
        step_labels: (N, T), the symbol of each step; the last one is not used.
        target: (N, C); 1 true; any other value is not a label of the image.

    Returns:
        Boolean (N, T, C + 1): the true labels not predicted yet, or END if none is left.

    Examples:
        >>> right_symbols(torch.tensor([[1, 0, 2]]), torch.tensor([[1, 1]])).int().tolist()
        [[[1, 1, 0], [1, 0, 0], [0, 0, 1]]]
    """
    num_symbols = target.shape[1] + 1
    one_hot = F.one_hot(step_labels[:, :-1], num_symbols)
    said = one_hot.cumsum(dim=1) > 0  # (N, T - 1, C + 1)
    said_before = F.pad(said[..., :-1], (0, 0, 1, 0))  # (N, T, C)

    remaining = (target == 1)[:, None] & ~said_before
    is_end = ~remaining.any(dim=2, keepdim=True)
    return torch.cat([remaining, is_end], dim=2)


def until_end(step_labels: Tensor, end: int) -> Tensor:
    """Mark the steps up to and including the first END: (N, T) to boolean (N, T).

    Examples:
        >>> until_end(torch.tensor([[0, 2, 1], [1, 0, 1]]), end=2).int().tolist()
        [[1, 1, 0], [1, 1, 1]]
    """
    ended_before = (step_labels[:, :-1] == end).cumsum(dim=1) > 0
    return ~F.pad(ended_before, (1, 0))
