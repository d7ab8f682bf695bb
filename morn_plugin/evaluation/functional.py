"""Computes the figures of papers from counts and scores, in percent. No MMEngine here.

N images, C labels. ``Counts`` hold, for each label or each image, how often it is true (a1, b1),
predicted (a2, b2) and both (a3, b3). Targets are (N, C) in {0, 1, -1}; -1 is left out of every
count.

Undefined ratios: a label that is never predicted has no precision, and a label without images has
no recall. The same holds for an image without predicted or without true labels.
``undefined='zero'``, the authors' convention and the default, counts them as 0 in the mean;
``'one'`` as 1 (SRN's code); ``'skip'`` leaves them out.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from ..utils.checks import check_choice

UNDEFINED = ('zero', 'one', 'skip')
F1_FORMS = ('of-means', 'mean')
TIES = ('together', 'apart')


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
    """Precision, recall and F1 in percent."""

    precision: float
    recall: float
    f1: float


def pack_labels(predicted: np.ndarray, target: np.ndarray) -> list[bytes]:
    """Pack the label sets of images, one bit per label.

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
    """Unpack the results of :func:`pack_labels`, a chunk of images at a time.

    Yields:
        Boolean arrays (chunk, C): predicted, true.
    """
    packed = list(packed)
    for start in range(0, len(packed), chunk):
        part = packed[start : start + chunk]
        bits = np.frombuffer(b''.join(part), dtype=np.uint8)
        bits = bits.reshape(len(part), 2, -1)
        sets = np.unpackbits(bits, axis=2, count=num_classes).astype(bool)
        yield sets[:, 0], sets[:, 1]


def count_labels(packed: Iterable[bytes], num_classes: int) -> Counts:
    """Count per label over all images.

    Returns:
        Arrays (C,).
    """
    counts = np.zeros((3, num_classes), dtype=np.int64)
    for predicted, true in unpack_labels(packed, num_classes):
        counts += np.stack(count_sets(predicted, true, axis=0))
    return Counts(*counts)


def count_images(packed: Iterable[bytes], num_classes: int) -> Counts:
    """Count per image over all labels.

    Returns:
        Arrays (N,).
    """
    parts = [
        np.stack(count_sets(predicted, true, axis=1))
        for predicted, true in unpack_labels(packed, num_classes)
    ]
    return Counts(*np.concatenate(parts, axis=1))


def count_sets(
    predicted: np.ndarray,
    target: np.ndarray,
    axis: int,
) -> Counts:
    """Count the label sets of images that fit into memory.

    Args:
        predicted: Boolean (N, C).
        target: (N, C); positive true, 0 false, negative ignored.
        axis: 0 counts per label, 1 per image.

    Returns:
        Arrays (C,) or (N,).
    """
    true = target > 0
    given = predicted & (target >= 0)
    return Counts(true.sum(axis), given.sum(axis), (true & given).sum(axis))


def mean_precision_recall_f1(
    counts: Counts, undefined: str = 'zero', f1: str = 'of-means'
) -> PrecisionRecallF1:
    """Average precision and recall over the entries.

    Args:
        counts: Of labels or of images.
        undefined: ``'zero'``, ``'one'`` or ``'skip'``, see the top of the module.
        f1: ``'of-means'``, the harmonic mean of mean precision and mean recall, or ``'mean'``, the
            mean of the entries' own F1s. With ``undefined='skip'``, an entry without precision or
            recall has no F1 either.

    Returns:
        Percent.

    Examples:
        >>> counts = Counts(np.array([2, 1, 0]), np.array([1, 0, 1]), np.array([1, 0, 0]))
        >>> [round(value, 2) for value in mean_precision_recall_f1(counts)]
        [33.33, 16.67, 22.22]
        >>> [round(value, 2) for value in mean_precision_recall_f1(counts, undefined='skip')]
        [50.0, 25.0, 33.33]
        >>> round(mean_precision_recall_f1(counts, f1='mean').f1, 2)
        22.22
    """
    check_choice('undefined', undefined, UNDEFINED)
    check_choice('f1', f1, F1_FORMS)
    precisions = _ratios(counts.correct, counts.predicted, undefined)
    recalls = _ratios(counts.correct, counts.true, undefined)

    precision = _mean_percent(precisions)
    recall = _mean_percent(recalls)
    if f1 == 'of-means':
        return PrecisionRecallF1(precision, recall, harmonic_mean(precision, recall))

    total = precisions + recalls
    f1s = np.zeros_like(total)
    np.divide(2 * precisions * recalls, total, out=f1s, where=total != 0)
    return PrecisionRecallF1(precision, recall, _mean_percent(f1s))


