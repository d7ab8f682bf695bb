"""What every label decoder offers to the head, and nothing of MMPretrain.

Shapes in this folder:
    N  images in a batch
    C  labels (classes) of the vocabulary
    T  steps of the recurrence
    H  LSTM cells (``hidden_dims``)
    M  width of the label embedding (``embed_dims``)
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from torch import Tensor, nn

from ...utils.checks import check_positive


class LabelDecoder(nn.Module, ABC):
    """Turns the label probabilities of a CNN into the labels of an image.

    A new decoder is one module with a subclass of this class; ``LabelDecoderHead`` puts it behind
    any backbone.

    Args:
        num_classes: Number of labels C.
    """

    #: Whether ``prepare`` has to be called before training.
    needs_training_labels = False
    #: Whether labels are those with a score above a threshold; otherwise ``predict`` gives
    #: ``pred_label``.
    has_threshold = True

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        check_positive(num_classes=num_classes)
        self.num_classes = num_classes

    @abstractmethod
    def loss(self, scores: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Give the training losses.

        Args:
            scores: The CNN's label probabilities (N, C), 0-1.
            target: True labels (N, C); 1 true, 0 false, -1 to be ignored.

        Returns:
            Scalars to be summed, each under a name that starts with ``loss_``.
        """

    def prepare(self, class_names: Sequence[str], targets: np.ndarray) -> None:
        """Take from the training annotations what the decoder needs of them.

        Before training starts.

        What is taken belongs into buffers, so that checkpoints hold it. :class:`PrepareDecoderHook`
        calls this where ``needs_training_labels`` is set.

        Args:
            class_names: Names of the C labels.
            targets: True labels of the whole training set (N, C), int8 in {0, 1, -1}.
        """

    @abstractmethod
    def predict(self, scores: Tensor) -> dict[str, Tensor]:
        """Give the predictions for a batch.

        Args:
            scores: The CNN's label probabilities (N, C), 0-1.

        Returns:
            ``pred_score`` (N, C), probabilities 0-1, and whatever else the decoder wants to be in
            the prediction, one
            row an image: ``pred_label`` where the decoder decides itself, as a (N, C) mask,
                ``step_scores`` ...
        """

    def check_target(self, target: Tensor, num_images: int) -> None:
        """Raise if ``target`` is not (N, C); looks at the shape alone."""
        if target.shape != (num_images, self.num_classes):
            raise ValueError(
                f'{type(self).__name__} expected a target of shape ({num_images}, '
                f'{self.num_classes}), a row for each image, but got {tuple(target.shape)}.'
            )

    def check_scores(self, scores: Tensor) -> None:
        """Raise if ``scores`` is not (N, C).

        Looks at the shape alone, so that nothing waits for the device.
        """
        if scores.dim() != 2 or scores.shape[1] != self.num_classes:
            raise ValueError(
                f'{type(self).__name__} expected scores of shape (N, {self.num_classes}), one '
                f'probability for each of its classes, but got {tuple(scores.shape)}.'
            )
