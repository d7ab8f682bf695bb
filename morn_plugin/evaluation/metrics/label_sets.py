"""Metrics on label sets: per label, per image, and the best constant answer.

Every metric keeps one short string of bytes an image, so that any number of processes collects the
same entries.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmpretrain.registry import METRICS
from torch import Tensor

from ...datasets.annotations import load_annotations
from ...models.heads.label_decoder_head import select_labels
from ...models.targets import describe, stack_targets
from ...utils.checks import check_choice, check_thr_topk
from ..functional import (
    UNDEFINED,
    Counts,
    PrecisionRecallF1,
    count_images,
    count_labels,
    mean_precision_recall_f1,
    pack_labels,
    unpack_labels,
)


class ImageMetric(BaseMetric):
    """A metric with one entry an image."""

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


class LabelSetMetric(ImageMetric):
    """Collects the predicted and the true label set of every image.

    Args:
        thr: Labels with a score strictly greater are predicted, 0-1, or C such numbers. Defaults to
            None, 0.5.
        topk: Take this many best labels instead.
        use_pred_label: Take the prediction's own ``pred_label`` instead: for decoders that decide
            themselves.
        item: Which scores of the prediction: ``'pred_score'``, or ``'cnn_score'`` for the CNN
            alone.
        collect_device: ``'cpu'`` or ``'gpu'``.
        prefix: Replaces the default prefix of the keys.

    Raises:
        ValueError: If an argument is out of range; while running, if a score is NaN or outside 0-1,
            or missing.
    """

    def __init__(
        self,
        thr: float | Sequence[float] | None = None,
        topk: int | None = None,
        use_pred_label: bool = False,
        item: str = 'pred_score',
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device, prefix)
        check_thr_topk(thr, topk)
        if use_pred_label and (thr is not None or topk is not None):
            raise ValueError(
                'Expected either `use_pred_label` or one of `thr` and `topk`, but got both.'
            )
        self.thr, self.topk = thr, topk
        self.use_pred_label, self.item = use_pred_label, item
        self.num_classes = 0

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the label sets of a batch."""
        scores = stack_scores(data_samples, self.item)
        self.num_classes = scores.shape[1]
        target = stack_targets(data_samples, self.num_classes).numpy()
        self.results += pack_labels(self.predicted_labels(scores, data_samples).numpy(), target)

    def predicted_labels(self, scores: Tensor, data_samples: Sequence[dict]) -> Tensor:
        """Mark the predicted labels of a batch, boolean (N, C)."""
        if not self.use_pred_label:
            return select_labels(scores, self.thr, self.topk)
        predicted = torch.zeros_like(scores, dtype=torch.bool)
        for row, sample in zip(predicted, data_samples, strict=True):
            row[sample['pred_label'].cpu()] = True
        return predicted


class _PrecisionRecallF1Metric(LabelSetMetric):
    """Adds how undefined ratios count, and the keys."""

    def __init__(self, *args: Any, undefined: str = 'zero', **kwargs: Any) -> None:
        check_choice('undefined', undefined, UNDEFINED)
        super().__init__(*args, **kwargs)
        self.undefined = undefined

    @staticmethod
    def _as_dict(values: PrecisionRecallF1) -> dict[str, float]:
        return {'precision': values.precision, 'recall': values.recall, 'f1-score': values.f1}


@METRICS.register_module()
class PerLabelF1(_PrecisionRecallF1Metric):
    """P_L, R_L and F1_L: means over labels, and the harmonic mean of the two (paper, Sec. 4.2).

    Keys: ``per-label/precision``, ``per-label/recall``, ``per-label/f1-score`` in percent, and
    ``per-label/n-plus``, the number of labels with a recall above 0.

    Args:
        *args: Those of :class:`LabelSetMetric`.
        undefined: How a label never predicted (precision) or without an image (recall) counts:
            ``'zero'`` as 0, the authors' convention, or ``'skip'`` not at all.
        **kwargs: Those of :class:`LabelSetMetric`.

    Examples:
        >>> metric = PerLabelF1(thr=0.5)
        >>> sample = dict(pred_score=torch.tensor([0.9, 0.2]), gt_label=torch.tensor([0, 1]))
        >>> metric.process(None, [sample])
        >>> for name, value in metric.evaluate(size=1).items():
        ...     print(name, value)
        per-label/precision 50.0
        per-label/recall 50.0
        per-label/f1-score 50.0
        per-label/n-plus 1.0
    """

    default_prefix = 'per-label'

    def compute_metrics(self, results: list[bytes]) -> dict[str, float]:
        """Compute the figures from the label sets of all images."""
        counts = count_labels(results, self.num_classes)
        return self._as_dict(mean_precision_recall_f1(counts, self.undefined)) | {
            'n-plus': float((counts.correct > 0).sum())
        }