def overall_precision_recall_f1(
    counts: Counts, undefined: str = 'zero', at_least_one: bool = False
) -> PrecisionRecallF1:
    """Compute OP, OR and OF1: the ratios of the sums over all decisions (micro average).

    Args:
        counts: Of labels or of images, with the same result.
        undefined: ``'zero'`` or ``'one'``: the precision if nothing is predicted at all, and the
            recall if nothing is true. Without a mean, ``'skip'`` equals ``'zero'``.
        at_least_one: Count one (wrong) prediction for each label that is never predicted, as
            ML-GCN's evaluation does: its guard against 0/0 changes the overall precision. Needs
            counts of labels.

    Returns:
        Percent.

    Examples:
        >>> counts = Counts(np.array([2, 1]), np.array([3, 0]), np.array([2, 0]))
        >>> [round(value, 2) for value in overall_precision_recall_f1(counts)]
        [66.67, 66.67, 66.67]
        >>> [round(value, 2) for value in overall_precision_recall_f1(counts, at_least_one=True)]
        [50.0, 66.67, 57.14]
    """
    check_choice('undefined', undefined, UNDEFINED)
    predicted = np.maximum(counts.predicted, 1) if at_least_one else counts.predicted
    sums = [part.sum() for part in (counts.true, predicted, counts.correct)]
    return mean_precision_recall_f1(Counts(*map(np.atleast_1d, sums)), undefined)


def paper_figures(predicted: np.ndarray, target: np.ndarray) -> list[float]:
    """Compute the figures of the paper's Table 1 from label sets, by the authors' conventions.

    Args:
        predicted: Boolean (N, C).
        target: (N, C); positive true, 0 false, negative ignored.

    Returns:
        Percent, in the order of :data:`morn_plugin.evaluation.columns.PAPER_COLUMNS`.

    Examples:
        >>> paper_figures(np.array([[True, False]]), np.array([[1, 1]]))[:3]
        [50.0, 50.0, 50.0]
    """
    per_label, per_image = (
        mean_precision_recall_f1(count_sets(predicted, target, axis)) for axis in (0, 1)
    )
    return [*per_label, *per_image]


def top_one(scores: np.ndarray, target: np.ndarray) -> float:
    """Compute the share of images whose best label is true (paper, Table 4).

    Ignored labels are left out. Ties: the lower class index is better.

    Args:
        scores: (N, C), 0-1, of one step.
        target: (N, C); positive true, 0 false, negative ignored.

    Returns:
        Percent.

    Examples:
        >>> top_one(np.array([[0.9, 0.2], [0.6, 0.3]]), np.array([[1, 0], [-1, 0]]))
        50.0
    """
    return 100 * float(best_is_true(scores, target).mean())


