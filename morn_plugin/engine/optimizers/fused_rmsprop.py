"""torch's RMSprop in one pass over the weights."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from mmpretrain.registry import OPTIMIZERS
from torch import Tensor
from torch.optim import Adam

from ...utils.small_work import SmallWork
from .state import check_state

BIAS_GONE = 1e6  # Adam's step count from which alpha ** step is 0 in float32, up to MAX_ALPHA
MAX_ALPHA = 0.9999
STATE = ('step', 'exp_avg', 'exp_avg_sq')


@OPTIMIZERS.register_module()
class FusedRMSprop(Adam):
    """``torch.optim.RMSprop`` without momentum, as torch's fused Adam kernel computes it.

    Adam without its first moment (beta_1 = 0) equals RMSProp except for the bias correction, which
    is 1 after enough steps. So the step count starts there. torch has no fused kernel for RMSprop
    itself, which passes over the weights five times. The first moment is the gradient, and without
    weight decay shares its memory, which saves a third of the memory traffic.

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
        if not 0 <= alpha <= MAX_ALPHA:
            raise ValueError(f'Expected `alpha` in 0-{MAX_ALPHA}, but got {alpha}.')
        super().__init__(
            params, lr=lr, betas=(0.0, alpha), eps=eps, weight_decay=weight_decay, fused=True
        )

    def check_state(self, state_dict: dict[str, Any]) -> dict[str, Any]:
        """Return a state that can be loaded: the fused kernel does not check shapes.

        Raises:
            ValueError: If it does not fit the parameters or this optimizer.
        """
        checked = check_state(self, state_dict, names=STATE)
        counts = [float(entry['step']) for entry in checked['state'].values()]
        betas = [group['betas'] for group in checked['param_groups'] if 'betas' in group]
        is_ours = all(first == 0 and 0 <= alpha <= MAX_ALPHA for first, alpha in betas)
        if min(counts, default=BIAS_GONE) < BIAS_GONE or not is_ours:
            raise ValueError(
                'The optimizer state is that of Adam, not of FusedRMSprop: expected betas of 0 and '
                f'at most {MAX_ALPHA}, and step counts from {BIAS_GONE:g} on, but got {betas} and '
                f'{counts[:3]}.'
            )

        return checked

    def state_dict(self) -> dict[str, Any]:
        """Return the state, with zeros for the first moment.

        The first moment is the last gradient, which no later step reads. In mixed precision it may
        be infinite, if the step was skipped, or part of a larger buffer.
        """
        found = super().state_dict()
        found['state'] = {
            key: entry | dict(exp_avg=torch.zeros_like(entry['exp_avg']))
            for key, entry in found['state'].items()
        }
        return found

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state after checking it, see :meth:`check_state`."""
        super().load_state_dict(self.check_state(state_dict))

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step; ``closure``, if given, recomputes the loss, which is returned.

        Raises:
            ValueError: If the shape of a parameter has changed since its statistics were
                initialised.
        """
        for group in self.param_groups:
            for parameter in group['params']:
                if parameter.grad is not None:
                    self._prepare(parameter, has_decay=group['weight_decay'] != 0)
        sizes = [p.numel() for group in self.param_groups for p in group['params']]
        with SmallWork(sum(sizes) // len(sizes)):  # the kernel wakes threads for each parameter
            return super().step(closure)

    def _prepare(self, parameter: Tensor, has_decay: bool) -> None:
        """Set up the statistics, and raise unless they have the memory layout of the kernel.

        The kernel multiplies the first moment by 0, and writes the gradient there, plus any weight
        decay.
        """
        state = self.state[parameter]
        if not state:
            state['step'] = torch.tensor(BIAS_GONE, device=parameter.device)
            state['exp_avg'] = torch.zeros_like(parameter)
            state['exp_avg_sq'] = torch.zeros_like(parameter)

        for name in STATE[1:]:
            kept = state[name]
            if kept.shape != parameter.shape or kept.stride() != parameter.stride():
                raise ValueError(
                    f'FusedRMSprop: a parameter has the shape {tuple(parameter.shape)} and the '
                    f'strides {parameter.stride()}, but its `{name}` {tuple(kept.shape)} and '
                    f'{kept.stride()}. Make a new optimizer after changing a parameter.'
                )

        grad = parameter.grad
        if grad is None or grad.layout != torch.strided:
            return
        if grad.stride() != parameter.stride():
            grad = parameter.grad = torch.empty_like(parameter).copy_(grad)
        if not has_decay:
            state['exp_avg'] = grad