@METRICS.register_module()
class PerImageF1(_PrecisionRecallF1Metric):
    """P_I, R_I and F1_I: means over images, and the harmonic mean of the two (paper, Sec. 4.2).

    Not the micro-averaged OP, OR, OF1 of other papers: those are MMPretrain's
    ``MultiLabelMetric(average='micro')``.

    Keys: ``per-image/precision``, ``per-image/recall``, ``per-image/f1-score`` in percent.

    Args:
        *args: Those of :class:`LabelSetMetric`.
        undefined: How an image with nothing predicted (precision) or without true labels (recall)
            counts: ``'zero'`` as 0, the authors' convention, or ``'skip'`` not at all.
        unlabelled: ``'keep'`` the images without true labels (the paper on MS-COCO), or ``'drop'``
            them from both means.
        **kwargs: Those of :class:`LabelSetMetric`.
    """

    default_prefix = 'per-image'

    def __init__(self, *args: Any, unlabelled: str = 'keep', **kwargs: Any) -> None:
        check_choice('unlabelled', unlabelled, ('keep', 'drop'))
        super().__init__(*args, **kwargs)
        self.unlabelled = unlabelled

    def compute_metrics(self, results: list[bytes]) -> dict[str, float]:
        """Compute the figures from the label sets of all images."""
        counts = count_images(results, self.num_classes)
        if self.unlabelled == 'drop':
            counts = Counts(*(part[counts.true > 0] for part in counts))
        return self._as_dict(mean_precision_recall_f1(counts, self.undefined))


@METRICS.register_module()
class ConstantAnswer(LabelSetMetric):
    """The best that one can do without looking.

    The k labels most frequent in training, for every image.

    k is the one with the best per-image F1 on the very images tested, which favours this answer.
    Keys as those of :class:`PerLabelF1` and :class:`PerImageF1` under ``constant/``, with
    ``constant/k`` and ``constant/top-1``.

    Args:
        ann_file: Training annotations, for the frequencies.
        **kwargs: Those of :class:`LabelSetMetric`; only the true labels are looked at.
    """

    default_prefix = 'constant'

    def __init__(self, ann_file: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ann_file = ann_file
        self.order = np.argsort(-load_annotations(ann_file).label_counts(), kind='stable')

    def predicted_labels(self, scores: Tensor, data_samples: Sequence[dict]) -> Tensor:
        """Mark every label, so that what is kept as predicted is what is not ignored."""
        return torch.ones_like(scores, dtype=torch.bool)

    def compute_metrics(self, results: list[bytes]) -> dict[str, float]:
        """Try every k, from the counts of labels and of images."""
        if self.num_classes != len(self.order):
            raise ValueError(
                f'{self.ann_file}: expected {self.num_classes} classes as predicted, '
                f'but got {len(self.order)}.'
            )
        parts = [
            np.stack([counted, true])[..., self.order]
            for counted, true in unpack_labels(results, self.num_classes)
        ]
        counted, true = np.concatenate(parts, axis=1)  # (N, C) each, the most frequent label first
        offered, hits = (
            counted.cumsum(1),
            true.cumsum(1),
        )  # (N, k): how many of the first k labels count, are true
        per_image = [
            mean_precision_recall_f1(Counts(hits[:, -1], offered[:, k], hits[:, k]))
            for k in range(self.num_classes)
        ]
        k = int(np.argmax([value.f1 for value in per_image])) + 1
        labels = count_labels(results, self.num_classes)
        chosen = np.isin(np.arange(self.num_classes), self.order[:k])
        per_label = mean_precision_recall_f1(
            Counts(labels.true, labels.predicted * chosen, labels.true * chosen)
        )
        best_is_true = true[np.arange(len(true)), counted.argmax(1)]
        table = {'per-label': per_label, 'per-image': per_image[k - 1]}
        figures = {
            f'{kind}/{name}': value
            for kind, values in table.items()
            for name, value in _PrecisionRecallF1Metric._as_dict(values).items()
        }
        return figures | {'top-1': float(100 * best_is_true.mean()), 'k': float(k)}


def stack_scores(samples: Sequence[dict], item: str) -> Tensor:
    """Stack one kind of scores of a batch on the CPU.

    Returns:
        Float (N, ...), (N, C) for ``pred_score``.

    Raises:
        ValueError: If an image has none, or a NaN, or one outside 0-1; names the image.
    """
    for sample in samples:
        if item not in sample:
            raise ValueError(
                f'Expected the prediction to hold `{item}`, but got {sorted(sample.keys())}, for '
                f'{describe(sample)}.'
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
