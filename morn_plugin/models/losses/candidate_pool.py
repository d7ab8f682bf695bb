"""Loss of labels picked from the pool of remaining ones.

Chen, Wang, Yeh, Wang, "Order-Free RNN with Visual Attention for Multi-Label Classification", AAAI
2018. The pool of candidates starts as the true labels of an image. Each step picks its best label
in the pool, removes it from the pool and feeds it back. The public sources do not say which loss
the paper uses, so both are implemented: the likelihood of the picked label, and sigmoid
cross-entropy against all labels left in the pool.

N images, C labels, T steps. Symbol C is END, the only candidate once the pool is empty.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ...utils.checks import check_choice
from .remaining_labels import right_symbols, until_end
from .sequence_cross_entropy import average_steps, sequence_cross_entropy

FORMS = ('likelihood', 'bce')


def candidate_pool_loss(
    step_logits: Tensor,
    step_labels: Tensor,
    target: Tensor,
    form: str = 'bce',
    average: str = 'images',
) -> Tensor:
    """Compute the loss of steps whose inputs were picked from the pool.

    Args:
        step_logits: (N, T, C + 1).
        step_labels: (N, T), the candidate picked at each step, END after the last.
        target: (N, C); 1 true, 0 false, -1 ignored: predicting it is not penalised, and an image
            with only ignored labels adds no loss.
        form: ``'likelihood'``: the negative log-likelihood of the picked candidate, under a softmax
            over labels and END. ``'bce'``: sigmoid cross-entropy of all labels and END, summed over
            symbols; the labels in the pool at that step are positive.
        average: ``'images'`` or ``'steps'``, as in
            :func:`~morn_plugin.models.losses.sequence_cross_entropy`.

    Returns:
        Scalar. Steps after the first END do not count.

    Raises:
        ValueError: If an option is unknown.

    Examples:
        >>> labels, target = torch.tensor([[0, 2, 2]]), torch.tensor([[1, 0]])
        >>> loss = candidate_pool_loss(torch.zeros(1, 3, 3), labels, target)
        >>> loss / torch.tensor(2.0).log()  # three symbols at two steps
        tensor(6.)
    """
    check_choice('form', form, FORMS)
    ignored = target < 0  # (N, C)
    counts = until_end(step_labels, end=target.shape[1])  # (N, T)
    if form == 'likelihood':
        return sequence_cross_entropy(step_logits, step_labels, counts.sum(dim=1), ignored, average)

    pool = right_symbols(step_labels, target).to(step_logits.dtype)
    losses = F.binary_cross_entropy_with_logits(step_logits, pool, reduction='none')

    # If every label is ignored, an empty pool does not mean that the image has no labels.
    knows_any = (~ignored).any(dim=1, keepdim=True)
    known = torch.cat([~ignored, knows_any], dim=1)[:, None]  # (N, 1, C + 1)
    losses = torch.where(known, losses, 0)

    return average_steps(losses.sum(dim=2), counts, average)
