"""Base class of all metrics: one entry per image, and checked scores."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor

from ...models.targets import describe, stack_targets

# Scores that a model may lack: without a CNN there are no scores of the CNN alone.
OPTIONAL_ITEMS = ('cnn_score',)


class ImageMetric(BaseMetric):
    """A metric with one entry per image, the same for any number of processes.

    A subclass defines the entry of an image (:meth:`entries`) and the figures of all entries
    (:meth:`figures`). ``cnn_score`` is a field that a model may lack: if all images lack it, there
    are no figures; if only some do, that is an error.

    Args:
        item: Which scores of the prediction: ``'pred_score'``, or ``'cnn_score'`` for the CNN
            alone.
        collect_device: ``'cpu'`` or ``'gpu'``.
        prefix: Replaces the default prefix of the keys.

    Raises:
        ValueError: While running, if a score is NaN or outside 0-1, or missing, or no image was
            tested.
    """

    def __init__(
        self,
        item: str = 'pred_score',
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device, prefix)
        self.item = item
        self.num_classes = 0

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep an entry for each image of a batch, or its name if it lacks optional scores."""
        if self.item in OPTIONAL_ITEMS and not any(self.item in sample for sample in data_samples):
            self.results += [describe(sample) for sample in data_samples]
            return

        scores = self.read_scores(data_samples)
        self.num_classes = scores.shape[-1]
        targets = stack_targets(data_samples, self.num_classes).numpy()
        self.results += self.entries(scores.numpy(), targets, data_samples)

    def read_scores(self, data_samples: Sequence[dict]) -> Tensor:
        """Stack the scores of a batch, (N, C)."""
        return stack_scores(data_samples, self.item)

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Compute the figures from the entries of all images; none if no image has the scores."""
        lacking = [entry for entry in results if isinstance(entry, str)]
        if len(lacking) == len(results):
            return {}
        if lacking:
            raise ValueError(
                f'Expected `{self.item}` in the predictions of all {len(results)} images or of '
                f'none, but {len(lacking)} lack it, the first of them {lacking[0]}.'
            )

        return self.figures(results)

    def evaluate(self, size: int) -> dict[str, float]:
        """Compute the figures; ``size`` is the number of images in the whole data set.

        Raises:
            ValueError: If no image was tested.
        """
        if not self.results:
            raise ValueError(
                f'{type(self).__name__} has seen no image: is the test data set empty?'
            )
        return super().evaluate(size)

    @abstractmethod
    def entries(
        self,
        scores: np.ndarray,
        targets: np.ndarray,
        data_samples: Sequence[dict],
    ) -> Sequence[Any]:
        """Return the entry of each image of a batch; no text.

        Args:
            scores: (N, C) float32, 0-1.
            targets: (N, C); positive true, 0 false, negative ignored.
            data_samples: The predictions, for other fields.
        """

    @abstractmethod
    def figures(self, results: list[Any]) -> dict[str, float]:
        """Compute the figures from the entries of all images."""


class ScoreMetric(ImageMetric):
    """Keeps the scores and the true labels of every image, five bytes per label."""

    def entries(
        self,
        scores: np.ndarray,
        targets: np.ndarray,
        data_samples: Sequence[dict],
    ) -> Sequence[bytes]:
        """Keep scores and true labels."""
        signs = np.sign(targets).astype(np.int8)
        return [
            score.tobytes() + sign.tobytes()
            for score, sign in zip(scores.astype(np.float32), signs, strict=True)
        ]

    def unpack(self, results: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """Return the scores, float32 (N, C), and the targets, int8 (N, C) in {0, 1, -1}."""
        layout = np.dtype(
            [('score', np.float32, self.num_classes), ('sign', np.int8, self.num_classes)]
        )
        table = np.frombuffer(b''.join(results), dtype=layout)
        return table['score'], table['sign']


def stack_scores(samples: Sequence[dict], item: str) -> Tensor:
    """Stack one kind of scores of a batch on the CPU.

    Returns:
        Float (N, ...), (N, C) for ``pred_score``.

    Raises:
        ValueError: If an image has no scores, a NaN, or a score outside 0-1; names the image.
    """
    for sample in samples:
        if item not in sample:
            raise ValueError(
                f'Expected the prediction to contain `{item}`, but got {sorted(sample.keys())}, '
                f'for {describe(sample)}.'
            )

    scores = torch.stack([sample[item] for sample in samples]).float().cpu()
    wrong = ~((scores >= 0) & (scores <= 1))  # NaN fails both comparisons
    if bool(wrong.any()):
        row = int(wrong.flatten(1).any(1).nonzero()[0])
        value = scores[row][wrong[row]][0].item()
        raise ValueError(
            f'Expected `{item}` to be probabilities in 0-1, but got {value} for '
            f'{describe(samples[row])}.'
        )

    return scores
