"""Identifies a backbone's feature, and the neck that pools it to (N, D) for a head.

N images, D features, L tokens, H x W places. Pooling over the wrong axes also yields a vector, and
the model would train on nonsense. So the shape is identified first.
"""

from math import isqrt
from typing import Any

from mmpretrain.models import GeneralizedMeanPooling, GlobalAveragePooling
from torch import Tensor, nn

# Number of tokens that timm's and MMPretrain's transformers put before those of the image: a class
# token; none; class and distillation token; class token and four registers.
PREFIXES = (1, 0, 2, 5)


def find_width(backbone: nn.Module) -> int | None:
    """Return the number of features D that a timm backbone declares, else None."""
    timm_model: Any = getattr(backbone, 'timm_model', None)
    info: Any = getattr(timm_model, 'feature_info', None)
    if hasattr(info, 'channels'):
        return info.channels()[-1]
    return getattr(timm_model, 'num_features', None)


def describe_unpooled(feature: Any, width: int | None = None) -> str:
    """Describe a feature that a head cannot use, and the remedy.

    Args:
        feature: The last stage of backbone and neck, not (N, D).
        width: The number of features D, if known.

    Returns:
        Its kind and shape, and the neck that it needs.
    """
    if not isinstance(feature, Tensor):
        return _describe_several(feature)

    shape = tuple(feature.shape)
    if feature.dim() == 3:
        return f'{shape}, ' + _describe_tokens(shape, width)
    if feature.dim() == 4:
        return f'{shape}, ' + _describe_map(shape, width)
    return f'{shape}: add a neck that pools it to (N, D).'


def check_before_pooling(
    neck: nn.Module,
    inputs: tuple[Any, ...],
    width: int | None,
) -> None:
    """Refuse a feature that a neck would pool over the wrong axes (forward pre-hook).

    Args:
        neck: The module after the backbone; only MMPretrain's poolings of (N, D, H, W) are checked.
        inputs: Its arguments, the stages of the backbone.
        width: The number of features D, if known.

    Raises:
        ValueError: If the feature has tokens, or channels last.
    """
    feature = inputs[0][-1] if isinstance(inputs[0], tuple) else inputs[0]
    if not _pools_maps(neck) or not isinstance(feature, Tensor):
        return

    shape = tuple(feature.shape)
    if feature.dim() == 3 or (feature.dim() == 4 and _has_channels_last(shape, width)):
        raise ValueError(
            f'{type(neck).__name__} expected feature maps (N, D, H, W) of the backbone, but got '
            f'{describe_unpooled(feature, width)}'
        )


def _pools_maps(neck: nn.Module) -> bool:
    if isinstance(neck, GlobalAveragePooling):
        return isinstance(neck.gap, nn.AdaptiveAvgPool2d)
    return isinstance(neck, GeneralizedMeanPooling)


def _describe_several(feature: Any) -> str:
    shapes = [tuple(getattr(part, 'shape', ())) for part in feature]
    return (
        f'{len(shapes)} of them, {shapes}: a convolutional and a token branch (Conformer), or a '
        'class and a distillation token (DistilledVisionTransformer), which only heads of their '
        'own put together. Use a backbone that gives one feature, such as VisionTransformer.'
    )


def _describe_tokens(shape: tuple[int, ...], width: int | None) -> str:
    _, second, third = shape
    if second == width != third:
        return "one channel a row: add neck=dict(type='GlobalAveragePooling', dim=1) to the model."

    prefix = next((k for k in PREFIXES if second > k and _is_square(second - k)), None)
    if prefix == 0:
        how = "neck=dict(type='TokenPooling', mode='mean', num_prefix_tokens=0)"
        which = 'their mean'
    else:
        how = "neck=dict(type='TokenPooling')"
        which = 'the class token'

    return (
        f'{second} tokens of {third} features, as a vision transformer gives: add {how} to the '
        f'model, which takes {which}' + _name_width(third, width) + '.'
    )


def _describe_map(shape: tuple[int, ...], width: int | None) -> str:
    first = shape[1]
    last = shape[-1]
    channels_first = (
        "a map with the channels first: add neck=dict(type='GlobalAveragePooling') to the model"
        + _name_width(first, width)
    )
    channels_last = (
        "a map with the channels last, as timm's Swin gives: add "
        "neck=dict(type='ChannelLastPooling') to the model" + _name_width(last, width)
    )
    if _has_channels_last(shape, width):
        return f'{channels_last}.'
    if first == width or shape[2] == last:
        return f'{channels_first}.'

    return f'either {channels_first}; or {channels_last}.'


def _has_channels_last(shape: tuple[int, ...], width: int | None) -> bool:
    """Return whether a map is (N, H, W, D), by its width, or else by the square shape of images."""
    _, first, second, last = shape
    if width in (first, last):
        return width != first
    return first == second != last


def _name_width(found: int, width: int | None) -> str:
    return '' if found == width else f', and head=dict(in_channels={found})'


def _is_square(number: int) -> bool:
    return isqrt(number) ** 2 == number