def best_is_true(scores: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return for each image whether its best label is true.

    Args:
        scores: (N, C), 0-1.
        target: (N, C); positive true, 0 false, negative ignored.

    Returns:
        Boolean (N,).
    """
    best = np.where(target < 0, -1, scores).argmax(axis=1)
    return target[np.arange(len(target)), best] > 0


def average_precisions(
    scores: np.ndarray,
    target: np.ndarray,
    envelope: bool = False,
    ties: str = 'together',
) -> np.ndarray:
    """Compute the average precision of each label, the sum of (R_k - R_{k-1}) P_k, by scikit-learn.

    Args:
        scores: (N, C).
        target: (N, C); positive true, 0 false, negative ignored.
        envelope: Use as P_k the highest precision at this recall or a higher one (PASCAL VOC 2010
            and later; SRN's code).
        ties: Images of equal score are ranked ``'together'``, so that the figure does not depend on
            their order, or ``'apart'``, in the given order (ML-GCN's code).

    Returns:
        Percent (C,); NaN for a label without true images.

    Examples:
        >>> scores = np.array([[0.9], [0.8], [0.8], [0.7]])
        >>> average_precisions(scores, np.array([[0], [1], [0], [1]])).round(1).tolist()
        [41.7]
        >>> average_precisions(scores, np.array([[0], [1], [0], [1]]), ties='apart').tolist()
        [50.0]
    """
    from sklearn.metrics import precision_recall_curve  # takes a second, so only if needed

    check_choice('ties', ties, TIES)
    found = np.full(scores.shape[1], np.nan)
    for label in np.flatnonzero((target > 0).any(axis=0)):
        known = target[:, label] >= 0
        values = scores[known, label]
        true = target[known, label] > 0

        if ties == 'apart':
            order = np.argsort(-values, kind='stable')
            values = np.empty(len(order))
            values[order] = -np.arange(len(order))

        # The curve starts at recall 1 and ends at recall 0.
        precision, recall, _ = precision_recall_curve(true, values)
        if envelope:
            precision = np.maximum.accumulate(precision)
        found[label] = -100 * float(np.diff(recall) @ precision[:-1])

    return found


def mean_average_precision(
    scores: np.ndarray,
    target: np.ndarray,
    undefined: str = 'zero',
    envelope: bool = False,
    ties: str = 'together',
) -> float:
    """Compute mAP, the mean over labels of :func:`average_precisions`.

    Args:
        scores: (N, C).
        target: (N, C); positive true, 0 false, negative ignored.
        undefined: A label without true images counts as ``'zero'``, as ``'one'``, or is left out
            (``'skip'``).
        envelope: See :func:`average_precisions`.
        ties: See :func:`average_precisions`.

    Returns:
        Percent.
    """
    check_choice('undefined', undefined, UNDEFINED)
    found = average_precisions(scores, target, envelope, ties)
    if undefined != 'skip':
        found = np.where(np.isnan(found), 100.0 if undefined == 'one' else 0.0, found)
    return _mean_percent(found / 100)


def topk_bound(num_true: np.ndarray, topk: int) -> dict[str, float]:
    """Compute the best possible figures with exactly k labels per image.

    Of the k labels, at most min(n, k) are correct for an image with n true ones.

    Args:
        num_true: (N,), the number of true labels of each image.
        topk: k.

    Returns:
        ``P_I``, ``R_I``, ``F1_I``, ``OP``, ``OR`` and ``OF1`` in percent, where an image without
        true labels counts as 0 in ``R_I``.

    Examples:
        >>> topk_bound(np.array([1, 2, 5]), 3)['OR']
        75.0
    """
    correct = np.minimum(num_true, topk)
    counts = Counts(num_true, np.full_like(num_true, topk), correct)
    per_image = mean_precision_recall_f1(counts)
    overall = overall_precision_recall_f1(counts)

    bound: dict[str, float] = {}
    bound |= zip(('P_I', 'R_I', 'F1_I'), per_image, strict=True)
    bound |= zip(('OP', 'OR', 'OF1'), overall, strict=True)
    return bound


def harmonic_mean(precision: float, recall: float) -> float:
    """Compute 2 P R / (P + R), and 0 where both are 0."""
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _ratios(
    numerator: np.ndarray,
    denominator: np.ndarray,
    undefined: str,
) -> np.ndarray:
    """Divide; where the denominator is 0, use ``undefined`` (NaN for ``'skip'``)."""
    filled = {'zero': 0.0, 'one': 1.0, 'skip': np.nan}[undefined]
    out = np.full(len(numerator), filled)
    return np.divide(numerator, denominator, out=out, where=denominator > 0)


def _mean_percent(ratios: np.ndarray) -> float:
    """Average the defined values, in percent; 0 if there are none."""
    defined = ratios[~np.isnan(ratios)]
    return float(100 * defined.mean()) if len(defined) else 0.0
