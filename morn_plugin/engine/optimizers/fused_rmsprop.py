"""torch's RMSprop in one pass over the weights."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from mmpretrain.registry import OPTIMIZERS
from torch import Tensor
from torch.optim import Adam

BIAS_GONE = 1e6  # Adam's step count from which alpha ** step is 0 in float32, up to alpha = 0.9999


@OPTIMIZERS.register_module()
class FusedRMSprop(Adam):
    """``torch.optim.RMSprop`` without momentum, as torch's fused Adam kernel computes it.

    Adam without its first moment (beta_1 = 0) is RMSProp but for the correction of the bias, and
    that is 1 once enough steps are counted. So the count starts there. torch has no fused kernel
    for RMSprop itself, which passes over the weights five times.

    Args:
        params: Parameters or groups of them.
        lr: Learning rate.
        alpha: Decay of the mean square, at most 0.9999.
        eps: Added to the root of the mean square.
        weight_decay: L2 penalty.

    Raises:
        ValueError: If ``alpha`` is out of range.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        if not 0 <= alpha <= 0.9999:
            raise ValueError(f'Expected `alpha` in 0-0.9999, but got {alpha}.')
        super().__init__(
            params, lr=lr, betas=(0.0, alpha), eps=eps, weight_decay=weight_decay, fused=True
        )

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step; ``closure``, if given, recomputes the loss, which is returned."""
        for group in self.param_groups:
            for parameter in group['params']:
                if parameter.grad is not None and not self.state[parameter]:
                    self.state[parameter] = dict(
                        step=torch.tensor(BIAS_GONE, device=parameter.device),
                        exp_avg=torch.zeros_like(parameter),
                        exp_avg_sq=torch.zeros_like(parameter),
                    )
        return super().step(closure)
