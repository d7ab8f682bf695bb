"""RMSProp of TensorFlow 1, used by the authors' release."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from mmpretrain.registry import OPTIMIZERS
from torch import Tensor
from torch.optim import Optimizer

from .state import check_state


@OPTIMIZERS.register_module()
class TFRMSprop(Optimizer):
    r"""RMSProp of TensorFlow 1.

    ``s = alpha s + (1 - alpha) g^2``, ``m = momentum m + lr g / sqrt(s + eps)``, ``w = w - m``,
    with s starting at 1. torch's RMSprop has eps outside the root, s from 0 and lr outside the
    momentum. For a sparse gradient, rows without an entry stay unchanged, including their
    statistics.

    Args:
        params: Parameters or groups of them.
        lr: Learning rate.
        alpha: Decay of the mean square.
        momentum: Decay of the momentum.
        eps: Added to the mean square.
        weight_decay: Must be 0, as TensorFlow's has none. MMPretrain's layer-wise rates require the
            argument.

    Raises:
        ValueError: If an argument is negative, or there is a weight decay.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-4,
        alpha: float = 0.9,
        momentum: float = 0.9,
        eps: float = 1.0,
        weight_decay: float = 0.0,
    ) -> None:
        if weight_decay != 0:
            raise ValueError(
                f'TFRMSprop has no weight decay: expected `weight_decay` 0, but got {weight_decay}.'
            )

        defaults = dict(lr=lr, alpha=alpha, momentum=momentum, eps=eps)
        for name, value in defaults.items():
            if not value >= 0:
                raise ValueError(f'Expected `{name}` to be at least 0, but got {value}.')

        super().__init__(params, defaults)

    def check_state(self, state_dict: dict[str, Any]) -> dict[str, Any]:
        """Return a state that can be loaded.

        Raises:
            ValueError: If it does not fit the parameters or this optimizer.
        """
        return check_state(self, state_dict, names=('mean_square', 'momentum'))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state after checking it, see :meth:`check_state`."""
        super().load_state_dict(self.check_state(state_dict))

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step; ``closure``, if given, recomputes the loss, which is returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()

        for group in self.param_groups:
            for parameter in group['params']:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)

        return loss

    def _update(
        self,
        parameter: Tensor,
        grad: Tensor,
        group: dict[str, Any],
    ) -> None:
        state = self.state[parameter]
        if not state:
            state['mean_square'] = torch.ones_like(parameter)
            state['momentum'] = torch.zeros_like(parameter)

        tensors = [parameter, state['mean_square'], state['momentum']]
        if grad.is_sparse:
            grad = grad.coalesce()
            rows = grad.indices()[0]
            values = grad.values()
            parts = [tensor[rows] for tensor in tensors]
            _step(parts, values, group)
            for tensor, part in zip(tensors, parts, strict=True):
                tensor[rows] = part
        else:
            _step(tensors, grad, group)


def _step(
    tensors: list[Tensor],
    grad: Tensor,
    group: dict[str, Any],
) -> None:
    weight, mean_square, momentum = tensors
    mean_square.mul_(group['alpha']).addcmul_(grad, grad, value=1 - group['alpha'])
    momentum.mul_(group['momentum']).addcdiv_(
        grad, (mean_square + group['eps']).sqrt_(), value=group['lr']
    )
    weight.sub_(momentum)
