"""Models in half precision: inputs get the weights' type, outputs are float32."""

from typing import Any

import torch
from torch import Tensor, nn


def find_dtype(module: nn.Module) -> torch.dtype:
    """Return the floating type of a module's weights; float32 if it has none."""
    found = (value.dtype for value in module.parameters() if value.is_floating_point())
    return next(found, torch.float32)


def cast(value: Any, dtype: torch.dtype) -> Any:
    """Convert a floating tensor, or each of a tuple or list; other values stay unchanged.

    Examples:
        >>> cast(torch.zeros(1), torch.bfloat16).dtype
        torch.bfloat16
        >>> cast(torch.zeros(1, dtype=torch.long), torch.bfloat16).dtype
        torch.int64
    """
    if isinstance(value, tuple | list):
        return type(value)(cast(part, dtype) for part in value)
    is_floating = isinstance(value, Tensor) and value.is_floating_point()
    return value.to(dtype) if is_floating else value


def as_single(value: Any) -> Any:
    """Convert half precision to float32; other types stay, including float64."""
    if isinstance(value, tuple | list):
        return type(value)(as_single(part) for part in value)
    is_half = isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16)
    return value.float() if is_half else value
