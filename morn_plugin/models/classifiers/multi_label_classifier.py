"""An image classifier with frozen parts and a choice of memory layout."""

from collections.abc import Sequence
from contextlib import nullcontext
from functools import cached_property, partial
from typing import Any

import torch
from mmpretrain.models import GlobalAveragePooling, ImageClassifier
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from ...utils.precision import cast, find_dtype
from ..features import check_before_pooling, find_width
from ..layer_depth import explain_missing_depths, list_timm_depths
from ..pretrained import load_pretrained, take_pretrained

CNN = ('backbone', 'neck', 'head.fc')


@MODELS.register_module()
class MultiLabelClassifier(ImageClassifier):
    """MMPretrain's ``ImageClassifier``, with frozen parts and a choice of memory layout.

    A frozen part keeps its weights and its running statistics, and stays in evaluation mode while
    the rest trains. Freezing happens when the model is built, before it is wrapped for distributed
    training, so DDP expects no gradient for frozen parameters.

    Args:
        *args: Those of ``ImageClassifier``.
        frozen: Names of submodules; ``('backbone', 'neck', 'head.fc')`` is the CNN of the paper's
            second stage.
        channels_last: Store images and weights as NHWC. The results are the same up to rounding;
            depthwise convolutions are faster on a CPU. Defaults to False.
        **kwargs: Those of ``ImageClassifier``.

    Raises:
        ValueError: If a submodule does not exist.
    """

    neck: Any
    #: Whether training needs the map before pooling, whatever the head needs.
    looks_at_maps = False

    def __init__(
        self,
        *args: Any,
        frozen: Sequence[str] = (),
        channels_last: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if self.with_neck:
            width = find_width(self.backbone) or getattr(self.head, 'in_channels', None)
            self.neck.register_forward_pre_hook(partial(check_before_pooling, width=width))

        self.channels_last = channels_last
        if channels_last:
            self.to(memory_format=torch.channels_last)
        self._let_the_head_pool()
        self.frozen = tuple(frozen)
        for part in self._frozen_parts():
            part.requires_grad_(False)

    def keep_inputs(self, names: Sequence[str]) -> None:
        """Keep a label decoder's inputs in the predictions, for extraction.

        Args:
            names: Such as ``'logits'``, ``'features'``, ``'feature_map'``, ``'stage_maps'``.

        Raises:
            ValueError: If the head does not come from this package.
        """
        if not hasattr(self.head, 'kept_inputs'):
            raise ValueError(
                f'Expected a LabelDecoderHead to extract {", ".join(names)} with, but got '
                f'{type(self.head).__name__}.'
            )
        self.head.kept_inputs = tuple(names)
        self._let_the_head_pool()

    def _let_the_head_pool(self) -> None:
        """Remove an average pooling in front of a head that needs the map before pooling."""
        neck = getattr(self, 'neck', None)
        wants_maps = self.looks_at_maps or getattr(self.head, 'wants_maps', False)
        if isinstance(neck, GlobalAveragePooling) and wants_maps:
            self.neck = None
            self.head.pools_maps = True

    def init_weights(self) -> None:
        """Initialise, and load the weights of the backbone's ``init_cfg``.

        See :func:`load_pretrained`.
        """
        pretrained = take_pretrained(self.backbone)
        super().init_weights()
        for entry in pretrained:
            entry.pop('type')
            load_pretrained(self.backbone, **entry)

    def train(self, mode: bool = True) -> 'MultiLabelClassifier':
        """Set the mode of all parts except the frozen ones."""
        super().train(mode)
        for part in self._frozen_parts():
            part.eval()
        return self

    def extract_feat(self, inputs: Tensor, stage: str = 'neck') -> Any:
        """Extract features; in training a frozen extractor keeps no graph.

        In evaluation, with gradients on, the graph is kept: class activation maps need the gradient
        of a score at a layer, even a frozen one.
        """
        dtype = find_dtype(self.backbone)
        inputs = cast(inputs, dtype)
        if self.channels_last:
            inputs = inputs.contiguous(memory_format=torch.channels_last)

        is_frozen = 'backbone' in self.frozen and ('neck' in self.frozen or not self.with_neck)
        wants_graph = torch.is_grad_enabled() and not (is_frozen and self.training)
        if is_frozen and wants_graph:
            inputs = inputs.detach().requires_grad_()

        # Backbones may mix float32 with half-precision weights, as Swin does with its masks.
        is_half = dtype in (torch.float16, torch.bfloat16)
        half = torch.autocast(inputs.device.type, dtype) if is_half else nullcontext()
        with torch.set_grad_enabled(wants_graph), half:
            return super().extract_feat(inputs, stage)

    def get_layer_depth(self, param_name: str) -> tuple[int, int]:
        """Return the depth of a parameter, for ``LearningRateDecayOptimWrapperConstructor``.

        Args:
            param_name: Its name in this model. Neck and head, with the decoder, are the deepest.

        Returns:
            Its depth, 0 for the stem, and the number of layers.

        Raises:
            NotImplementedError: If the backbone's layers cannot be numbered; says what to do.
        """
        if hasattr(self.backbone, 'timm_model'):
            depths = self._timm_depths
            num_layers = max(depths.values()) + 2
            name = param_name.removeprefix('backbone.timm_model.')
            return depths.get(name, num_layers - 1), num_layers

        try:
            return super().get_layer_depth(param_name)
        except NotImplementedError as error:
            raise NotImplementedError(explain_missing_depths(self.backbone)) from error

    @cached_property
    def _timm_depths(self) -> dict[str, int]:
        return list_timm_depths(self.backbone.timm_model)

    def _frozen_parts(self) -> list[nn.Module]:
        modules = dict(self.named_modules())
        parts = []
        for name in getattr(self, 'frozen', ()):
            if name == 'neck' and not self.with_neck:
                continue
            if name not in modules:
                raise ValueError(
                    f'Expected `frozen` to name submodules of the model, but it has no {name!r}; '
                    f'top-level ones are {[name for name, _ in self.named_children()]}.'
                )

            parts.append(modules[name])

        return parts
