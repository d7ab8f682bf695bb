"""Matrix products by oneDNN where those of MKL, PyTorch's own choice, are slower."""

from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import mm_flop, register_flop_formula

OTHER_VENDOR, WIDE, NARROW = 'AuthenticAMD', 'avx512f', 'avx2'  # as Linux names them
INFO = Path('/proc/cpuinfo')
#: The operator, or None in a build of PyTorch without oneDNN.
PRODUCT: Any = getattr(torch.ops.mkldnn, '_linear_pointwise', None)


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """Multiply (N, I) and (O, I) to (N, O), on AMD's processors with AVX-512 by oneDNN.

    On a Zen 4 with two threads, (32, 512) by (2048, 512) takes 0.5 ms instead of 0.8
    (docs/speed.md). On a Zen 3, which has AVX2 only, nothing is gained. Where gradients, a compiler
    or an export follow the operators, it is PyTorch's own ``linear``. The results differ in
    rounding only.
    """
    if _is_onednn_faster() and _is_plain(x, weight):
        return PRODUCT(x, weight, None, 'none', [], '')
    return F.linear(x, weight)


@cache
def _is_onednn_faster() -> bool:
    """Whether this is a processor of AMD, oneDNN is there, and its products were found faster.

    With AVX2 only, they were not; a list of processors without any flags says nothing.
    """
    if PRODUCT is None or not torch.backends.mkl.is_available() or not INFO.exists():
        return False
    info = INFO.read_text()
    return OTHER_VENDOR in info and (WIDE in info or NARROW not in info)


def _is_plain(x: Tensor, weight: Tensor) -> bool:
    """Whether two matrices are in float32 on the CPU, and nothing follows the operators."""
    return (
        not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and x.dtype == weight.dtype == torch.float32
        and x.device.type == weight.device.type == 'cpu'
        and x.numel() > 0
        and not (torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad))
    )


def _count_flops(x: Any, weight: Any, *_: Any, **__: Any) -> int:
    """Count the operations of a product, for torch's counter: shapes in place of tensors."""
    return mm_flop(x, weight[::-1])


if PRODUCT is not None:
    register_flop_formula(PRODUCT)(_count_flops)
