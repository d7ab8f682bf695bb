"""A critic that distinguishes true label sets from generated ones, and the losses of both sides.

Tsai, Lee, "Adversarial Learning of Label Dependency: A Novel Framework for Multi-class
Classification", ICASSP 2019. A classifier's probabilities for an image form a generated label set.
The critic sees the image's features and a label set that is true, generated, or from another image.
The classifier learns to produce label sets that the critic takes for true. The critic is a
Wasserstein critic with a gradient penalty: Gulrajani, Ahmed, Arjovsky, Dumoulin, Courville,
"Improved Training of Wasserstein GANs", NIPS 2017.

N images, D features, C labels.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...utils.checks import check_choice, check_positive

#: Maps features (N, D) and label sets (N, C) to scores (N,).
Critic = Callable[[Tensor, Tensor], Tensor]

PENALTIES = ('generated', 'release')


class LabelCritic(nn.Module):
    """Scores a label set for an image: high for true ones, unbounded.

    Features and label set each go through a linear layer; further linear layers with leaky ReLU
    follow.

    Args:
        num_classes: Number of labels C.
        in_channels: Width of the features D.
        embed_dims: Width of both linear layers. Defaults to 256.
        hidden_dims: Widths of the hidden layers. Defaults to two of 512.
        negative_slope: Slope of leaky ReLU. Defaults to 0.01.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        embed_dims: int = 256,
        hidden_dims: Sequence[int] = (512, 512),
        negative_slope: float = 0.01,
    ) -> None:
        super().__init__()
        check_positive(num_classes=num_classes, in_channels=in_channels, embed_dims=embed_dims)
        self.embed_features = nn.Linear(in_channels, embed_dims)
        self.embed_labels = nn.Linear(num_classes, embed_dims)
        widths = [2 * embed_dims, *hidden_dims, 1]
        self.layers = nn.ModuleList(map(nn.Linear, widths[:-1], widths[1:]))
        self.negative_slope = negative_slope

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Map features (N, D) and label sets (N, C), 0-1, to scores (N,)."""
        x = torch.cat([self.embed_features(features), self.embed_labels(labels)], dim=1)
        *hidden, last = self.layers
        for layer in hidden:
            x = F.leaky_relu(layer(x), self.negative_slope)
        return last(x)[:, 0]


def generator_loss(critic: Critic, features: Tensor, scores: Tensor) -> Tensor:
    """Compute the classifier's loss: how untrue the critic finds the generated label sets.

    Args:
        critic: Maps features (N, D) and label sets (N, C) to (N,).
        features: (N, D).
        scores: The classifier's probabilities (N, C); they get a gradient.

    Returns:
        Scalar, minus the mean of the critic's scores.
    """
    return -critic(features, scores).mean()


def critic_loss(
    critic: Critic,
    features: Tensor,
    target: Tensor,
    scores: Tensor,
    penalty: str = 'generated',
    penalty_weight: float = 10.0,
) -> Tensor:
    """Compute the critic's loss: how badly it tells true label sets from others.

    1/2 E D(x, generated) + 1/2 E D(x, set of the next image of the batch) - E D(x, true), plus the
    penalty. A batch of one has no other image, and the second term is left out.

    Args:
        critic: Maps features (N, D) and label sets (N, C) to (N,).
        features: (N, D).
        target: (N, C); 1 true, 0 false; where it is -1 (ignored), every label set has the
            classifier's own probability, which tells the critic nothing.
        scores: The classifier's probabilities (N, C); they get no gradient.
        penalty: Where the slope of the critic is held at 1. ``'generated'``: between the true and
            the generated label set of an image, as for any Wasserstein critic. ``'release'``:
            between two true pairs of features and label set, those of an image and of the next,
            each mixed separately, as in the authors' code.
        penalty_weight: Factor of the penalty. Defaults to 10.

    Returns:
        Scalar.

    Raises:
        ValueError: If ``penalty`` is unknown.
    """
    check_choice('penalty', penalty, PENALTIES)
    features = features.detach()
    scores = scores.detach()
    true = torch.where(target < 0, scores, target.to(scores.dtype))
    others = torch.where(target < 0, scores, true.roll(1, dims=0))

    loss = critic(features, scores).mean() / 2 - critic(features, true).mean()
    if len(features) > 1:
        loss = loss + critic(features, others).mean() / 2

    if penalty == 'generated':
        slopes = slope_penalty(critic, features, mix(true, scores), of_features=False)
    else:
        slopes = slope_penalty(
            critic, mix(features, features.roll(1, dims=0)), mix(true, others), of_features=True
        )

    return loss + penalty_weight * slopes


def slope_penalty(
    critic: Critic,
    features: Tensor,
    labels: Tensor,
    of_features: bool,
) -> Tensor:
    """Compute the mean of (|dD/d labels| - 1)^2, optionally plus that of the features.

    Args:
        critic: Maps features (N, D) and label sets (N, C) to (N,).
        features: (N, D).
        labels: (N, C), the points at which the slope is computed.
        of_features: Whether to add the slope along the features.

    Returns:
        Scalar, with a gradient to the critic's weights.
    """
    points = [labels.detach().requires_grad_()]
    features = features.detach()
    if of_features:
        points.append(features.requires_grad_())

    with torch.enable_grad():
        values = critic(features, points[0]).sum()
        slopes = torch.autograd.grad(values, points, create_graph=True)

    terms = [(slope.norm(dim=1) - 1).square().mean() for slope in slopes]
    return torch.stack(terms).sum()


def mix(
    first: Tensor,
    second: Tensor,
    share: Tensor | None = None,
) -> Tensor:
    """Mix two tensors (N, ...): ``share`` (N, 1), sampled uniformly if None, of the first."""
    if share is None:
        share = torch.rand(len(first), 1, dtype=first.dtype, device=first.device)
    return share * first + (1 - share) * second
