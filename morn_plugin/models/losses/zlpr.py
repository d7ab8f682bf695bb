"""ZLPR: the ranking loss with a threshold built in, every true label above 0 and every false below.

Su, Zhu, Murtadha, Pan, Wen, Liu, "ZLPR: A Novel Loss for Multi-label Classification", arXiv
2208.02955: log(1 + sum over true labels of exp(-z)) + log(1 + sum over false labels of exp(z)). The
formula is timm's; here an ignored label gets a logit so low that as a false one it adds nothing.

N images, C labels.
"""

from mmpretrain.registry import MODELS
from torch import Tensor, nn

from .label_pairs import true_and_false
from .timm_losses import timm_loss_class


@MODELS.register_module()
class ZLPRLoss(nn.Module):
    """timm's ``ZlprLoss`` with ignored labels left out, in float32, averaged over images.

    A label is predicted where its logit is above 0, that is, its sigmoid above 0.5; the sigmoid is
    no calibrated probability.

    Args:
        loss_weight: Factor of the result. Defaults to 1.

    Raises:
        ImportError: If timm is missing or older than 1.0.31.
    """

    takes_ignored = True

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.formula = timm_loss_class('ZlprLoss')()

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Map logits (N, C) and target (N, C) in {0, 1, -1} to a scalar."""
        true, false = true_and_false(logits, target)
        counted = logits.masked_fill(~(true | false), float('-inf'))
        return self.loss_weight * self.formula(counted, true)
