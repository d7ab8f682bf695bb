"""Fast prediction on a CPU: batch norm is folded into the convolutions before it.

In evaluation, batch norm scales and shifts each channel, which the weights of the convolution can
do: y = gamma (conv(x) - mean) / sqrt(var + eps) + beta. oneDNN computes the activation after the
batch norm while the result is still in the cache. Large images are processed a few at a time, so
that a layer's output is in the cache for the next layer. The layout is channels last, which suits
oneDNN's convolutions.
"""

import copy
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_map

Run = Callable[[nn.Module], Any]

PIXELS_AT_ONCE = 32 * 128 * 128
MAX_SHAPES = 4  # of images to remember, with weights packed for oneDNN


def fold_batch_norm(model: nn.Module, run: Run) -> nn.Module | None:
    """Return a faster copy of a network for CPUs, with the same results up to rounding.

    A run shows which batch norm follows which convolution; names are not used. The copy shares all
    unchanged tensors with the model.

    Args:
        model: Maps images (N, channels, H, W) to a tensor or a tuple of tensors, in evaluation
            mode; it is not changed.
        run: Runs a model on an example.

    Returns:
        The copy, or None if there is nothing to fold.
    """
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    folded = copy.deepcopy(model, shared)
    names = {module: name for name, module in folded.named_modules()}

    pairs = _find_pairs(folded, run)
    for conv, norm in pairs:
        _replace(folded, names[conv], _fold(conv, norm))
        _replace(folded, names[norm], nn.Identity())
    return InParts(folded) if pairs else None


