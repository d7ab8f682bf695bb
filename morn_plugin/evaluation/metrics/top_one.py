"""Top-1 accuracy (paper, Table 4)."""

from collections.abc import Sequence

import numpy as np
from mmpretrain.registry import METRICS
from torch import Tensor

from ..functional import best_is_true
from .image_metric import ImageMetric, stack_scores


@METRICS.register_module()
class TopOneAccuracy(ImageMetric):
    """Percentage of images whose best label after ONE step of the decoder is true.

    Key: ``one-step/top-1``. An image without true labels counts as wrong; an ignored label (-1) is
        skipped.

    Args:
        item: ``'step_scores'`` (T, C), of which the first step counts, or scores (C,) such as
            ``'cnn_score'``. A model without steps has no ``step_scores``; its ``pred_score`` is
            used.
        collect_device: ``'cpu'`` or ``'gpu'``.
        prefix: Replaces the default prefix of the key.
    """

    default_prefix = 'one-step'

    def __init__(
        self,
        item: str = 'step_scores',
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(item, collect_device, prefix)

    def read_scores(self, data_samples: Sequence[dict]) -> Tensor:
        """Stack the scores of the first step, or those of a model without steps, (N, C)."""
        has_steps = any(self.item in sample for sample in data_samples)
        without = self.item == 'step_scores' and not has_steps
        scores = stack_scores(data_samples, 'pred_score' if without else self.item)
        return scores[:, 0] if scores.dim() == 3 else scores

    def entries(
        self,
        scores: np.ndarray,
        targets: np.ndarray,
        data_samples: Sequence[dict],
    ) -> Sequence[bool]:
        """Keep whether each image is right."""
        return best_is_true(scores, targets).tolist()

    def figures(self, results: list[bool]) -> dict[str, float]:
        """Average over images."""
        return {'top-1': 100 * sum(results) / len(results)}
