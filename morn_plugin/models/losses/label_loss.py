"""Applies any multi-label loss to targets with ignored labels.

N images, C labels. A target (N, C) is 1 for a true label, 0 for a false one, and -1 for an ignored
one; values between 0 and 1 are soft labels of mixed images.

Three kinds of losses are supported:

- A loss that handles -1 itself has the class attribute ``takes_ignored = True`` and maps logits (N,
  C) and target (N, C) to a scalar. This includes the package's losses that use all labels of an
  image together, and your own may do the same.
- A loss with one value per entry, such as those of MMPretrain (``reduction_override='none'``) and
  the elementwise ones of timm and PyTorch (``reduction='none'``). The values of ignored labels are
  left out; the others are summed over labels and averaged over images.
- Any other loss works as long as no label is ignored.

A loss that only ranks the labels of an image, so that 0 does not separate true from false, has the
class attribute ``has_probability = False``.
"""

import copy
import inspect
from typing import Any

import torch
from torch import Tensor, nn


def label_loss(
    module: nn.Module,
    logits: Tensor,
    target: Tensor,
) -> Tensor:
    """Compute a loss of logits against labels, some of which may be ignored.

    Args:
        module: A loss of one of the kinds listed at the top of this file.
        logits: (N, C), floating point; the loss sees at least float32.
        target: (N, C); 1 true, 0 false, -1 ignored.

    Returns:
        Scalar: the result of ``module`` if it handles -1 or has no value per entry; else the values
            of the labels that are not ignored, summed over labels and averaged over images.

    Raises:
        ValueError: If the shapes do not fit, or labels are ignored and ``module`` cannot leave them
            out.

    Examples:
        >>> logits, target = torch.zeros(2, 3), torch.tensor([[1., 0., -1.], [0., -1., -1.]])
        >>> label_loss(nn.BCEWithLogitsLoss(), logits, target) / torch.tensor(2.0).log()
        tensor(1.5000)
    """
    check_logits_and_target(logits, target)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))

    if getattr(module, 'takes_ignored', False):
        return module(logits, target)

    counts = target >= 0
    values = _unreduced(module, logits, target.clamp(min=0).to(logits.dtype))
    if values.shape == logits.shape:
        return torch.where(counts, values, 0).sum() / len(logits)

    _check_all_count(module, counts, values)
    return values.mean()


def check_logits_and_target(logits: Tensor, target: Tensor) -> None:
    """Raise unless logits and target are (N, C) each, with neither N nor C zero.

    Checks only the shapes, so nothing waits for the device.

    Raises:
        ValueError: Names both shapes.
    """
    if logits.dim() != 2 or not logits.is_floating_point() or 0 in logits.shape:
        raise ValueError(
            'Expected `logits` to be a floating-point (N, C), at least one image and one label, '
            f'but got {tuple(logits.shape)} of {logits.dtype}.'
        )
    if target.shape != logits.shape:
        raise ValueError(
            f'Expected a `target` of shape {tuple(logits.shape)}, as the logits have, but got '
            f'{tuple(target.shape)}.'
        )


def _unreduced(
    module: nn.Module,
    logits: Tensor,
    target: Tensor,
) -> Tensor:
    """Compute the loss without reduction if possible: usually (N, C)."""
    if 'reduction_override' in inspect.signature(module.forward).parameters:  # MMPretrain
        return module(logits, target, reduction_override='none')

    if hasattr(module, 'reduction'):  # timm, PyTorch
        unreduced: Any = copy.copy(module)  # shares the buffers; the original keeps its reduction
        unreduced.reduction = 'none'
        return unreduced(logits, target)

    return module(logits, target)


def _check_all_count(
    module: nn.Module,
    counts: Tensor,
    values: Tensor,
) -> None:
    name = type(module).__name__
    if values.shape not in ((), counts.shape[:1]):
        raise ValueError(
            f'Expected {name} to give one value for each label {tuple(counts.shape)}, one for each '
            f'image, or a scalar, but got {tuple(values.shape)}.'
        )

    num_ignored = int((~counts).sum())
    if num_ignored:
        raise ValueError(
            f'{num_ignored} of {counts.numel()} labels are ignored (-1), but {name} gives no value '
            'for each label, so that theirs cannot be left out. Take a loss with '
            "reduction_override='none' or reduction='none', one that knows -1 itself "
            '(takes_ignored = True), or annotations without -1.'
        )
