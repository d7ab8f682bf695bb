"""Counts to precision, recall and F1 (paper, Sec. 4.2). No MMEngine here.

N images, C labels. ``Counts`` hold, one entry a label or one an image, how often it is true (a1,
b1), predicted (a2, b2) and both (a3, b3). All figures are in percent.

Undefined ratios: a label that is never predicted has no precision and one without an image no
recall; likewise an image with nothing predicted, and one without true labels. ``undefined='zero'``,
the authors' convention and the default, counts them as 0 in the mean; ``'skip'`` leaves them out of
it.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

UNDEFINED = ('zero', 'skip')


class Counts(NamedTuple):
    """Integer arrays of one length, C for labels or N for images.

    Attributes:
        true: In the ground truth (a1, b1).
        predicted: In the prediction (a2, b2).
        correct: In both (a3, b3).
    """

    true: np.ndarray
    predicted: np.ndarray
    correct: np.ndarray


class PrecisionRecallF1(NamedTuple):
    """Means in percent; ``f1`` is the harmonic mean of the two means, not the mean of F1s."""

    precision: float
    recall: float
    f1: float


def pack_labels(predicted: np.ndarray, target: np.ndarray) -> list[bytes]:
    """Pack the label sets of images, one bit a label.

    A label of target -1 is dropped from both sets, which leaves it out of every count.

    Args:
        predicted: Boolean (N, C).
        target: (N, C); positive true, 0 false, negative ignored.

    Returns:
        N strings of 2 * ceil(C / 8) bytes: the predicted, then the true labels.
    """
    sets = np.stack([predicted & (target >= 0), target > 0], axis=1)  # (N, 2, C)
    return [row.tobytes() for row in np.packbits(sets, axis=2)]


def unpack_labels(
    packed: Iterable[bytes], num_classes: int, chunk: int = 4096
) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    """Give back what :func:`pack_labels` packed, a chunk of images at a time.

    Yields:
        Boolean arrays (chunk, C): predicted, true.
    """
    packed = list(packed)
    for start in range(0, len(packed), chunk):
        part = packed[start : start + chunk]
        bits = np.frombuffer(b''.join(part), dtype=np.uint8).reshape(len(part), 2, -1)
        sets = np.unpackbits(bits, axis=2, count=num_classes).astype(bool)
        yield sets[:, 0], sets[:, 1]


def count_labels(packed: Iterable[bytes], num_classes: int) -> Counts:
    """Count per label over all images.

    Returns:
        Arrays (C,).
    """
    counts = np.zeros((3, num_classes), dtype=np.int64)
    for predicted, true in unpack_labels(packed, num_classes):
        counts += np.stack([true.sum(0), predicted.sum(0), (true & predicted).sum(0)])
    return Counts(*counts)


def count_images(packed: Iterable[bytes], num_classes: int) -> Counts:
    """Count per image over all labels.

    Returns:
        Arrays (N,).
    """
    parts = [
        np.stack([true.sum(1), predicted.sum(1), (true & predicted).sum(1)])
        for predicted, true in unpack_labels(packed, num_classes)
    ]
    return Counts(*np.concatenate(parts, axis=1))


def mean_precision_recall_f1(counts: Counts, undefined: str = 'zero') -> PrecisionRecallF1:
    """Average precision and recall over the entries, and take the harmonic mean of the two.

    Args:
        counts: Of labels or of images.
        undefined: ``'zero'`` or ``'skip'``, see the top of the module.

    Returns:
        Percent.

    Examples:
        >>> counts = Counts(np.array([2, 1, 0]), np.array([1, 0, 1]), np.array([1, 0, 0]))
        >>> [round(value, 2) for value in mean_precision_recall_f1(counts)]
        [33.33, 16.67, 22.22]
        >>> [round(value, 2) for value in mean_precision_recall_f1(counts, undefined='skip')]
        [50.0, 25.0, 33.33]
    """
    precision = _mean_ratio(counts.correct, counts.predicted, undefined)
    recall = _mean_ratio(counts.correct, counts.true, undefined)
    return PrecisionRecallF1(precision, recall, harmonic_mean(precision, recall))


def paper_figures(predicted: np.ndarray, target: np.ndarray) -> list[float]:
    """Give P_L, R_L, F1_L, P_I, R_I and F1_I of label sets, by the authors' conventions.

    Args:
        predicted: Boolean (N, C).
        target: (N, C); positive true, 0 false, negative ignored.

    Returns:
        Percent.

    Examples:
        >>> paper_figures(np.array([[True, False]]), np.array([[1, 1]]))[:3]
        [50.0, 50.0, 50.0]
    """
    packed, number = pack_labels(predicted, target), target.shape[1]
    return [
        value
        for counts in (count_labels(packed, number), count_images(packed, number))
        for value in mean_precision_recall_f1(counts)
    ]


def top_one(scores: np.ndarray, target: np.ndarray) -> float:
    """Give the share of images whose best label is a true one (paper, Table 4).

    Ignored labels left out.

    Args:
        scores: (N, C), 0-1, of one step.
        target: (N, C); positive true, 0 false, negative ignored.

    Returns:
        Percent.

    Examples:
        >>> top_one(np.array([[0.9, 0.2], [0.6, 0.3]]), np.array([[1, 0], [-1, 0]]))
        50.0
    """
    best = np.where(target < 0, -1, scores).argmax(axis=1)
    return 100 * float((target[np.arange(len(target)), best] > 0).mean())


def harmonic_mean(precision: float, recall: float) -> float:
    """Give 2 P R / (P + R), and 0 where both are 0."""
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _mean_ratio(numerator: np.ndarray, denominator: np.ndarray, undefined: str) -> float:
    ratio = np.divide(numerator, denominator, out=np.zeros(len(numerator)), where=denominator > 0)
    if undefined == 'skip':
        ratio = ratio[denominator > 0]
    return float(100 * ratio.mean()) if len(ratio) else 0.0
