"""A timm network that returns the maps of earlier stages beside its last one."""

from collections.abc import Sequence
from typing import Any

from mmpretrain.models.backbones import TIMMBackbone
from mmpretrain.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class TIMMStages(TIMMBackbone):
    """MMPretrain's ``TIMMBackbone`` with maps of several stages.

    timm's own ``features_only`` ends before the last convolution of an EfficientNet, so its last
    map is another one, with 320 channels instead of 1,280. Here the last map stays the same, and
    so do the names of the weights: checkpoints of either class fit the other.

    Args:
        *args: Of ``TIMMBackbone``.
        stages: Stages whose maps come before the last one, counted from 0 as timm's
            ``feature_info`` counts them. Defaults to none.
        **kwargs: Of ``TIMMBackbone``.

    Raises:
        ValueError: If the network cannot return its stages, or does not have one of them.

    Examples:
        >>> import torch
        >>> backbone = TIMMStages('tf_efficientnet_lite0', stages=(3,))
        >>> [tuple(part.shape) for part in backbone(torch.rand(1, 3, 64, 64))]
        [(1, 112, 4, 4), (1, 1280, 2, 2)]
    """

    def __init__(
        self,
        *args: Any,
        stages: Sequence[int] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.stages = list(stages)
        if not stages:
            return

        if not hasattr(self.timm_model, 'forward_intermediates'):
            raise ValueError(
                f'Expected a timm network that can return the maps of its stages, but '
                f'{type(self.timm_model).__name__} has no `forward_intermediates`.'
            )

        number = len(self.timm_model.feature_info)
        wrong = [stage for stage in stages if not 0 <= stage < number]
        if wrong or self.stages != sorted(set(stages)):
            raise ValueError(
                f'stages: expected ascending numbers from 0 to {number - 1}, but got {stages}.'
            )

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the maps (N, D, H, W) of the stages that were asked for, the last map last.

        Args:
            images: Normalised images (N, 3, H, W).
        """
        if not self.stages:
            return super().forward(images)
        last, maps = self.timm_model.forward_intermediates(images, indices=self.stages)
        return (*maps, last)
