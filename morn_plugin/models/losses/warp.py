"""Weighted approximate-rank pairwise loss: true labels that rank low have more weight.

Weston, Bengio, Usunier, "WSABIE: Scaling Up To Large Vocabulary Image Annotation", IJCAI 2011; for
convolutional networks: Gong, Jia, Leung, Toshev, Ioffe, "Deep Convolutional Ranking for Multilabel
Image Annotation", ICLR 2014. A true label p at rank r has the weight L(r) = 1 + 1/2 + ... + 1/r.
Both papers estimate the rank by sampling false labels until one comes within the margin of p, and
learn from that one. The Multi-order RNN's authors use the exact rank and all pairs.

N images, C labels, P true labels of the batch.
"""

import torch
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from ...utils.checks import check_choice
from .label_pairs import true_and_false

RANKS = ('exact', 'sampled')


def warp_loss(
    logits: Tensor,
    target: Tensor,
    margin: float = 1.0,
    rank: str = 'exact',
) -> Tensor:
    """Compute the hinges max(0, margin - z_true + z_false), weighted by the true label's rank.

    Args:
        logits: (N, C).
        target: (N, C); 1 true, 0 false, -1 left out of pairs and ranks.
        margin: Required distance of a true label above a false one.
        rank: ``'exact'``: the rank of each true label among all labels that count, by the current
            logits (no gradient), and every pair counts. ``'sampled'``: one pair per true label
            counts, with the first sampled false label (with replacement) that comes within the
            margin; after k samples the rank is (labels that count - 1) / k, rounded down, and a
            rank of 0 adds nothing.

    Returns:
        Scalar: summed over pairs, averaged over images. An image without pairs adds 0.

    Raises:
        ValueError: If the shapes do not fit, a target has another value, or ``rank`` is unknown.

    Examples:
        >>> logits, target = torch.tensor([[0.0, 0.0, 2.0]]), torch.tensor([[0, 1, 0]])
        >>> warp_loss(logits, target)  # third: (1 + 1/2 + 1/3) (1 + 3)
        tensor(7.3333)
    """
    check_choice('rank', rank, RANKS)
    true, false = true_and_false(logits, target)
    images, labels = true.nonzero(as_tuple=True)  # (P,)

    violations = margin - logits[images, labels, None] + logits[images]  # (P, C)
    hinges = violations.clamp(min=0) * false[images]
    if rank == 'exact':
        ranks = _exact_ranks(logits.detach(), true | false)[images, labels]
        per_true = hinges.sum(dim=1)
    else:
        violating = hinges.detach() > 0
        ranks, drawn = _sample_ranks(violating, false[images], (true | false)[images])
        per_true = hinges.gather(1, drawn[:, None])[:, 0]

    weights = _rank_weights(logits)[ranks]  # (P,)
    return (weights * per_true).sum() / len(logits)


def _exact_ranks(logits: Tensor, counts: Tensor) -> Tensor:
    """Rank the labels of each image: 1 for the highest logit; labels that do not count come last.

    Ties: the lower class index ranks higher.
    """
    scores = logits.masked_fill(~counts, float('-inf'))
    order = scores.sort(dim=1, descending=True, stable=True).indices  # (N, C)
    places = torch.arange(1, order.shape[1] + 1, device=order.device)
    return torch.empty_like(order).scatter_(1, order, places.expand_as(order))


def _sample_ranks(
    violating: Tensor,
    false: Tensor,
    counts: Tensor,
) -> tuple[Tensor, Tensor]:
    """For each true label sample false labels until one violates the margin.

    Args:
        violating: (P, C), the false labels within the margin.
        false: (P, C).
        counts: (P, C), the labels of the image that are not ignored.

    Returns:
        Estimated ranks (P,), 0 if no sample violates the margin or there is no false label; and the
        last sampled label (P,).
    """
    if violating.numel() == 0:
        nothing = violating.new_zeros(len(violating), dtype=torch.long)
        return nothing, nothing

    # A true label without false ones has no pair: whatever is sampled does not violate the margin.
    has_none = ~false.any(dim=1, keepdim=True)
    chances = (false | has_none).float()
    draws = chances.multinomial(false.shape[1], replacement=True)  # (P, C draws)

    num_others = counts.sum(dim=1) - 1
    hits = violating.gather(1, draws)
    first = hits.int().argmax(dim=1)
    ranks = torch.where(hits.any(dim=1), num_others // (first + 1), 0)
    return ranks, draws.gather(1, first[:, None])[:, 0]


def _rank_weights(logits: Tensor) -> Tensor:
    """Return L(0) = 0, L(1) = 1, L(2) = 1 + 1/2, ..., L(C)."""
    num_classes = logits.shape[1]
    ranks = torch.arange(1, num_classes + 1, dtype=logits.dtype, device=logits.device)
    sums = (1 / ranks).cumsum(0)
    return torch.cat([ranks.new_zeros(1), sums])


@MODELS.register_module()
class WARPLoss(nn.Module):
    """Registered form of :func:`warp_loss`.

    The trained logits are ranks: 0 does not separate true from false.

    Args:
        margin: Required distance of a true label above a false one. Defaults to 1.
        rank: ``'exact'`` (default) or ``'sampled'``.
        loss_weight: Factor of the result. Defaults to 1.

    Raises:
        ValueError: If ``margin`` is not positive or ``rank`` is unknown.
    """

    takes_ignored = True
    has_probability = False

    def __init__(
        self,
        margin: float = 1.0,
        rank: str = 'exact',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        check_choice('rank', rank, RANKS)
        if margin <= 0:
            raise ValueError(f'Expected `margin` to be positive, but got {margin!r}.')
        self.margin = margin
        self.rank = rank
        self.loss_weight = loss_weight

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Map logits (N, C) and target (N, C) in {0, 1, -1} to a scalar."""
        return self.loss_weight * warp_loss(logits, target, self.margin, self.rank)