class InParts(nn.Module):
    """Runs a network on a few images at a time.

    Args:
        network: Maps images (N, channels, H, W) to a tensor (N, ...) or nested tuples of tensors.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Any:
        """Return the network's outputs for all images."""
        at_once = max(1, PIXELS_AT_ONCE // (images.shape[2] * images.shape[3]))
        results = [self.network(part) for part in images.split(at_once)]
        return results[0] if len(results) == 1 else tree_map(_join, *results)


def _join(*parts: Tensor) -> Tensor:
    return torch.cat(parts)


def _find_pairs(model: nn.Module, run: Run) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Find each convolution followed by a batch norm, if both are used once."""
    made: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # by the id of results that are kept
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []
    used: list[nn.Module] = []

    def see_conv(conv: nn.Module, inputs: Any, result: Tensor) -> None:
        used.append(conv)
        made[id(result)] = (conv, result)  # type: ignore[assignment]

    def see_norm(norm: nn.Module, inputs: Any) -> None:
        used.append(norm)
        conv, _ = made.get(id(inputs[0]), (None, None))
        if conv is not None:
            pairs.append((conv, norm))  # type: ignore[arg-type]

    hooks = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(see_conv))
        elif isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            hooks.append(module.register_forward_pre_hook(see_norm))
    try:
        run(model)
    finally:
        for hook in hooks:
            hook.remove()
    return [pair for pair in pairs if all(used.count(module) == 1 for module in pair)]


def _fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Module:
    """Return a convolution that includes the batch norm and its activation."""
    weight, bias = fold_weights(conv, norm)
    # timm's batch norm applies these afterwards.
    layers = [getattr(norm, name, None) for name in ('drop', 'act')]
    behind = [layer for layer in layers if layer and not isinstance(layer, nn.Identity)]

    pads_with_zeros = conv.padding_mode == 'zeros' and isinstance(conv.padding, tuple)
    if type(conv) is nn.Conv2d and pads_with_zeros:
        return FoldedConv(conv, weight, bias, behind)
    if _pads_by_size(conv):
        return FoldedConv(conv, weight, bias, behind, pads_by_size=True)

    conv.weight, conv.bias = nn.Parameter(weight, False), nn.Parameter(bias, False)
    return nn.Sequential(conv, *behind)


def fold_weights(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return the combined weight (out, in / groups, h, w) and bias (out,)."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    mean, variance = norm.running_mean.double(), norm.running_var.double()
    gamma = _double_or(norm.weight, torch.ones_like(variance))
    beta = _double_or(norm.bias, torch.zeros_like(mean))
    bias = _double_or(conv.bias, torch.zeros_like(mean))

    scale = gamma / (variance + norm.eps).sqrt()
    shift = beta + (bias - mean) * scale

    dtype = conv.weight.dtype
    weight = conv.weight.detach() * scale.to(dtype)[:, None, None, None]
    return weight, shift.to(dtype)


def _double_or(parameter: Tensor | None, default: Tensor) -> Tensor:
    return default if parameter is None else parameter.detach().double()


def _pads_by_size(conv: nn.Conv2d) -> bool:
    """Return whether a convolution is timm's, which pads as TensorFlow does."""
    try:
        same = import_module('timm.layers').Conv2dSame
    except ImportError:
        return False
    return type(conv) is same


class FoldedConv(nn.Module):
    """A convolution, bias and activation in one pass of oneDNN.

    Args:
        conv: Provides stride, padding, dilation and groups.
        weight: (out, in / groups, h, w).
        bias: (out,).
        behind: The layers after it.
        pads_by_size: Pad so that the result has 1 / stride of the size, with the odd pixel below
            and to the right. A convolution has no such padding. A kernel with an added row and
            column of zeros in front, and equal padding on both sides, sees the same pixels without
            a copy.
    """

    def __init__(
        self,
        conv: nn.Conv2d,
        weight: Tensor,
        bias: Tensor,
        behind: list[nn.Module],
        pads_by_size: bool = False,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight, False)
        self.bias = nn.Parameter(bias, False)
        self.stride, self.dilation = list(conv.stride), list(conv.dilation)
        self.padding, self.groups = conv.padding, conv.groups
        self.pads_by_size = pads_by_size
        self._kept: dict[torch.Size, tuple[Tensor, list[int]] | None] = {}

        self.activation: nn.Module = nn.Identity()
        self.attribute, self.scalars = 'none', []
        if behind and _as_attribute(behind[0]) is not None:
            self.attribute, self.scalars = _as_attribute(behind[0])  # type: ignore[misc]
            self.activation, *behind = behind
        self.behind = nn.Sequential(*behind)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (N, in, H, W) to (N, out, H', W')."""
        if torch.jit.is_tracing():
            return self._plainly(inputs)

        weight, padding = self._packed(inputs.shape)
        result = torch.ops.mkldnn._convolution_pointwise(
            inputs.contiguous(memory_format=torch.channels_last),
            weight,
            self.bias,
            padding,
            self.stride,
            self.dilation,
            self.groups,
            self.attribute,
            self.scalars,
            '',
        )
        return self.behind(result)

    def _plainly(self, inputs: Tensor) -> Tensor:
        """Do the same in operators that can be exported."""
        weights = self.weight, self.bias
        others = self.dilation, self.groups
        if self.pads_by_size:
            totals = self._totals(torch.Size(map(int, inputs.shape)))
            before = [total // 2 for total in totals]
            after = [total - half for total, half in zip(totals, before, strict=True)]
            result = _PaddedConv.apply(inputs, *weights, self.stride, before + after, *others)
        else:
            result = F.conv2d(inputs, *weights, self.stride, self.padding, *others)
        return self.behind(self.activation(result))

    def _packed(self, shape: torch.Size) -> tuple[Tensor, list[int]]:
        """Return the weights packed for images of a shape, and the padding.

        Weights are packed when a shape occurs again: images of differing sizes gain nothing.
        """
        known = self._kept.get(shape)
        if known is not None:
            return known

        weight, padding = self._pad(shape)
        if shape in self._kept:
            weight = torch.ops.mkldnn._reorder_convolution_weight(
                weight, padding, self.stride, self.dilation, self.groups, list(shape)
            )
            self._kept[shape] = weight, padding
        else:
            if len(self._kept) >= MAX_SHAPES:
                self._kept.clear()
            self._kept[shape] = None
        return weight, padding

    def _pad(self, shape: torch.Size) -> tuple[Tensor, list[int]]:
        if not self.pads_by_size:
            return self.weight, list(self.padding)  # type: ignore[arg-type]

        totals = self._totals(shape)
        odd = [total % 2 for total in totals]
        weight = F.pad(self.weight, (odd[1], 0, odd[0], 0)) if any(odd) else self.weight
        return weight, [(total + 1) // 2 for total in totals]

    def _totals(self, shape: torch.Size) -> list[int]:
        """Return the pixels to add to the height and the width of images of a shape."""
        return [
            same_padding(size, kernel, stride, dilation)
            for size, kernel, stride, dilation in zip(
                shape[2:], self.weight.shape[2:], self.stride, self.dilation, strict=True
            )
        ]


class _PaddedConv(torch.autograd.Function):
    """A convolution with a padding of its own on each side, which is one operator of ONNX."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        weight: Tensor,
        bias: Tensor,
        stride: list[int],
        pads: list[int],
        dilation: list[int],
        groups: int,
    ) -> Tensor:
        top, left, bottom, right = pads
        padded = F.pad(inputs, (left, right, top, bottom))
        return F.conv2d(padded, weight, bias, stride, 0, dilation, groups)

    @staticmethod
    def symbolic(
        g: Any,
        inputs: Any,
        weight: Any,
        bias: Any,
        stride: list[int],
        pads: list[int],
        dilation: list[int],
        groups: int,
    ) -> Any:
        return g.op(
            'Conv',
            inputs,
            weight,
            bias,
            pads_i=pads,
            strides_i=stride,
            dilations_i=dilation,
            group_i=groups,
        )


def same_padding(size: int, kernel: int, stride: int, dilation: int) -> int:
    """Return the pixels to add to an axis so that the result has 1 / stride of its size.

    Examples:
        >>> same_padding(64, 3, 2, 1), same_padding(63, 3, 2, 1), same_padding(64, 5, 1, 1)
        (1, 2, 4)
    """
    steps = -(-size // stride) - 1
    return max(0, steps * stride + (kernel - 1) * dilation + 1 - size)


def _as_attribute(module: nn.Module) -> tuple[str, list[float]] | None:
    """Return oneDNN's name and arguments of an activation."""
    if type(module) is nn.ReLU:
        return 'relu', []
    if isinstance(module, nn.Hardtanh):  # ReLU6 is one
        return 'hardtanh', [float(module.min_val), float(module.max_val)]
    if type(module) is nn.SiLU:
        return 'swish', []
    return None


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, own = name.rpartition('.')
    setattr(model.get_submodule(parent), own, module)
