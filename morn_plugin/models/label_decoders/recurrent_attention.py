"""Recurrent attention: an LSTM chooses where to take each of a few glimpses of the map.

After Wang, Chen, Li, Xu, Lin, "Multi-label Image Recognition by Recurrently Discovering Attentional
Regions" (RDAR), ICCV 2017, whose glimpses are cut by a spatial transformer and trained by its
gradient, and Chen, Wang, Li, Lin, "Recurrent Attentional Reinforcement Learning for Multi-label
Image Recognition", AAAI 2018, whose places are sampled and trained by reward. Some details are our
own; ``configs/recurrent_attention/README.md`` lists them.

N images, D channels of the map, C labels, T glimpses, R regions of a glimpse, k x k points of a
region, E channels and H cells inside.
"""

from collections.abc import Sequence
from functools import partial
from itertools import product
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...utils.checks import check_choice, check_positive
from ..decisions.fixed import best_labels
from ..decisions.quantity import known_images
from ..losses.label_loss import label_loss
from .base import LabelDecoder

GLIMPSES = ('transformer', 'sampled')
#: Places that weakly attract the glimpses, so that they do not all cover the same region.
ANCHORS = ((0.0, 0.0), (-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5), (0.5, 0.5))
#: Half sides of the regions of a sampled glimpse, as shares of the map's half: sizes and shapes.
SIZES, SHAPES = (0.3, 0.5, 0.7), (0.5, 1.0, 2.0)


class Glimpses(NamedTuple):
    """The glimpses of a batch.

    Attributes:
        logits: The best of each label over glimpses and regions, (N, C).
        centres: The centres of the glimpses, (N, T, 2), x and y from -1 to 1.
        log_probs: Log probabilities of the sampled places, (N, T); zeros if none was sampled.
        states: The LSTM's states before each glimpse, (N, T, H).
    """

    logits: Tensor
    centres: Tensor
    log_probs: Tensor
    states: Tensor


def cut_regions(
    feature_map: Tensor,
    centres: Tensor,
    halves: Tensor,
    size: int,
) -> Tensor:
    """Cut regions out of maps, by bilinear sampling.

    Args:
        feature_map: (N, E, H, W).
        centres: (N, R, 2), x and y; the map reaches from -1 to 1.
        halves: Half their width and height, (N, R, 2).
        size: Points a side, k.

    Returns:
        (N, R, E, k, k); outside the map its border is repeated.

    Examples:
        >>> feature_map = torch.arange(4.0).view(1, 1, 2, 2)
        >>> centre, whole = torch.zeros(1, 1, 2), torch.ones(1, 1, 2)
        >>> cut_regions(feature_map, centre, whole, 2).flatten()
        tensor([0., 1., 2., 3.])
    """
    number, regions = centres.shape[:2]
    points = (2 * torch.arange(size, device=centres.device) + 1) / size - 1  # (k,)
    points = points.to(centres.dtype)
    x = centres[..., :1] + halves[..., :1] * points  # (N, R, k)
    y = centres[..., 1:] + halves[..., 1:] * points

    shape = (number, regions, size, size)
    columns = x[:, :, None].expand(shape)
    rows = y[..., None].expand(shape)
    grid = torch.stack([columns, rows], dim=4)
    cut = F.grid_sample(
        feature_map,
        grid.flatten(1, 2).to(feature_map.dtype),  # (N, R k, k, 2)
        padding_mode='border',
        align_corners=False,
    )
    return cut.unflatten(2, (regions, size)).transpose(1, 2)


def top_label_reward(scores: Tensor, target: Tensor) -> Tensor:
    """Compute the share of true labels among the n best, n being the number of true labels.

    Args:
        scores: (N, C).
        target: (N, C); 1 true, 0 false, -1 ignored, never among the best.

    Returns:
        (N,), 0-1; 0 without a true label.

    Examples:
        >>> scores = torch.tensor([[0.9, 0.8, 0.1], [0.9, 0.8, 0.1]])
        >>> top_label_reward(scores, torch.tensor([[1, 0, 1], [-1, 1, 0]]))
        tensor([0.5000, 1.0000])
    """
    true = target == 1
    numbers = true.sum(dim=1)
    chosen = best_labels(scores.masked_fill(target < 0, float('-inf')), numbers)
    return (chosen & true).sum(dim=1) / numbers.clamp(min=1)


