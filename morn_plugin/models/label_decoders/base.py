"""The base of all label decoders, independent of MMPretrain.

Shapes in this folder:
    N  images in a batch
    C  labels (classes) of the vocabulary
    D  width of the CNN's features
    T  steps of the recurrence
    H  LSTM cells (``hidden_dims``)
    M  width of the label embedding (``embed_dims``)
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...utils.checks import check_positive

#: The inputs that a decoder can request.
INPUTS = ('scores', 'logits', 'features', 'feature_map', 'stage_maps')
#: Inputs that keep the image's spatial places.
MAP_INPUTS = ('feature_map', 'stage_maps')


class LabelDecoder(nn.Module, ABC):
    """Predicts the labels of an image from outputs of the CNN.

    A new method is one module with a subclass of this class. ``LabelDecoderHead`` puts it behind
    any backbone, and ``ScoreClassifier`` trains it on cached inputs. The class attributes declare
    the method's inputs and abilities, so other code need not know the method.

    Args:
        num_classes: Number of labels C.

    Raises:
        ValueError: If ``num_classes`` is not positive, or ``inputs`` or ``prepares_from`` names
            something that no CNN provides.
    """

    #: The keyword arguments of ``loss`` and ``predict``:
    #: ``'scores'``, the CNN's label probabilities (N, C), 0-1, and ``'logits'`` before them;
    #: ``'features'`` (N, D), the pooled feature of the last stage;
    #: ``'feature_map'`` (N, D, H, W), that feature before pooling;
    #: ``'stage_maps'``, a tuple of maps (N, D_i, H_i, W_i), one for each of the backbone's
    #: ``out_indices``.
    inputs: tuple[str, ...] = ('scores',)
    #: The inputs that ``prepare`` needs for the whole training set.
    prepares_from: tuple[str, ...] = ()
    #: Whether ``prepare`` must be called before training; implied by ``prepares_from``.
    needs_training_labels = False
    #: Whether a threshold on the scores decides the labels; otherwise ``predict`` returns
    #: ``pred_label``.
    has_threshold = True
    #: Whether ``predict`` returns ``step_scores`` and ``step_labels``.
    has_steps = False
    #: Whether a score is a probability, so that a threshold of 0.5 means something.
    has_probability = True
    #: Whether the prediction for an image depends on the others of its batch.
    depends_on_batch = False
    #: The method's name in tables; None: the name of the class.
    display_name: str | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.prepares_from:
            cls.needs_training_labels = True

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        check_positive(num_classes=num_classes)
        check_inputs(self)
        self.num_classes = num_classes

    @abstractmethod
    def loss(self, *args: Any, **inputs: Any) -> dict[str, Tensor]:
        """Compute the training losses: ``loss(target=target, **inputs)``.

        Args:
            *args: For decoders whose only input is ``scores``: scores, target by position.
            **inputs: The inputs that the class declares, and ``target``: true labels (N, C); 1
                true, 0 false, -1 ignored.

        Returns:
            Scalars to be summed; each name starts with ``loss_``.
        """

    @abstractmethod
    def predict(self, *args: Any, **inputs: Any) -> dict[str, Tensor]:
        """Predict the labels of a batch.

        Args:
            *args: For decoders whose only input is ``scores``: scores by position.
            **inputs: The inputs that the class declares.

        Returns:
            ``pred_score`` (N, C), and optionally ``pred_label`` (N, C), a mask, if the method
            decides itself; ``step_scores`` (N, T, C) and ``step_labels`` (N, T), the label picked
            at each step, -1 after the end; and further fields of the prediction, one row per image.
        """

    def prepare(self, *args: Any, **arrays: Any) -> None:
        """Compute what the method needs from the training set, before training starts.

        It is called as ``prepare(class_names, targets, **arrays)``.

        Keep the result in buffers, so that checkpoints contain it; a buffer may have any size.
        :class:`PrepareDecoderHook` calls this if ``needs_training_labels`` is set.

        Args:
            *args: ``class_names``, the names of the C labels, and ``targets``, the true labels of
                the whole training set, (N, C) int8 in {0, 1, -1}.
            **arrays: The inputs in ``prepares_from``, NumPy arrays in the same image order (a tuple
                of them for ``stage_maps``).
        """

    def logits(self, *args: Any, **inputs: Any) -> Tensor:
        """Return one logit per label (N, C), as ``model(inputs, mode='tensor')`` does.

        This is the inverse sigmoid of ``pred_score``, unless a subclass computes its own logits.
        """
        return torch.logit(self.predict(*args, **inputs)['pred_score'], eps=1e-7)

    def check_target(self, target: Tensor, num_images: int) -> None:
        """Raise if ``target`` is not (N, C). Checks only the shape."""
        if target.shape != (num_images, self.num_classes):
            raise ValueError(
                f'{type(self).__name__} expected a target of shape ({num_images}, '
                f'{self.num_classes}), a row for each image, but got {tuple(target.shape)}.'
            )

    def check_scores(self, scores: Tensor) -> None:
        """Raise if ``scores`` is not (N, C).

        Checks only the shape, so nothing waits for the device.
        """
        if scores.dim() != 2 or scores.shape[1] != self.num_classes:
            raise ValueError(
                f'{type(self).__name__} expected scores of shape (N, {self.num_classes}), one '
                f'probability for each of its classes, but got {tuple(scores.shape)}.'
            )

    def check_features(self, features: Tensor, in_channels: int) -> None:
        """Raise if ``features`` is not (N, D). Checks only the shape."""
        if features.dim() != 2 or features.shape[1] != in_channels:
            raise ValueError(
                f'{type(self).__name__} expected features of shape (N, {in_channels}), but got '
                f'{tuple(features.shape)}: they come from another backbone than it was made for.'
            )

    def check_feature_map(self, feature_map: Tensor, in_channels: int) -> None:
        """Raise if ``feature_map`` is not (N, D, H, W). Checks only the shape."""
        if feature_map.dim() != 4 or feature_map.shape[1] != in_channels:
            raise ValueError(
                f'{type(self).__name__} expected a feature map of shape (N, {in_channels}, H, W), '
                f'but got {tuple(feature_map.shape)}: it comes from another backbone than it was '
                'made for.'
            )

    def check_stage_maps(self, stage_maps: Sequence[Tensor], stage_channels: Sequence[int]) -> None:
        """Raise unless there is one map (N, D_i, H_i, W_i) per number of channels."""
        if len(stage_maps) != len(stage_channels):
            raise ValueError(
                f'{type(self).__name__} was built for {len(stage_channels)} stages '
                f'(stage_channels={tuple(stage_channels)}), but got {len(stage_maps)}: set '
                '`out_indices` of the backbone to as many.'
            )
        for feature_map, channels in zip(stage_maps, stage_channels, strict=True):
            self.check_feature_map(feature_map, channels)

    def check_training_set(self, class_names: Sequence[str], targets: np.ndarray) -> None:
        """Raise unless the training annotations have C classes.

        Raises:
            ValueError: Names the right ``num_classes``.
        """
        if targets.ndim != 2 or {targets.shape[1], len(class_names)} != {self.num_classes}:
            raise ValueError(
                f'{type(self).__name__} was built with num_classes={self.num_classes}, but the '
                f'training annotations name {len(class_names)} classes and have labels of shape '
                f'{targets.shape}: write head=dict(num_classes={len(class_names)}) in the config.'
            )

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Load after resizing the method's own buffers to those in the checkpoint."""
        for name, buffer in list(self._buffers.items()):
            stored = state_dict.get(prefix + name)
            if buffer is not None and isinstance(stored, Tensor) and stored.shape != buffer.shape:
                setattr(self, name, buffer.new_empty(stored.shape))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def check_inputs(module: Any) -> None:
    """Raise unless a CNN provides all ``inputs`` (and ``prepares_from``).

    Args:
        module: A decoder or a decision.

    Raises:
        ValueError: Names the unknown inputs and the available ones.
    """
    for attribute in ('inputs', 'prepares_from'):
        names = getattr(module, attribute, ())
        is_tuple = isinstance(names, tuple | list)
        unknown = [name for name in names if name not in INPUTS] if is_tuple else [names]
        if unknown:
            raise ValueError(
                f'{type(module).__name__}: expected `{attribute}` to be a tuple of names out of '
                f'{", ".join(map(repr, INPUTS))}, but got {", ".join(map(repr, unknown))}.'
            )
