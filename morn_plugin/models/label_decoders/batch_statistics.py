"""Mean and variance of a batch that is split among processes.

N images in this process, C channels.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def is_shared_out() -> bool:
    """Return whether the batch of a training step is split among processes."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def batch_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Compute mean and biased variance over the images of all processes.

    Gradients flow through both to the images of every process. The processes may have different
    numbers of images, but every process must make the call.

    Args:
        x: (N, C).

    Returns:
        Mean (C,) and variance (C,), the same in all processes.
    """
    if not is_shared_out():
        return x.mean(0), x.var(0, unbiased=False)

    number = x.new_tensor([len(x)])
    total = _SumOverProcesses.apply(torch.cat([x.sum(0), number]))
    mean = total[:-1] / total[-1]
    images = total[-1]
    variance = _SumOverProcesses.apply((x - mean).square().sum(0)) / images
    return mean, variance


class _SumOverProcesses(torch.autograd.Function):
    """Sum a tensor over all processes, each of which has its own loss that depends on it."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        total = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total
