"""The matrix products of any training step, taken from the step itself and run alone.

A method's equations require its products: every matrix product and convolution, forward and
backward, that the step calls. Everything else (activations, losses, masks, the optimiser, Python
calls) depends on the implementation.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import flop_registry

from ..utils import onednn

ATEN = torch.ops.aten
#: Operations that are matrix products, or convolutions, which count as products.
PRODUCTS = {
    ATEN.mm,
    ATEN.addmm,
    ATEN.addmm_,
    ATEN.bmm,
    ATEN.baddbmm,
    ATEN.mv,
    ATEN.addmv,
    onednn.PRODUCT,
    ATEN.convolution,
    ATEN.convolution_backward,
    ATEN._scaled_dot_product_flash_attention_for_cpu,
    ATEN._scaled_dot_product_flash_attention_for_cpu_backward,
}


class Call(NamedTuple):
    """One product: the operation, and operands with the memory layout of the step."""

    operation: Callable
    args: tuple
    kwargs: dict[str, Any]


class ProductRecorder(TorchDispatchMode):
    """Records the matrix products of all code inside the context, below autograd.

    Attributes:
        calls: The products, in the order in which they were called.
        flops: Their floating point operations; a multiply-add counts as two.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.flops = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation, and record it if it is a product."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        packet = func.overloadpacket
        if packet in PRODUCTS:
            self.calls.append(Call(func, tree_map(_imitate, args), tree_map(_imitate, kwargs)))
            count = flop_registry.get(packet)
            others = {key: value for key, value in kwargs.items() if key != 'out'}
            self.flops += count(*args, **others, out_val=result) if count is not None else 0
        return result

    @torch.no_grad()
    def replay(self) -> None:
        """Run the products alone."""
        for operation, args, kwargs in self.calls:
            operation(*args, **kwargs)


def record_products(step: Callable[[], object]) -> ProductRecorder:
    """Run a step once, and return its products.

    Examples:
        >>> layer = torch.nn.Linear(5, 3)
        >>> found = record_products(lambda: layer(torch.ones(2, 5)).sum().backward())
        >>> [call.operation.overloadpacket.__name__ for call in found.calls], found.flops
        (['addmm', 'mm'], 120)
    """
    recorder = ProductRecorder()
    with recorder:
        step()
    return recorder


def _imitate(value: Any) -> Any:
    """Return a random tensor with the same size and memory layout; other values unchanged."""
    if not isinstance(value, Tensor):
        return value
    extent = 1 + sum((n - 1) * step for n, step in zip(value.size(), value.stride(), strict=True))
    numbers = torch.rand(max(extent, 0), device=value.device).to(value.dtype)
    return numbers.as_strided(value.size(), value.stride())
