"""Counts right and wrong predictions for each label and each image. No MMEngine here.

N images, C labels; targets (N, C) in {0, 1, -1}, where -1 is left out of every count.
"""

from dataclasses import dataclass

import numpy as np

from .functional import average_precisions, count_sets


@dataclass
class LabelFigures:
    """Figures of each label, arrays (C,); ratios in percent, NaN where undefined.

    Attributes:
        support: Number of images with the label.
        precision: Share of true labels among the predictions.
        recall: Share of predicted labels among the images with the label.
        f1: Harmonic mean of the two; 0 if the label is true or predicted, but never both.
        average_precision: Area under the precision-recall steps, by scikit-learn.
        missed: Number of images with the label, but without a prediction of it.
        extra: Number of images with a wrong prediction of it.
    """

    support: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    average_precision: np.ndarray
    missed: np.ndarray
    extra: np.ndarray


def label_figures(
    scores: np.ndarray,
    predicted: np.ndarray,
    targets: np.ndarray,
) -> LabelFigures:
    """Compute the figures of each label.

    Args:
        scores: (N, C), 0-1.
        predicted: Boolean (N, C).
        targets: (N, C).
    """
    support, number, right = count_sets(predicted, targets, axis=0)

    with np.errstate(invalid='ignore'):
        precision = 100 * right / number
        recall = 100 * right / support
        f1 = 100 * 2 * right / (support + number)

    average = average_precisions(scores, targets)
    return LabelFigures(support, precision, recall, f1, average, support - right, number - right)


def confused_labels(predicted: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Count the images in which label a was missed and label b wrongly predicted.

    Returns:
        Integer (C, C), rows a, columns b.

    Examples:
        >>> confused_labels(np.array([[False, True]]), np.array([[1, 0]])).tolist()
        [[0, 1], [0, 0]]
    """
    missed = (targets > 0) & ~predicted
    extra = (targets == 0) & predicted
    return missed.astype(np.int64).T @ extra.astype(np.int64)


def image_f1(predicted: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Compute the F1 of each image (N,), 0-1; 1 where nothing is true and nothing predicted.

    Examples:
        >>> predicted = np.array([[True, True], [False, False]])
        >>> image_f1(predicted, np.array([[1, 0], [0, 0]])).round(3).tolist()
        [0.667, 1.0]
    """
    counts = count_sets(predicted, targets, axis=1)
    total = counts.true + counts.predicted
    return np.where(total, 2 * counts.correct / np.maximum(total, 1), 1.0)
