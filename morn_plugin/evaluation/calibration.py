"""Choosing thresholds, and how far scores are probabilities. No MMEngine here.

N images, C labels, scores (N, C) in 0-1, targets (N, C) in {0, 1, -1}; -1 is left out of every count. A label is predicted
where its score is strictly greater than its threshold.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..utils.checks import check_choice, check_probability
from .functional import Counts, mean_precision_recall_f1

MEASURES = ('per-label-f1', 'per-image-f1', 'precision')
DEFAULT = 0.5  # of a label that validation says nothing about
MAX_CANDIDATES = 200


def cut_points(scores: np.ndarray, limit: int | None = None) -> np.ndarray:
    """Give thresholds, descending, that part the scores in every possible way, once each.

    Between two neighbouring scores the middle is taken; float32, as scores are.

    Args:
        scores: Any shape.
        limit: At most this many, evenly spaced among all. Defaults to None, all.

    Examples:
        >>> cut_points(np.float32([0.5, 0.25, 0.5, 0.75])).tolist()
        [0.75, 0.625, 0.375, 0.125]
    """
    values = np.unique(np.asarray(scores, dtype=np.float32))[::-1]
    below = np.append(values[1:], np.float32(0))
    middle = ((values.astype(np.float64) + below) / 2).astype(np.float32)
    cuts = np.where((middle < values) & (middle > below), middle, below)  # neighbours in float32 have nothing between
    cuts = np.append(values[:1], cuts)
    if limit is not None and len(cuts) > limit:
        cuts = cuts[np.linspace(0, len(cuts) - 1, limit).round().astype(int)]
    return cuts


def threshold_counts(scores: np.ndarray, targets: np.ndarray, cuts: np.ndarray) -> Counts:
    """Count one label at every threshold.

    Args:
        scores: (N,).
        targets: (N,).
        cuts: (K,).

    Returns:
        Arrays (K,).
    """
    known = targets >= 0
    everything, right = np.sort(scores[known]), np.sort(scores[targets > 0])
    above = lambda values: len(values) - np.searchsorted(values, cuts, side='right')
    return Counts(np.full(len(cuts), len(right)), above(everything), above(right))


def global_threshold(scores: np.ndarray, targets: np.ndarray, measure: str, floor: float = 0.9) -> float:
    """Choose one threshold for all labels.

    Args:
        scores: (N, C).
        targets: (N, C).
        measure: ``'per-label-f1'`` (F1_L), ``'per-image-f1'`` (F1_I), or ``'precision'``: the highest recall with at
            least ``floor`` of all predicted labels right.
        floor: 0-1, for ``'precision'``.

    Returns:
        The threshold; of equally good ones the highest. With more than 200 different scores, 200 thresholds are tried.
    """
    _check(measure, floor)
    cuts = cut_points(scores[targets >= 0], MAX_CANDIDATES)
    if measure == 'per-image-f1':
        values = [_image_f1(scores > cut, targets) for cut in cuts]
        return float(cuts[int(np.argmax(values))])
    counts = [threshold_counts(scores[:, c], targets[:, c], cuts) for c in range(scores.shape[1])]
    true, predicted, correct = (np.stack(parts, axis=1) for parts in zip(*counts, strict=True))  # (K, C)
    if measure == 'precision':
        return _at_floor(cuts, predicted.sum(1), correct.sum(1), floor)
    values = [mean_precision_recall_f1(Counts(*rows)).f1 for rows in zip(true, predicted, correct, strict=True)]
    return float(cuts[int(np.argmax(values))])


def label_thresholds(scores: np.ndarray, targets: np.ndarray, measure: str, floor: float = 0.9) -> list[float]:
    """Choose a threshold for each label.

    ``'per-label-f1'`` makes each label's own F1 best; ``'precision'`` gives each label the highest recall with at least
    ``floor`` of its predictions right (1.0, never predicted, where none reaches it). ``'per-image-f1'`` starts from the
    best global one and changes one label at a time while F1_I gets better: a local optimum. A label without a true image
    keeps 0.5, or the global one.

    Args:
        scores: (N, C).
        targets: (N, C).
        measure: See above.
        floor: 0-1, for ``'precision'``.

    Returns:
        C thresholds.
    """
    _check(measure, floor)
    if measure == 'per-image-f1':
        return _climb(scores, targets, global_threshold(scores, targets, measure))
    chosen = []
    for c in range(scores.shape[1]):
        cuts = cut_points(scores[targets[:, c] >= 0, c])
        true, predicted, correct = threshold_counts(scores[:, c], targets[:, c], cuts)
        if not len(cuts) or not true[0]:
            chosen.append(DEFAULT)
        elif measure == 'precision':
            chosen.append(_at_floor(cuts, predicted, correct, floor))
        else:
            chosen.append(float(cuts[int(np.argmax(2 * correct / (true + predicted)))]))
    return chosen


class Reliability(NamedTuple):
    """A reliability curve; arrays of one entry a bin that holds anything.

    Attributes:
        score: Mean score.
        share: Share of true labels, 0-1.
        number: Scores in the bin.
        error: Expected calibration error: the mean distance of the two, weighted by the counts.
    """

    score: np.ndarray
    share: np.ndarray
    number: np.ndarray
    error: float


def reliability_curve(scores: np.ndarray, targets: np.ndarray, bins: int = 10) -> Reliability:
    """Compare scores with how often they are right, in bins of equal width, (a, b] and 0 in the first.

    Examples:
        >>> curve = reliability_curve(np.array([0.9, 0.9, 0.2, 0.2]), np.array([1, 1, 0, 1]))
        >>> curve.share.tolist(), curve.number.tolist(), round(curve.error, 3)
        ([0.5, 1.0], [2, 2], 0.2)
    """
    known = targets >= 0
    values, true = scores[known].astype(np.float64), targets[known] > 0
    place = np.clip(np.ceil(values * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    kept = count > 0
    score, share = (np.bincount(place, weights=part, minlength=bins)[kept] / count[kept] for part in (values, true))
    return Reliability(score, share, count[kept], float((np.abs(score - share) * count[kept]).sum() / count.sum()))


def _check(measure: str, floor: float) -> None:
    check_choice('measure', measure, MEASURES)
    check_probability('floor', floor)


def _at_floor(cuts: np.ndarray, predicted: np.ndarray, correct: np.ndarray, floor: float) -> float:
    """Give the cut with the most correct ones whose precision reaches the floor; 1.0 if none does."""
    reached = (predicted > 0) & (correct >= floor * predicted)
    return float(cuts[int(np.argmax(np.where(reached, correct, -1)))]) if reached.any() else 1.0


def _image_f1(predicted: np.ndarray, targets: np.ndarray) -> float:
    true = targets > 0
    predicted = predicted & (targets >= 0)
    return mean_precision_recall_f1(Counts(true.sum(1), predicted.sum(1), (true & predicted).sum(1))).f1


def _climb(scores: np.ndarray, targets: np.ndarray, start: float, sweeps: int = 3) -> list[float]:
    chosen = np.full(scores.shape[1], start, dtype=np.float32)
    true = targets > 0
    predicted = (scores > chosen) & (targets >= 0)
    wanted, given, right = true.sum(1), predicted.sum(1), (true & predicted).sum(1)
    best = mean_precision_recall_f1(Counts(wanted, given, right)).f1
    for _ in range(sweeps):
        before = best
        for c in np.flatnonzero(true.any(0)):
            known = targets[:, c] >= 0
            others, others_right = given - predicted[:, c], right - (predicted & true)[:, c]
            evaluate: Callable[[np.ndarray], float] = lambda column: mean_precision_recall_f1(Counts(
                wanted, others + column, others_right + (column & true[:, c]))).f1  # noqa: B023  used at once
            columns = {float(cut): (scores[:, c] > cut) & known for cut in cut_points(scores[known, c], MAX_CANDIDATES)}
            cut, value = max(((cut, evaluate(column)) for cut, column in columns.items()), key=lambda pair: pair[1])
            if value > best + 1e-9:
                best, chosen[c], predicted[:, c] = value, cut, columns[cut]
                given, right = others + columns[cut], others_right + (columns[cut] & true[:, c])
        if best <= before + 1e-9:
            break
    return [float(value) for value in chosen]
