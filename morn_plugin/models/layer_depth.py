"""The depth of each layer, for learning rates that decrease from the head to the first layer."""

from typing import Any

from torch import nn

CONSTRUCTOR = 'LearningRateDecayOptimWrapperConstructor'


def list_timm_depths(timm_model: Any) -> dict[str, int]:
    """Number the layers of a timm model from the stem on, in timm's own groups.

    Args:
        timm_model: The ``TIMMBackbone.timm_model``.

    Returns:
        The depth of each parameter by name; 0 is the stem, without gaps.
    """
    from timm.models import group_parameters

    matcher = timm_model.group_matcher(coarse=False)
    depths = group_parameters(timm_model, matcher, reverse=True)
    numbers = {depth: number for number, depth in enumerate(sorted(set(depths.values())))}
    return {name: numbers[depth] for name, depth in depths.items()}


def explain_missing_depths(backbone: nn.Module) -> str:
    """Explain what to do about a backbone whose layers cannot be numbered."""
    return (
        f'{CONSTRUCTOR} needs to know how deep each layer of {type(backbone).__name__} lies, which '
        'this backbone cannot tell (of MMPretrain, ResNet-50 and deeper, ConvNeXt, Swin, ViT and '
        'BEiT can; of timm, through TIMMBackbone, nearly all). Use one rate for the backbone: '
        'optim_wrapper=dict(paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1)))).'
    )