class RecurrentAttention(LabelDecoder):
    """An LSTM sees the whole map, then T glimpses; each label uses its best one.

    Args:
        num_classes: Number of labels C.
        in_channels: Width of the map D.
        glimpses: ``'transformer'`` (default): one region per glimpse, whose place and size are
            trained by gradient. ``'sampled'``: nine regions of fixed sizes and shapes around a
            sampled place, trained by REINFORCE; predictions use the mean instead of a sample.
        num_steps: Glimpses T. Defaults to 5.
        glimpse_size: Points per side of a region, k. Defaults to 3.
        embed_dims: Channels E that the map is projected to. Defaults to 256.
        hidden_dims: LSTM cells H. Defaults to 512.
        deviation: Standard deviation of a sampled place. Defaults to 0.2.
        policy_weight: Weight of the loss of the sampled places. Defaults to 0.1.
        anchor_weight: Weight of the squared distance of the transformer's places to their anchors.
            Defaults to 0.01, as in the port of RDAR.

    Raises:
        ValueError: If an option is out of its range.
    """

    inputs = ('feature_map',)

    regions: Tensor
    anchors: Tensor

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        glimpses: str = 'transformer',
        num_steps: int = 5,
        glimpse_size: int = 3,
        embed_dims: int = 256,
        hidden_dims: int = 512,
        deviation: float = 0.2,
        policy_weight: float = 0.1,
        anchor_weight: float = 0.01,
    ) -> None:
        super().__init__(num_classes)
        check_positive(
            in_channels=in_channels,
            num_steps=num_steps,
            glimpse_size=glimpse_size,
            embed_dims=embed_dims,
            hidden_dims=hidden_dims,
        )
        check_choice('glimpses', glimpses, GLIMPSES)
        if not deviation > 0:
            raise ValueError(f'Expected `deviation` to be positive, but got {deviation!r}.')

        self.in_channels = in_channels
        self.glimpses = glimpses
        self.num_steps = num_steps
        self.glimpse_size = glimpse_size
        self.deviation = deviation
        self.policy_weight = policy_weight
        self.anchor_weight = anchor_weight
        is_sampled = glimpses == 'sampled'
        self.display_name = f'Recurrent attention, {"sampled" if is_sampled else "by gradient"}'

        self.project = nn.Conv2d(in_channels, embed_dims, 1)
        self.embed = nn.Linear(embed_dims * glimpse_size**2, hidden_dims)
        self.lstm = nn.LSTMCell(hidden_dims, hidden_dims)
        self.locate = nn.Linear(hidden_dims, 2 if is_sampled else 4)
        self.fc = nn.Linear(2 * hidden_dims, num_classes)
        self.baseline = nn.Linear(hidden_dims, 1) if is_sampled else None

        self.register_buffer('regions', torch.tensor(_region_halves()), persistent=False)
        places = [ANCHORS[step % len(ANCHORS)] for step in range(num_steps)]
        self.register_buffer('anchors', torch.tensor(places), persistent=False)

    def look(self, feature_map: Tensor, draws: bool) -> Glimpses:
        """Run the LSTM on the whole map, then on T glimpses.

        Args:
            feature_map: (N, D, H, W).
            draws: Whether sampled glimpses sample their places, or use the mean.
        """
        self.check_feature_map(feature_map, self.in_channels)
        projected = self.project(feature_map).relu()

        # The whole map first.
        middle = projected.new_zeros(projected.shape[0], 1, 2)
        whole = self._embed(projected, middle, torch.ones_like(middle))
        h, c = self.lstm(whole[:, 0])

        logits = []
        centres = []
        log_probs = []
        states = []
        for _ in range(self.num_steps):
            states.append(h)
            centre, halves, log_prob = self._place(h, draws)
            centres.append(centre[:, 0])
            log_probs.append(log_prob)

            regions = self._embed(projected, centre.expand_as(halves), halves)  # (N, R, H)
            h, c = self.lstm(regions.mean(dim=1), (h, c))

            seen = torch.cat([regions, h[:, None].expand_as(regions)], dim=2)  # (N, R, 2 H)
            logits.append(self.fc(seen).amax(dim=1))

        stack = partial(torch.stack, dim=1)
        best = stack(logits).amax(dim=1)  # (N, C), of the glimpses
        return Glimpses(best, stack(centres), stack(log_probs), stack(states))

    def logits(self, feature_map: Tensor) -> Tensor:
        """Map a feature map (N, D, H, W) to logits (N, C)."""
        return self.look(feature_map, draws=False).logits

    def loss(self, *, feature_map: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Compute ``loss_labels``, and the losses of the places.

        ``loss_anchors`` for the transformer; ``loss_policy`` and ``loss_baseline`` for sampled
        places, whose reward is :func:`top_label_reward`, the same for all T places of an image.
        """
        seen = self.look(feature_map, draws=self.training)
        self.check_target(target, len(seen.logits))

        losses = dict(loss_labels=label_loss(nn.BCEWithLogitsLoss(), seen.logits, target))
        if self.baseline is None:
            distances = (seen.centres - self.anchors).square().sum(dim=(1, 2))  # (N,)
            known = known_images(target)
            losses['loss_anchors'] = self.anchor_weight * (distances * known).mean()
            return losses

        reward = top_label_reward(seen.logits.detach(), target)[:, None]  # (N, 1)
        expected = self.baseline(seen.states.detach())[..., 0]  # (N, T)
        counts = (target == 1).any(dim=1, keepdim=True)  # without a true label there is no reward
        surprise = (reward - expected) * counts
        policy = -(surprise.detach() * seen.log_probs).sum(dim=1).mean()
        losses['loss_policy'] = self.policy_weight * policy
        losses['loss_baseline'] = surprise.square().mean()
        return losses

    def predict(self, feature_map: Tensor) -> dict[str, Tensor]:
        """Predict ``pred_score`` (N, C), 0-1."""
        return dict(pred_score=self.logits(feature_map).sigmoid())

    def _embed(
        self,
        projected: Tensor,
        centres: Tensor,
        halves: Tensor,
    ) -> Tensor:
        """Cut regions (N, R, 2) out of maps (N, E, H, W) and embed them: (N, R, H)."""
        cut = cut_regions(projected, centres, halves, self.glimpse_size)
        return self.embed(cut.flatten(2)).relu()

    def _place(self, h: Tensor, draws: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Choose the next place: centre (N, 1, 2), halves (N, R, 2), log probability (N,)."""
        found = self.locate(h)
        number = found.shape[0]  # not len(), which becomes a constant in an exported model
        if self.glimpses == 'transformer':
            centre = found[:, None, :2].tanh()
            halves = 0.1 + 0.9 * found[:, None, 2:].sigmoid()  # more than a point, at most the map
            return centre, halves, found.new_zeros(number)

        mean = found.tanh()
        halves = self.regions.to(found.dtype).expand(number, -1, -1)
        if not draws:
            return mean[:, None], halves, found.new_zeros(number)

        normal = torch.distributions.Normal(mean, self.deviation)
        drawn = normal.sample()
        centre = drawn.clamp(-1, 1)
        log_prob = normal.log_prob(drawn).sum(dim=1)
        return centre[:, None], halves, log_prob


def _region_halves() -> Sequence[tuple[float, float]]:
    """Return half the width and height of each region: every size in every shape."""
    halves = []
    for size, shape in product(SIZES, SHAPES):
        stretch = shape**0.5
        halves.append((size * stretch, size / stretch))

    return halves
