"""Metrics on label sets: per label, per image, over all decisions, and the best constant answer.

Every metric keeps one short byte string per image.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmpretrain.registry import METRICS

from ...datasets.annotations import load_annotations
from ...deploy.labels import mark_labels
from ...utils.checks import check_choice, check_probability, check_thr_topk
from ..functional import (
    F1_FORMS,
    UNDEFINED,
    Counts,
    PrecisionRecallF1,
    count_images,
    count_labels,
    mean_precision_recall_f1,
    overall_precision_recall_f1,
    pack_labels,
    unpack_labels,
)
from .image_metric import ImageMetric


class LabelSetMetric(ImageMetric):
    """Collects the predicted and the true label set of every image.

    Args:
        thr: Labels with a score strictly greater are predicted, 0-1, or C such numbers. Defaults to
            None, 0.5.
        topk: Predict this many best labels instead.
        use_pred_label: Use the prediction's ``pred_label`` instead: the model's own decision, by
            threshold or otherwise.
        floor: Of the ``topk`` best labels, only those with a score strictly greater than this.
            Defaults to None, exactly ``topk``.
        inclusive: A score equal to ``thr`` or ``floor`` is enough.
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
        floor: float | None = None,
        inclusive: bool = False,
    ) -> None:
        super().__init__(item, collect_device, prefix)
        check_thr_topk(thr, topk)
        if use_pred_label and (thr is not None or topk is not None or inclusive):
            raise ValueError(
                'Expected either `use_pred_label` or one of `thr` and `topk` (and `inclusive` with '
                'them), but got both.'
            )

        if floor is not None:
            check_probability('floor', floor)
            if topk is None:
                raise ValueError(f'Expected `floor` only with `topk`, but got floor={floor}.')

        self.thr = thr
        self.topk = topk
        self.floor = floor
        self.inclusive = inclusive
        self.use_pred_label = use_pred_label

    def entries(
        self,
        scores: np.ndarray,
        targets: np.ndarray,
        data_samples: Sequence[dict],
    ) -> Sequence[bytes]:
        """Keep the label sets of a batch."""
        return pack_labels(self.predicted_labels(scores, data_samples), targets)

    def predicted_labels(self, scores: np.ndarray, data_samples: Sequence[dict]) -> np.ndarray:
        """Mark the predicted labels of a batch, boolean (N, C)."""
        if not self.use_pred_label:
            return mark_labels(scores, self.thr, self.topk, self.floor, self.inclusive)

        predicted = np.zeros(scores.shape, dtype=bool)
        for row, sample in zip(predicted, data_samples, strict=True):
            row[sample['pred_label'].cpu().numpy()] = True
        return predicted


class _PrecisionRecallF1Metric(LabelSetMetric):
    """Adds the handling of undefined ratios, and the keys."""

    def __init__(
        self,
        *args: Any,
        undefined: str = 'zero',
        **kwargs: Any,
    ) -> None:
        check_choice('undefined', undefined, UNDEFINED)
        super().__init__(*args, **kwargs)
        self.undefined = undefined

    @staticmethod
    def _as_dict(values: PrecisionRecallF1) -> dict[str, float]:
        return {'precision': values.precision, 'recall': values.recall, 'f1-score': values.f1}


class _MeanPrecisionRecallF1Metric(_PrecisionRecallF1Metric):
    """Adds the choice of the F1."""

    def __init__(
        self,
        *args: Any,
        f1: str = 'of-means',
        **kwargs: Any,
    ) -> None:
        check_choice('f1', f1, F1_FORMS)
        super().__init__(*args, **kwargs)
        self.f1 = f1

    def _means(self, counts: Counts) -> dict[str, float]:
        return self._as_dict(mean_precision_recall_f1(counts, self.undefined, self.f1))


