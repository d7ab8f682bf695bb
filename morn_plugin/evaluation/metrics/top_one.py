"""Top-1 accuracy (paper, Table 4)."""

from collections.abc import Sequence
from typing import Any

from mmpretrain.registry import METRICS

from ...models.targets import stack_targets
from .label_sets import ImageMetric, stack_scores


@METRICS.register_module()
class TopOneAccuracy(ImageMetric):
    """Percentage of images whose best label after ONE step of the decoder is a true one.

    Key: ``one-step/top-1``. An image without true labels counts as wrong; an ignored label (-1) is
    passed over.

    Args:
        item: ``'step_scores'`` (T, C), of which the first step counts, or scores (C,) such as
            ``'cnn_score'``.
        collect_device: ``'cpu'`` or ``'gpu'``.
        prefix: Replaces the default prefix of the key.
    """

    default_prefix = 'one-step'

    def __init__(
        self, item: str = 'step_scores', collect_device: str = 'cpu', prefix: str | None = None
    ) -> None:
        super().__init__(collect_device, prefix)
        self.item = item

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep right or wrong for every image of a batch."""
        scores = stack_scores(data_samples, self.item)  # (N, C) or (N, T, C)
        scores = scores[:, 0] if scores.dim() == 3 else scores
        target = stack_targets(data_samples, scores.shape[1])
        best = scores.masked_fill(target < 0, -1).argmax(dim=1, keepdim=True)
        self.results += (target.gather(1, best) > 0).flatten().tolist()

    def compute_metrics(self, results: list[bool]) -> dict[str, float]:
        """Average over images."""
        return {'top-1': 100 * sum(results) / len(results)}
