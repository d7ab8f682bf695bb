"""timm's multi-label losses under registered names, for configs.

N images, C labels.
"""

from typing import Any

from mmpretrain.registry import MODELS
from torch import Tensor, nn

from ...utils.checks import check_choice
from ...utils.extras import require_extra

ELEMENTWISE = (
    'AsymmetricLossMultiLabel',
    'BinaryCrossEntropy',
    'DistributionBalancedLoss',
    'PolyBinaryCrossEntropy',
)


def timm_loss_class(name: str) -> type[nn.Module]:
    """Return a loss class of timm by its name.

    Raises:
        ImportError: If timm is not installed, or does not have that loss yet.
    """
    losses = require_extra('timm.loss', 'timm')
    if not hasattr(losses, name):
        raise ImportError(
            f'This timm has no loss {name}, which came with timm 1.0.31: pip install -U '
            "'morn-plugin[timm]'"
        )
    return getattr(losses, name)


@MODELS.register_module()
class TimmLoss(nn.Module):
    """An elementwise loss of timm.

    It returns one value per entry; :func:`~morn_plugin.models.losses.label_loss` leaves out ignored
    labels, sums over labels and averages over images. For example, the focusing weights of the
    original asymmetric loss carry no gradient; that is ``name='AsymmetricLossMultiLabel',
    disable_torch_grad_focal_loss=True``.

    Args:
        name: ``'AsymmetricLossMultiLabel'``, ``'BinaryCrossEntropy'``,
            ``'DistributionBalancedLoss'`` or ``'PolyBinaryCrossEntropy'``.
        loss_weight: Factor of the result. Defaults to 1.
        **options: Arguments of that class, except ``reduction``.

    Raises:
        ImportError: If timm is missing or older than 1.0.31.
        ValueError: If ``name`` is unknown.
    """

    def __init__(
        self,
        name: str,
        loss_weight: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__()
        check_choice('name', name, ELEMENTWISE)
        self.loss_weight = loss_weight
        self.formula = timm_loss_class(name)(reduction='none', **options)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Map logits (N, C) and target (N, C), 0-1, to values (N, C)."""
        return self.loss_weight * self.formula(logits, target)