@METRICS.register_module()
class PerLabelF1(_MeanPrecisionRecallF1Metric):
    """P_L, R_L and F1_L: means over labels, and the harmonic mean of the two (paper, Sec. 4.2).

    With these options they are also CP, CR and CF1 of other papers.

    Keys: ``per-label/precision``, ``per-label/recall``, ``per-label/f1-score`` in percent, and
    ``per-label/n-plus``, the number of labels with a recall above 0.

    Args:
        *args: Those of :class:`LabelSetMetric`.
        undefined: How a label never predicted (precision) or without an image (recall) counts:
            ``'zero'`` as 0, the authors' convention, ``'one'`` as 1, or ``'skip'`` not at all.
        f1: ``'of-means'``, or ``'mean'``, the mean of the labels' own F1s.
        **kwargs: Those of :class:`LabelSetMetric`.

    Examples:
        >>> import torch
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

    def figures(self, results: list[bytes]) -> dict[str, float]:
        """Compute the figures from the label sets of all images."""
        counts = count_labels(results, self.num_classes)
        return self._means(counts) | {'n-plus': float((counts.correct > 0).sum())}


@METRICS.register_module()
class PerImageF1(_MeanPrecisionRecallF1Metric):
    """P_I, R_I and F1_I: means over images, and the harmonic mean of the two (paper, Sec. 4.2).

    Not the micro-averaged OP, OR, OF1 of other papers: those are :class:`OverallF1`.

    Keys: ``per-image/precision``, ``per-image/recall``, ``per-image/f1-score`` in percent.

    Args:
        *args: Those of :class:`LabelSetMetric`.
        undefined: How an image with nothing predicted (precision) or without true labels (recall)
            counts: ``'zero'`` as 0, the authors' convention, ``'one'`` as 1, or ``'skip'`` not at
                all.
        unlabelled: ``'keep'`` the images without true labels (the paper on MS-COCO), or ``'drop'``
            them from both means.
        f1: ``'of-means'``, or ``'mean'``, the mean of the images' own F1s.
        **kwargs: Those of :class:`LabelSetMetric`.
    """

    default_prefix = 'per-image'

    def __init__(
        self,
        *args: Any,
        unlabelled: str = 'keep',
        **kwargs: Any,
    ) -> None:
        check_choice('unlabelled', unlabelled, ('keep', 'drop'))
        super().__init__(*args, **kwargs)
        self.unlabelled = unlabelled

    def figures(self, results: list[bytes]) -> dict[str, float]:
        """Compute the figures from the label sets of all images."""
        counts = count_images(results, self.num_classes)
        if self.unlabelled == 'drop':
            counts = Counts(*(part[counts.true > 0] for part in counts))
        return self._means(counts)


@METRICS.register_module()
class OverallF1(_PrecisionRecallF1Metric):
    """OP, OR and OF1: precision and recall of all decisions together (micro average).

    Differences from MMPretrain's ``MultiLabelMetric(average='micro')``: a score must exceed the
    threshold (there it may equal it), a threshold per label is possible, and it can count labels
    that a decoder chose itself, or the scores of the CNN alone.

    Keys: ``overall/precision``, ``overall/recall``, ``overall/f1-score`` in percent.

    Args:
        *args: Those of :class:`LabelSetMetric`.
        undefined: The precision if nothing is predicted at all: ``'zero'`` or ``'one'``.
        at_least_one: Count one (wrong) prediction for each label that is never predicted, as
            ML-GCN's evaluation does.
        **kwargs: Those of :class:`LabelSetMetric`.
    """

    default_prefix = 'overall'

    def __init__(
        self,
        *args: Any,
        at_least_one: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.at_least_one = at_least_one

    def figures(self, results: list[bytes]) -> dict[str, float]:
        """Compute the figures from the label sets of all images."""
        counts = count_labels(results, self.num_classes)
        values = overall_precision_recall_f1(counts, self.undefined, self.at_least_one)
        return self._as_dict(values)


@METRICS.register_module()
class ConstantAnswer(LabelSetMetric):
    """The best constant answer: the k labels most frequent in training, for every image.

    k maximises the per-image F1 on the test images themselves, which favours this answer. The keys
    are those of :class:`PerLabelF1` and :class:`PerImageF1` under ``constant/``, with
    ``constant/k`` and ``constant/top-1``.

    Args:
        ann_file: Training annotations, for the frequencies.
        **kwargs: Those of :class:`LabelSetMetric`; only the true labels are used.
    """

    default_prefix = 'constant'

    def __init__(self, ann_file: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ann_file = ann_file
        self.order = np.argsort(-load_annotations(ann_file).label_counts(), kind='stable')

    def predicted_labels(self, scores: np.ndarray, data_samples: Sequence[dict]) -> np.ndarray:
        """Mark every label; the entries then contain those that are not ignored."""
        return np.ones(scores.shape, dtype=bool)

    def figures(self, results: list[bytes]) -> dict[str, float]:
        """Try every k, from the counts of labels and of images."""
        if self.num_classes != len(self.order):
            raise ValueError(
                f'{self.ann_file}: expected {self.num_classes} classes as predicted, '
                f'but got {len(self.order)}.'
            )

        # (N, C) each, the most frequent label first: whether it counts, whether it is true
        parts = [
            np.stack([counted, true])[..., self.order]
            for counted, true in unpack_labels(results, self.num_classes)
        ]
        counted, true = np.concatenate(parts, axis=1)

        per_image = _per_image_of_first(counted, true)
        k = int(np.argmax([value.f1 for value in per_image])) + 1

        labels = count_labels(results, self.num_classes)
        chosen = np.isin(np.arange(self.num_classes), self.order[:k])
        counts = Counts(labels.true, labels.predicted * chosen, labels.true * chosen)
        per_label = mean_precision_recall_f1(counts)

        best_is_true = true[np.arange(len(true)), counted.argmax(1)]
        return {
            **_under('per-label', per_label),
            **_under('per-image', per_image[k - 1]),
            'top-1': float(100 * best_is_true.mean()),
            'k': float(k),
        }


def _per_image_of_first(counted: np.ndarray, true: np.ndarray) -> list[PrecisionRecallF1]:
    """Compute the per-image figures of predicting the first k labels, for every k.

    Args:
        counted: (N, C), whether a label is not ignored.
        true: (N, C).
    """
    offered = counted.cumsum(1)  # (N, k) each, of the first k labels
    hits = true.cumsum(1)
    num_true = hits[:, -1]

    figures = []
    for k in range(counted.shape[1]):
        counts = Counts(num_true, offered[:, k], hits[:, k])
        figures.append(mean_precision_recall_f1(counts))

    return figures


def _under(kind: str, values: PrecisionRecallF1) -> dict[str, float]:
    named = _PrecisionRecallF1Metric._as_dict(values)
    return {f'{kind}/{name}': value for name, value in named.items()}
