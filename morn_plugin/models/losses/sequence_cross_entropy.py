"""Softmax cross-entropy of a sequence of labels.

N images, C labels, T steps, L places of a sequence. Symbol C is END.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ...utils.checks import check_choice

AVERAGES = ('images', 'steps')
NO_SYMBOL = -100  # PyTorch's cross-entropy ignores it


def sequence_cross_entropy(
    step_logits: Tensor,
    sequences: Tensor,
    lengths: Tensor,
    ignored: Tensor | None = None,
    average: str = 'images',
) -> Tensor:
    """Compute the cross-entropy of each step against the symbol at its place.

    Args:
        step_logits: (N, T, C + 1).
        sequences: (N, L), L at most T; the labels, END, and padding.
        lengths: (N,), number of places that count, including END.
        ignored: Boolean (N, C), labels whose prediction is not penalised. Defaults to None, none.
        average: ``'images'``: summed over the steps of an image, averaged over images. ``'steps'``:
            averaged over all steps of all images, so images are weighted by their length.

    Returns:
        Scalar.

    Raises:
        ValueError: If ``average`` is unknown.

    Examples:
        >>> sequences, lengths = torch.tensor([[0, 1, 2], [2, 2, 2]]), torch.tensor([3, 1])
        >>> loss = sequence_cross_entropy(torch.zeros(2, 3, 3), sequences, lengths)
        >>> loss / torch.tensor(3.0).log()  # three steps and one
        tensor(2.)
    """
    num_places = sequences.shape[1]
    counts = torch.arange(num_places, device=lengths.device) < lengths[:, None]  # (N, L)
    symbols = sequences.masked_fill(~counts, NO_SYMBOL)

    logits = without_ignored(step_logits[:, :num_places], ignored)
    # (N, L)
    losses = F.cross_entropy(
        logits.transpose(1, 2), symbols, reduction='none', ignore_index=NO_SYMBOL
    )
    return average_steps(losses, counts, average)


def without_ignored(step_logits: Tensor, ignored: Tensor | None) -> Tensor:
    """Remove the ignored labels (N, C) from each step's softmax over (N, T, C + 1) symbols."""
    if ignored is None:
        return step_logits
    symbols = F.pad(ignored, (0, 1))[:, None]  # (N, 1, C + 1): END is never ignored
    return step_logits.masked_fill(symbols, float('-inf'))


def average_steps(losses: Tensor, counts: Tensor, average: str) -> Tensor:
    """Average the losses (N, T) of the steps that count, (N, T), over images or over steps.

    Examples:
        >>> losses, counts = torch.ones(2, 3), torch.tensor([[True] * 3, [True, False, False]])
        >>> average_steps(losses, counts, 'images'), average_steps(losses, counts, 'steps')
        (tensor(2.), tensor(1.))
    """
    check_choice('average', average, AVERAGES)
    total = (losses * counts).sum()
    return total / (len(losses) if average == 'images' else counts.sum())
