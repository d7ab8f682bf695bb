"""Choosing thresholds, and how far scores are probabilities. No MMEngine here.

N images, C labels, scores (N, C) in 0-1, targets (N, C) in {0, 1, -1}; -1 is left out of every
count. A label is predicted where its score is strictly greater than its threshold.
"""

from typing import NamedTuple

import numpy as np

from ..utils.checks import check_choice, check_probability

MEASURES = ('per-label-f1', 'per-image-f1', 'precision')
DEFAULT = 0.5  # of a label that validation says nothing about


def cut_points(scores: np.ndarray) -> np.ndarray:
    """Give thresholds, descending, that part the scores in every possible way, once each.

    Between two neighbouring scores the middle is taken; float32, as scores are.

    Args:
        scores: Any shape.

    Examples:
        >>> cut_points(np.float32([0.5, 0.25, 0.5, 0.75])).tolist()
        [0.75, 0.625, 0.375, 0.125]
    """
    values = np.unique(np.asarray(scores, dtype=np.float32))[::-1]
    below = np.append(values[1:], np.float32(0))
    middle = ((values.astype(np.float64) + below) / 2).astype(np.float32)
    cuts = np.where(
        (middle < values) & (middle > below), middle, below
    )  # neighbours in float32 have nothing between
    return np.append(values[:1], cuts)


def sweep(scores: np.ndarray, *gains: np.ndarray) -> tuple[np.ndarray, ...]:
    """Lower a threshold from the highest score to the lowest.

    And add up what each score that is passed brings.

    Args:
        scores: (K,). One of 0 exceeds no threshold, and brings nothing.
        *gains: (K,) each.

    Returns:
        All different thresholds (cuts,), descending, at the first of which nothing is predicted;
        and the sums (cuts,).

    Examples:
        >>> sweep(np.float32([0.2, 0.6, 0.6]), np.array([5, 1, 2]))[1].tolist()
        [0, 3, 8]
    """
    passed = scores > 0
    if not passed.any():
        return np.array([DEFAULT], dtype=np.float32), *(
            np.zeros(1, dtype=gain.dtype) for gain in gains
        )
    order = np.argsort(-scores[passed], kind='stable')
    values = scores[passed][order]
    last = np.append(values[1:] != values[:-1], True)  # of equal scores
    return cut_points(values), *(
        np.append(gain.dtype.type(0), gain[passed][order].cumsum()[last]) for gain in gains
    )


def global_threshold(
    scores: np.ndarray, targets: np.ndarray, measure: str, floor: float = 0.9
) -> float:
    """Choose one threshold for all labels: the best of all there are, found in one sweep.

    Args:
        scores: (N, C).
        targets: (N, C).
        measure: ``'per-label-f1'`` (F1_L), ``'per-image-f1'`` (F1_I), or ``'precision'``: the
            highest recall with at least ``floor`` of all predicted labels right.
        floor: 0-1, for ``'precision'``.

    Returns:
        The threshold; of equally good ones the highest.
    """
    _check(measure, floor)
    if measure == 'precision':
        cuts, predicted, correct = _count(scores.ravel(), targets.ravel())
        return _at_floor(cuts, predicted, correct, floor)
    rows = (scores, targets) if measure == 'per-image-f1' else (scores.T, targets.T)
    cuts, precision, recall = sweep(rows[0].ravel(), *(gain.ravel() for gain in _mean_gains(*rows)))
    return float(cuts[_best(precision, recall)[0]])


