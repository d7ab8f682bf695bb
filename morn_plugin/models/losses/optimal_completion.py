"""Optimal completion: every true label not predicted yet is an equally good next one.

Sabour, Chan, Norouzi, "Optimal Completion Distillation for Sequence Learning", ICLR 2019; for sets
of labels: Tsai, Lee, "Order-free Learning Alleviating Exposure Bias in Multi-label Classification",
AAAI 2020. The RNN receives its own predictions, right or wrong, and each step learns the best
continuation.

N images, C labels, T steps. Symbol C is END.
"""

import torch
from torch import Tensor

from .remaining_labels import right_symbols, until_end
from .sequence_cross_entropy import average_steps, without_ignored


def optimal_completion_loss(
    step_logits: Tensor,
    step_labels: Tensor,
    target: Tensor,
    temperature: float = 0.0,
    average: str = 'images',
) -> Tensor:
    """Compute the divergence of each step from the best continuation.

    This is KL(q || softmax(step_logits)), where q is uniform over the true labels not predicted
    before the step, or all on END if none is left. Steps after the first END do not count.

    Args:
        step_logits: (N, T, C + 1).
        step_labels: (N, T), the symbols that were predicted and fed back.
        target: (N, C); 1 true, 0 false, -1 ignored: predicting it is not penalised.
        temperature: 0 (default): q as above. Above 0: q = softmax(right / temperature), where right
            is 1 for those symbols and 0 for all others, which then also get a share.
        average: ``'images'`` or ``'steps'``, as in
            :func:`~morn_plugin.models.losses.sequence_cross_entropy`.

    Returns:
        Scalar.

    Raises:
        ValueError: If ``temperature`` is negative or ``average`` is unknown.

    Examples:
        >>> logits = torch.tensor([[[9., 9., -9.], [-9., 9., -9.], [-9., -9., 9.]]])
        >>> labels, target = torch.tensor([[0, 1, 2]]), torch.tensor([[1, 1]])
        >>> optimal_completion_loss(logits, labels, target).round(decimals=4).abs()
        tensor(0.)
    """
    ignored = target < 0
    right = right_symbols(step_labels, target)  # (N, T, C + 1)
    log_policy = _log_policy(right.to(step_logits.dtype), temperature)
    log_policy = without_ignored(log_policy, ignored).log_softmax(dim=2)

    log_probs = without_ignored(step_logits, ignored).log_softmax(dim=2)
    policy = log_policy.exp()
    terms = torch.where(policy > 0, policy * (log_policy - log_probs), 0)
    counts = until_end(step_labels, end=target.shape[1])
    return average_steps(terms.sum(dim=2), counts, average)


def check_temperature(temperature: float) -> None:
    """Raise unless ``temperature`` is 0 or more.

    Raises:
        ValueError: Names the value.
    """
    if temperature < 0:
        raise ValueError(f'Expected `temperature` to be 0 or more, but got {temperature!r}.')


def _log_policy(right: Tensor, temperature: float) -> Tensor:
    """Return log q up to a constant, from 1 for the right symbols and 0 for others."""
    check_temperature(temperature)
    return right.log() if temperature == 0 else right / temperature
