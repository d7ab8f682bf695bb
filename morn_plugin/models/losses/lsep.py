"""Log-sum-exp pairwise ranking: a smooth loss that ranks true labels above false ones.

Li, Song, Luo, "Improving Pairwise Ranking for Multi-label Image Classification", CVPR 2017. The
paper samples pairs of labels. Here all pairs are used: their sum is the product of a sum over the
true and a sum over the false labels, so it costs no more than the labels themselves.

N images, C labels.
"""

import torch.nn.functional as F
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from .label_pairs import masked_logsumexp, true_and_false


def lsep_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Compute log(1 + sum over pairs of exp(z_false - z_true)), averaged over images.

    Args:
        logits: (N, C).
        target: (N, C); 1 true, 0 false, -1 left out of the pairs.

    Returns:
        Scalar. An image without pairs adds 0.

    Raises:
        ValueError: If the shapes do not fit, or a target has another value.

    Examples:
        >>> import torch
        >>> lsep_loss(torch.zeros(1, 3), torch.tensor([[1, 0, 0]])).exp()  # 1 + two pairs
        tensor(3.)
    """
    true, false = true_and_false(logits, target)
    highest_false = masked_logsumexp(logits, false)  # (N,), soft maximum
    lowest_true = -masked_logsumexp(-logits, true)  # (N,), soft minimum
    return F.softplus(highest_false - lowest_true).mean()


@MODELS.register_module()
class LSEPLoss(nn.Module):
    """Registered form of :func:`lsep_loss`.

    The trained logits are ranks: 0 does not separate true from false.

    Args:
        loss_weight: Factor of the result. Defaults to 1.
    """

    takes_ignored = True
    has_probability = False

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Map logits (N, C) and target (N, C) in {0, 1, -1} to a scalar."""
        return self.loss_weight * lsep_loss(logits, target)