def label_thresholds(
    scores: np.ndarray, targets: np.ndarray, measure: str, floor: float = 0.9
) -> list[float]:
    """Choose a threshold for each label.

    ``'per-label-f1'`` makes each label's own F1 best; ``'precision'`` gives each label the highest
    recall with at least ``floor`` of its predictions right (1.0, never predicted, where none
    reaches it). ``'per-image-f1'`` starts from the best global one and changes one label at a time
    while F1_I gets better: a local optimum. A label without a true image keeps 0.5, or the global
    one.

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
        cuts, predicted, correct = _count(scores[:, c], targets[:, c])
        number = (targets[:, c] > 0).sum()
        if not number:
            chosen.append(DEFAULT)
        elif measure == 'precision':
            chosen.append(_at_floor(cuts, predicted, correct, floor))
        else:
            chosen.append(float(cuts[int(np.argmax(2 * correct / (number + predicted)))]))
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
    """Compare scores with how often they are right, in bins of equal width.

    (a, b] and 0 in the first.

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
    score, share = (
        np.bincount(place, weights=part, minlength=bins)[kept] / count[kept]
        for part in (values, true)
    )
    return Reliability(
        score, share, count[kept], float((np.abs(score - share) * count[kept]).sum() / count.sum())
    )


def _check(measure: str, floor: float) -> None:
    check_choice('measure', measure, MEASURES)
    check_probability('floor', floor)


def _at_floor(cuts: np.ndarray, predicted: np.ndarray, correct: np.ndarray, floor: float) -> float:
    """Give the cut with the most correct ones whose precision reaches the floor.

    1.0 if none does.
    """
    reached = (predicted > 0) & (correct >= floor * predicted)
    return float(cuts[int(np.argmax(np.where(reached, correct, -1)))]) if reached.any() else 1.0


def _count(scores: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, ...]:
    """Count, at every threshold of (K,) scores.

    The labels predicted and those of them that are right.
    """
    known = targets >= 0
    return sweep(
        scores[known], np.ones(known.sum(), dtype=np.int64), (targets[known] > 0).astype(np.int64)
    )


def _mean_gains(scores: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what each entry adds to the rows' mean precision and recall, given those above it.

    Args:
        scores: (R, K), a row an image, or a row a label.
        targets: (R, K).

    Returns:
        Two arrays (R, K); 0 where the target is unknown.
    """
    known, true = targets >= 0, targets > 0
    order = np.argsort(np.where(known, -scores, np.inf), axis=1, kind='stable')
    correct = np.take_along_axis(true, order, axis=1).cumsum(axis=1)
    precision = np.empty(scores.shape)
    np.put_along_axis(
        precision,
        order,
        np.diff(correct / np.arange(1, scores.shape[1] + 1), axis=1, prepend=0),
        axis=1,
    )
    recall = true / np.maximum(true.sum(axis=1, keepdims=True), 1)
    return precision * known / len(scores), recall / len(scores)


def _best(precision: np.ndarray, recall: np.ndarray) -> tuple[int, float]:
    """Find the first of the highest harmonic means, and what it is.

    Sums that differ by rounding alone count as equal.
    """
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros(len(total)), where=total > 1e-12)
    place = int(np.argmax(f1.round(10)))
    return place, float(f1[place])


def _climb(scores: np.ndarray, targets: np.ndarray, start: float, sweeps: int = 3) -> list[float]:
    chosen = np.full(scores.shape[1], start, dtype=np.float32)
    known, true = targets >= 0, targets > 0
    predicted = (scores > chosen) & known
    wanted = np.maximum(true.sum(1), 1)
    hits = (predicted & true).sum(1)
    _, best = _best(
        (hits / np.maximum(predicted.sum(1), 1)).mean()[None], (hits / wanted).mean()[None]
    )
    for _ in range(sweeps):
        before = best
        for c in np.flatnonzero(true.any(0)):
            others = predicted.sum(1) - predicted[:, c]
            right = (predicted & true).sum(1) - (predicted & true)[:, c]
            without = right / np.maximum(others, 1)  # precision of each image
            gains = (
                known[:, c] * ((right + true[:, c]) / (others + 1) - without),
                true[:, c] / wanted,
            )
            cuts, *sums = sweep(scores[:, c], *(gain / len(scores) for gain in gains))
            place, value = _best(without.mean() + sums[0], (right / wanted).mean() + sums[1])
            if value > best + 1e-9:
                best, chosen[c] = value, cuts[place]
                predicted[:, c] = (scores[:, c] > chosen[c]) & known[:, c]
        if best <= before + 1e-9:
            break
    return [float(value) for value in chosen]
