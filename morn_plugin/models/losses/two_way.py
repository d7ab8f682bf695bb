"""Two-way loss: true above false labels of each image, and true above false images of each label.

Kobayashi, "Two-way Multi-Label Loss", CVPR 2023: in both directions, softplus of a soft maximum
over the false minus a soft minimum over the true logits. The formula is timm's; an ignored entry
gets such a low logit that it adds nothing as a false one.

N images, C labels.
"""

from mmpretrain.registry import MODELS
from torch import Tensor, nn

from .label_pairs import true_and_false
from .timm_losses import timm_loss_class

LOWEST = -1e4  # the value that timm's formula writes over entries left out of a sum


@MODELS.register_module()
class TwoWayLoss(nn.Module):
    """timm's ``TwoWayLoss`` without ignored labels, in float32.

    The loss is averaged over the images with a true label, and over the labels with a true image,
    in the batch. The trained logits are ranks: 0 does not separate true from false.

    Args:
        positive_temperature: Temperature of the soft minimum over true entries. Defaults to 4, the
            paper's.
        negative_temperature: Temperature of the soft maximum over false entries. Defaults to 1, the
            paper's.
        loss_weight: Factor of the result. Defaults to 1.

    Raises:
        ImportError: If timm is missing or older than 1.0.31.
        ValueError: If a temperature is not positive.
    """

    takes_ignored = True
    has_probability = False

    def __init__(
        self,
        positive_temperature: float = 4.0,
        negative_temperature: float = 1.0,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if min(positive_temperature, negative_temperature) <= 0:
            raise ValueError(
                'Expected positive temperatures, but got positive_temperature='
                f'{positive_temperature!r}, negative_temperature={negative_temperature!r}.'
            )

        self.negative_temperature = negative_temperature
        self.loss_weight = loss_weight
        self.formula = timm_loss_class('TwoWayLoss')(positive_temperature, negative_temperature)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Map logits (N, C) and target (N, C) in {0, 1, -1} to a scalar."""
        true, false = true_and_false(logits, target)
        counted = logits.float().masked_fill(~(true | false), LOWEST * self.negative_temperature)
        return self.loss_weight * self.formula(counted, true)
