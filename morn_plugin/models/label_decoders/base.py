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

#: What a decoder can ask to see of an image.
INPUTS = ('scores', 'logits', 'features', 'feature_map', 'stage_maps')
#: Inputs that keep the image's spatial places.
MAP_INPUTS = ('feature_map', 'stage_maps')


class LabelDecoder(nn.Module, ABC):
    """Turns what a CNN knows of an image into the labels of the image.

    A new method is one module with a subclass of this class; ``LabelDecoderHead`` puts it behind
    any backbone, ``ScoreClassifier`` trains it on cached inputs. The class attributes say what the
    method sees and can do, so consumers need not know the method.

    Args:
        num_classes: Number of labels C.

    Raises:
        ValueError: If ``num_classes`` is not positive, or ``inputs`` or ``prepares_from`` names
            something that no CNN offers.
    """

    #: What ``loss`` and ``predict`` are called with, by these names:
    #: ``'scores'``, the CNN's label probabilities (N, C), 0-1, and ``'logits'`` before them;
    #: ``'features'`` (N, D), the pooled feature of the last stage;
    #: ``'feature_map'`` (N, D, H, W), that feature before pooling;
    #: ``'stage_maps'``, a tuple of maps (N, D_i, H_i, W_i), one for each of the backbone's
    #: ``out_indices``.
    inputs: tuple[str, ...] = ('scores',)
    #: Which of the inputs ``prepare`` needs of the whole training set.
    prepares_from: tuple[str, ...] = ()
    #: Whether ``prepare`` has to be called before training; implied by ``prepares_from``.
    needs_training_labels = False
    #: Whether labels are those with a score above a threshold; otherwise ``predict`` returns
    #: ``pred_label``.
    has_threshold = True
    #: Whether ``predict`` returns ``step_scores`` and ``step_labels``.
    has_steps = False
    #: Whether a score is a probability, so that a threshold of 0.5 means something.
    has_probability = True
    #: What tables call the method; None: the name of the class.
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
            *args: For decoders of scores alone, which may be called by position: scores, target.
            **inputs: What the class's ``inputs`` names, and ``target``: true labels (N, C); 1 true,
                0 false, -1 ignored.

        Returns:
            Scalars to be summed, each under a name that starts with ``loss_``.
        """

    @abstractmethod
    def predict(self, *args: Any, **inputs: Any) -> dict[str, Tensor]:
        """Predict the labels of a batch.

        Args:
            *args: For decoders of scores alone, which may be called by position.
            **inputs: What the class's ``inputs`` names.

        Returns:
            ``pred_score`` (N, C), and optionally ``pred_label`` (N, C), a mask, where the method
            decides itself; ``step_scores`` (N, T, C) and ``step_labels`` (N, T), the label picked
            at each step, -1 after the end; and any further field of the prediction, one row for
            each image.
        """

    def prepare(self, *args: Any, **arrays: Any) -> None:
        """Take what the method needs from the training set, before training starts.

        It is called as ``prepare(class_names, targets, **arrays)``.

        Keep it in buffers, so that checkpoints hold it; a buffer may have any size.
        :class:`PrepareDecoderHook` calls this where ``needs_training_labels`` is set.

        Args:
            *args: ``class_names``, the names of the C labels, and ``targets``, the true labels of
                the whole training set, (N, C) int8 in {0, 1, -1}.
            **arrays: What ``prepares_from`` names, NumPy arrays in the same order (a tuple of them
                for ``stage_maps``).
        """

    def logits(self, *args: Any, **inputs: Any) -> Tensor:
        """Return one logit a label (N, C), what ``model(inputs, mode='tensor')`` returns.

        The inverse sigmoid of ``pred_score``, unless a subclass has logits of its own.
        """
        return torch.logit(self.predict(*args, **inputs)['pred_score'], eps=1e-7)

    def check_target(self, target: Tensor, num_images: int) -> None:
        """Raise if ``target`` is not (N, C); checks the shape alone."""
        if target.shape != (num_images, self.num_classes):
            raise ValueError(
                f'{type(self).__name__} expected a target of shape ({num_images}, '
                f'{self.num_classes}), a row for each image, but got {tuple(target.shape)}.'
            )

    def check_scores(self, scores: Tensor) -> None:
        """Raise if ``scores`` is not (N, C).

        Checks the shape alone, so nothing waits for the device.
        """
        if scores.dim() != 2 or scores.shape[1] != self.num_classes:
            raise ValueError(
                f'{type(self).__name__} expected scores of shape (N, {self.num_classes}), one '
                f'probability for each of its classes, but got {tuple(scores.shape)}.'
            )

    def check_features(self, features: Tensor, in_channels: int) -> None:
        """Raise if ``features`` is not (N, D); checks the shape alone."""
        if features.dim() != 2 or features.shape[1] != in_channels:
            raise ValueError(
                f'{type(self).__name__} expected features of shape (N, {in_channels}), but got '
                f'{tuple(features.shape)}: they come from another backbone than it was made for.'
            )

    def check_feature_map(self, feature_map: Tensor, in_channels: int) -> None:
        """Raise if ``feature_map`` is not (N, D, H, W); checks the shape alone."""
        if feature_map.dim() != 4 or feature_map.shape[1] != in_channels:
            raise ValueError(
                f'{type(self).__name__} expected a feature map of shape (N, {in_channels}, H, W), '
                f'but got {tuple(feature_map.shape)}: it comes from another backbone than it was '
                'made for.'
            )

    def check_stage_maps(self, stage_maps: Sequence[Tensor], stage_channels: Sequence[int]) -> None:
        """Raise unless there is a map (N, D_i, H_i, W_i) for each number of channels."""
        if len(stage_maps) != len(stage_channels):
            raise ValueError(
                f'{type(self).__name__} was built for {len(stage_channels)} stages '
                f'(stage_channels={tuple(stage_channels)}), but got {len(stage_maps)}: set '
                '`out_indices` of the backbone to as many.'
            )
        for feature_map, channels in zip(stage_maps, stage_channels, strict=True):
            self.check_feature_map(feature_map, channels)

    def check_training_set(self, class_names: Sequence[str], targets: np.ndarray) -> None:
        """Raise unless the training annotations are of C classes.

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
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        """Load, after giving the method's own buffers the sizes of those in the checkpoint."""
        for name, buffer in list(self._buffers.items()):
            stored = state_dict.get(prefix + name)
            if buffer is not None and isinstance(stored, Tensor) and stored.shape != buffer.shape:
                setattr(self, name, buffer.new_empty(stored.shape))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def check_inputs(module: Any) -> None:
    """Raise unless ``inputs`` (and ``prepares_from``) name what a CNN offers.

    Args:
        module: A decoder or a decision.

    Raises:
        ValueError: Names the unknown inputs and those that there are.
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
