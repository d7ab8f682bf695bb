"""Sigmoid cross-entropy at every step against all true labels except those just picked.

Equations 5 to 7 of the paper. N images, T steps, C labels. Masking a picked true label turns one
positive of a step into a negative, which changes the loss by a function of that one logit. So no
mask or target of shape (N, T, C) is needed: the plain cross-entropy is corrected with the gathered
logits of the picked labels.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ...utils.checks import check_choice

MASKS = ('previous', 'cumulative', 'none')
STEPS = ('all', 'num_labels')


def masked_stepwise_bce(
    step_logits: Tensor,
    step_labels: Tensor,
    target: Tensor,
    mask: str = 'previous',
    steps: str = 'all',
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Compute the cross-entropy, summed over labels and steps and averaged over images.

    Args:
        step_logits: (N, T, C), floating point; summed in at least float32.
        step_labels: (N, T), the label picked at each step. The last one is not used, since no step
            follows.
        target: (N, C); 1 true, 0 false, -1 ignored. Values between 0 and 1 are soft labels.
        mask: Which true labels count as false at step t: ``'previous'``, the one picked at t - 1
            (the paper); ``'cumulative'``, all picked before t (the authors' release); ``'none'``.
        steps: Which steps count: ``'all'`` (the paper), or ``'num_labels'``, the first k for an
            image with k true labels, so an image without true labels adds nothing (the release).
        pos_weight: (C,), weight of the positive term of each label, as in
            ``binary_cross_entropy_with_logits``. A masked label is a negative and has weight 1.

    Returns:
        Scalar.

    Raises:
        ValueError: If a shape or an option does not fit.

    Examples:
        >>> import torch
        >>> logits, labels = torch.zeros(1, 2, 3), torch.tensor([[0, 1]])
        >>> target = torch.tensor([[1, 1, 0]])
        >>> masked_stepwise_bce(logits, labels, target) / torch.tensor(2.0).log()
        tensor(6.)
    """
    check_choice('mask', mask, MASKS)
    check_choice('steps', steps, STEPS)
    _check_shapes(step_logits, step_labels, target, pos_weight)
    step_logits = step_logits.to(torch.promote_types(step_logits.dtype, torch.float32))
    target = target.to(step_logits.dtype)
    masked = _masked_labels(step_labels, target, mask)

    step_weight = None
    if steps == 'num_labels':
        step = torch.arange(step_logits.shape[1], device=target.device)
        step_weight = (step < (target > 0).sum(dim=1, keepdim=True)).to(target.dtype)  # (N, T)

    return _StepwiseBCE.apply(step_logits, target, *masked, step_weight, pos_weight)


def _check_shapes(
    step_logits: Tensor, step_labels: Tensor, target: Tensor, pos_weight: Tensor | None
) -> None:
    if step_logits.dim() != 3 or not step_logits.is_floating_point() or 0 in step_logits.shape:
        raise ValueError(
            f'Expected `step_logits` to be a floating-point (N, T, C), none of them 0, but got '
            f'{tuple(step_logits.shape)} of {step_logits.dtype}.'
        )

    num_images, num_steps, num_classes = step_logits.shape
    for name, tensor, shape in (
        ('step_labels', step_labels, (num_images, num_steps)),
        ('target', target, (num_images, num_classes)),
        ('pos_weight', pos_weight, (num_classes,)),
    ):
        if tensor is not None and tensor.shape != shape:
            raise ValueError(
                f'Expected `{name}` of shape {shape} beside step_logits of shape '
                f'{tuple(step_logits.shape)}, but got {tuple(tensor.shape)}.'
            )


def _masked_labels(
    step_labels: Tensor, target: Tensor, mask: str
) -> tuple[Tensor | None, Tensor | None]:
    """Find the labels that are masked at steps 2..T.

    Returns:
        Labels (N, T - 1, K) and the target value of each masked label, 0 if nothing is masked; or
        two None.
    """
    num_steps = step_labels.shape[1]
    if mask == 'none' or num_steps == 1:
        return None, None

    picked = step_labels[:, :-1]  # (N, T - 1)
    truth = target.clamp(min=0).gather(1, picked)
    if mask == 'previous':
        return picked.unsqueeze(2), truth.unsqueeze(2)

    earlier = torch.ones(num_steps - 1, num_steps - 1, device=picked.device, dtype=torch.bool).tril(
        -1
    )
    repeats = ((picked.unsqueeze(2) == picked.unsqueeze(1)) & earlier).any(
        dim=2
    )  # (N, T - 1): picked before, too
    truth = truth * ~repeats
    up_to_now = earlier | torch.eye(num_steps - 1, device=picked.device, dtype=torch.bool)
    shape = (-1, num_steps - 1, -1)  # (N, T - 1 steps, T - 1 picks)
    return picked.unsqueeze(1).expand(shape), truth.unsqueeze(1) * up_to_now


