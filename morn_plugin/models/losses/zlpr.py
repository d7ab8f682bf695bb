"""ZLPR: a ranking loss with a built-in threshold; true labels score above 0, false ones below.

Su, Zhu, Murtadha, Pan, Wen, Liu, "ZLPR: A Novel Loss for Multi-label Classification", arXiv
2208.02955: log(1 + sum over true labels of exp(-z)) + log(1 + sum over false labels of exp(z)). The
formula is timm's; an ignored label gets such a low logit that it adds nothing as a false one.

N images, C labels.
"""

from mmpretrain.registry import MODELS
from torch import Tensor, nn

from .label_pairs import true_and_false
from .timm_losses import timm_loss_class


@MODELS.register_module()
class ZLPRLoss(nn.Module):
    """timm's ``ZlprLoss`` without ignored labels, in float32, averaged over images.

    A label is predicted if its logit is above 0, that is, its sigmoid above 0.5. The sigmoid is not
    a calibrated probability.

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
