"""A critic that trains next to the model and keeps its optimiser's state in buffers.

A run has one optimiser, for the task's loss. The critic, which trains against the model, has its
own optimiser here, whose state is saved like any weight. So resuming is exact, and no loop, hook or
checkpoint needs to know about a second optimiser.

N images, D features, C labels, P numbers in the critic's weights.
"""

from collections.abc import Sequence
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils import parameters_to_vector
from torch.optim.adam import adam

from ...utils.checks import check_choice, check_positive
from ..losses.label_critic import PENALTIES, critic_loss


class CriticTrainer(nn.Module):
    """A critic of label sets, and Adam for it.

    The critic's weights are also a buffer, one vector. They are not a parameter, so the model's
    optimiser and DDP ignore them. Several processes average the critic's gradient here, as they do
    the model's, so that the critic is the same in all.

    Args:
        critic: Maps features (N, D) and label sets (N, C) to (N,).
        lr: Adam's learning rate. Defaults to 1e-3.
        betas: Adam's. Defaults to (0.9, 0.999).
        steps: Steps of the critic in :meth:`train_critic`. Defaults to 2.
        max_norm: The gradient is clipped to this norm. Defaults to 10.
        penalty: Where the slope of the critic is held at 1, see :func:`critic_loss`.
        penalty_weight: Factor of the penalty. Defaults to 10.

    Raises:
        ValueError: If an option is out of its range.
    """

    weights: Tensor
    first_moment: Tensor
    second_moment: Tensor
    num_updates: Tensor

    def __init__(
        self,
        critic: nn.Module,
        lr: float = 1e-3,
        betas: Sequence[float] = (0.9, 0.999),
        steps: int = 2,
        max_norm: float = 10.0,
        penalty: str = 'generated',
        penalty_weight: float = 10.0,
    ) -> None:
        super().__init__()
        check_positive(steps=steps)
        check_choice('penalty', penalty, PENALTIES)
        if not lr > 0 or not max_norm > 0 or penalty_weight < 0:
            raise ValueError(
                'Expected a positive `lr` and `max_norm`, and a `penalty_weight` of 0 or more, but '
                f'got lr={lr!r}, max_norm={max_norm!r}, penalty_weight={penalty_weight!r}.'
            )

        self.lr = lr
        self.betas = tuple(betas)
        self.steps = steps
        self.max_norm = max_norm
        self.penalty = penalty
        self.penalty_weight = penalty_weight

        self._shapes = {name: weight.shape for name, weight in critic.named_parameters()}
        weights = parameters_to_vector(critic.parameters()).detach()  # (P,)
        # Not a submodule: it only defines how the weights are used, and holds none.
        self._critic = (critic.to('meta'),)
        self.register_buffer('weights', weights)
        self.register_buffer('first_moment', torch.zeros_like(weights))
        self.register_buffer('second_moment', torch.zeros_like(weights))
        self.register_buffer('num_updates', torch.zeros(()))

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Score label sets (N, C) for features (N, D): (N,)."""
        return self._score(self.weights, features, labels)

    def train_critic(
        self,
        features: Tensor,
        target: Tensor,
        scores: Tensor,
    ) -> None:
        """Train the critic on a batch.

        Args:
            features: (N, D); no gradient passes to them, nor to the scores.
            target: (N, C); 1 true, 0 false, -1 ignored.
            scores: The generated label sets, (N, C), 0-1.
        """
        for _ in range(self.steps):
            self._step(self._gradient(features, target, scores))

    def _gradient(
        self,
        features: Tensor,
        target: Tensor,
        scores: Tensor,
    ) -> Tensor:
        """Compute the gradient (P,) of the critic's loss, averaged over processes."""
        weights = self.weights.detach().clone().requires_grad_()
        critic = partial(self._score, weights)
        loss = critic_loss(critic, features, target, scores, self.penalty, self.penalty_weight)
        (gradient,) = torch.autograd.grad(loss, weights)

        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(gradient)
            gradient /= dist.get_world_size()
        return gradient

    @torch.no_grad()
    def _step(self, gradient: Tensor) -> None:
        """Make one step of Adam along a gradient (P,)."""
        shortening = (self.max_norm / gradient.norm().clamp(min=1e-6)).clamp(max=1)
        adam(
            [self.weights],
            [gradient * shortening],
            [self.first_moment],
            [self.second_moment],
            [],
            [self.num_updates],
            capturable=self.weights.is_cuda,  # nothing waits for the device
            amsgrad=False,
            beta1=self.betas[0],
            beta2=self.betas[1],
            lr=self.lr,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )

    def _score(
        self,
        weights: Tensor,
        features: Tensor,
        labels: Tensor,
    ) -> Tensor:
        """Run the critic with weights (P,): (N,)."""
        sizes = [shape.numel() for shape in self._shapes.values()]
        parts = {
            name: part.view(shape)
            for (name, shape), part in zip(self._shapes.items(), weights.split(sizes), strict=True)
        }
        return functional_call(self._critic[0], parts, (features, labels))