class _StepwiseBCE(torch.autograd.Function):
    """The loss, with a gradient that needs no other (N, T, C) tensor."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        target: Tensor,
        masked: Tensor | None,
        truth: Tensor | None,
        step_weight: Tensor | None,
        pos_weight: Tensor | None,
    ) -> Tensor:
        positive, either = _term_weights(target, pos_weight)  # (N, C)
        terms = (F.softplus(step).mul_(either).sub_(positive * step) for step in logits.unbind(1))
        per_step = torch.stack([term.sum(1) for term in terms], dim=1)  # (N, T)

        z = None
        if masked is not None and truth is not None:
            z = logits[:, 1:].gather(2, masked)  # (N, T - 1, K)
            per_step[:, 1:].add_((truth * _masked_term(z, masked, pos_weight)).sum(2))

        if step_weight is not None:
            per_step = per_step * step_weight

        ctx.save_for_backward(logits, positive, either, masked, truth, z, step_weight, pos_weight)
        return per_step.sum() / logits.shape[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor | None, ...]:
        logits, positive, either, masked, truth, z, step_weight, pos_weight = ctx.saved_tensors
        grad = logits.sigmoid().mul_(either.unsqueeze(1)).sub_(positive.unsqueeze(1))
        if masked is not None:
            slope = truth * _masked_slope(z, masked, pos_weight)
            grad[:, 1:].scatter_add_(2, masked, slope)
        if step_weight is not None:
            grad *= step_weight.unsqueeze(2)
        return grad.mul_(grad_loss / logits.shape[0]), None, None, None, None, None


def _masked_term(
    z: Tensor,
    masked: Tensor,
    pos_weight: Tensor | None,
) -> Tensor:
    """Return the change of the loss by a masked label: softplus(z) - softplus(-z), weighted."""
    if pos_weight is None:
        return z
    weight = pos_weight[masked]
    return weight * z + (1 - weight) * F.softplus(z)


def _masked_slope(
    z: Tensor,
    masked: Tensor,
    pos_weight: Tensor | None,
) -> Tensor | int:
    """Return the derivative of :func:`_masked_term`."""
    if pos_weight is None:
        return 1
    weight = pos_weight[masked]
    return weight + (1 - weight) * z.sigmoid()


def _term_weights(target: Tensor, pos_weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """Compute p y and p y + (1 - y), 0 for ignored labels.

    The loss is the second times softplus(z) minus the first times z.
    """
    positive = target.clamp(min=0)
    negative = (1 - target) * (target >= 0)
    if pos_weight is not None:
        positive = positive * pos_weight
    return positive, positive + negative


@MODELS.register_module()
class MaskedStepwiseBCELoss(nn.Module):
    """Registered form of :func:`masked_stepwise_bce`.

    Args:
        mask: ``'previous'``, ``'cumulative'`` or ``'none'``.
        steps: ``'all'`` or ``'num_labels'``.
        pos_weight: One positive number for all labels, or C of them. Defaults to None, 1.
        loss_weight: Factor of the result. Defaults to 1.
    """

    pos_weight: Tensor | None

    def __init__(
        self,
        mask: str = 'previous',
        steps: str = 'all',
        pos_weight: float | Sequence[float] | None = None,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        check_choice('mask', mask, MASKS)
        check_choice('steps', steps, STEPS)
        self.mask = mask
        self.steps = steps
        self.loss_weight = loss_weight
        weight = None if pos_weight is None else torch.as_tensor(pos_weight, dtype=torch.float32)
        if weight is not None and (
            weight.dim() > 1 or not bool(((weight > 0) & weight.isfinite()).all())
        ):
            raise ValueError(
                f'Expected `pos_weight` to be a positive number or C of them, but got {pos_weight}.'
            )

        self.register_buffer('pos_weight', weight, persistent=False)

    def forward(
        self,
        step_logits: Tensor,
        step_labels: Tensor,
        target: Tensor,
    ) -> Tensor:
        """Map step_logits (N, T, C), step_labels (N, T) and target (N, C) to a scalar."""
        weight = self.pos_weight
        if weight is not None and weight.dim() == 0:
            weight = weight.expand(step_logits.shape[-1])
        return self.loss_weight * masked_stepwise_bce(
            step_logits, step_labels, target, self.mask, self.steps, weight
        )
