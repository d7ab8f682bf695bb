"""Chooses thresholds, and measures the calibration of scores. No MMEngine here.

N images, C labels, scores (N, C) in 0-1, targets (N, C) in {0, 1, -1}; -1 is left out of every
count. A label is predicted if its score is strictly greater than its threshold.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..deploy.labels import mark_labels
from ..utils.checks import check_choice, check_positive, check_probability
from .functional import count_sets, overall_precision_recall_f1, paper_figures
from .resampling import LabelSets, bootstrap_images

MEASURES = ('per-label-f1', 'per-image-f1', 'precision')
SCOPES = ('global', 'label')
DEFAULT = 0.5  # for a label without validation images
FIGURES = {'per-label-f1': 'F1_L', 'per-image-f1': 'F1_I'}


def cut_points(scores: np.ndarray) -> np.ndarray:
    """Return descending thresholds that split the scores in every possible way, once each.

    A threshold is the middle of two neighbouring scores, in float32 like the scores.

    Args:
        scores: Any shape.

    Examples:
        >>> cut_points(np.float32([0.5, 0.25, 0.5, 0.75])).tolist()
        [0.75, 0.625, 0.375, 0.125]
    """
    values = np.unique(np.asarray(scores, dtype=np.float32))[::-1]
    below = np.append(values[1:], np.float32(0))
    middle = ((values.astype(np.float64) + below) / 2).astype(np.float32)

    # float32 has no number between direct neighbours.
    is_between = (middle < values) & (middle > below)
    return np.append(values[:1], np.where(is_between, middle, below))


def sweep(scores: np.ndarray, *gains: np.ndarray) -> tuple[np.ndarray, ...]:
    """Sweep a threshold from the highest to the lowest score and accumulate the gains.

    Args:
        scores: (K,). A score of 0 exceeds no threshold, and adds nothing.
        *gains: (K,) each.

    Returns:
        All different thresholds (cuts,), descending; the first one predicts nothing; and the sums
        (cuts,).

    Examples:
        >>> sweep(np.float32([0.2, 0.6, 0.6]), np.array([5, 1, 2]))[1].tolist()
        [0, 3, 8]
    """
    passed = scores > 0
    if not passed.any():
        nothing = [np.zeros(1, dtype=gain.dtype) for gain in gains]
        return np.array([DEFAULT], dtype=np.float32), *nothing

    order = np.argsort(-scores[passed], kind='stable')
    return _accumulate(scores[passed][order], *(gain[passed][order] for gain in gains))


def _accumulate(scores: np.ndarray, *gains: np.ndarray) -> tuple[np.ndarray, ...]:
    """Do as :func:`sweep` with positive scores in descending order."""
    is_last = np.append(scores[1:] != scores[:-1], True)  # of equal scores

    sums = []
    for gain in gains:
        total = gain.cumsum()
        sums.append(np.append(total.dtype.type(0), total[is_last]))

    return cut_points(scores[is_last]), *sums


class ImageSweep(NamedTuple):
    """A sweep of one threshold over images, sorted once for any number of parts of them.

    K entries with a score above 0, from the highest score down.

    Attributes:
        image: (K,), the row of the entry.
        score: (K,).
        gains: (K,) each: what the entry adds to the precision and the recall of its image.
        num_images: N.
    """

    image: np.ndarray
    score: np.ndarray
    gains: tuple[np.ndarray, ...]
    num_images: int

    @classmethod
    def of(cls, scores: np.ndarray, targets: np.ndarray) -> 'ImageSweep':
        """Sort the scores (N, C), with targets (N, C)."""
        entries = np.flatnonzero(scores > 0)
        flat = scores.ravel()[entries]
        order = np.argsort(-flat, kind='stable')
        place = entries[order]
        gains = tuple(gain.ravel()[place] for gain in _row_gains(scores, targets))
        return cls(place // scores.shape[1], flat[order], gains, len(scores))

    def choose(self, images: np.ndarray) -> float:
        """Return the threshold with the best F1_I on some of the images.

        Args:
            images: Their rows, ascending: in their order equal scores are added.
        """
        is_chosen = np.zeros(self.num_images, dtype=bool)
        is_chosen[images] = True

        kept = is_chosen[self.image]
        if not kept.any():
            return DEFAULT

        gains = (gain[kept] / len(images) for gain in self.gains)
        cuts, precision, recall = _accumulate(self.score[kept], *gains)
        return float(cuts[_best(precision, recall)[0]])


def global_threshold(
    scores: np.ndarray,
    targets: np.ndarray,
    measure: str,
    floor: float = 0.9,
) -> float:
    """Choose the best of all possible thresholds for all labels, in one sweep.

    Args:
        scores: (N, C).
        targets: (N, C).
        measure: ``'per-label-f1'`` (F1_L), ``'per-image-f1'`` (F1_I), or ``'precision'``: the
            highest recall at a precision of at least ``floor``.
        floor: 0-1, for ``'precision'``.

    Returns:
        The threshold; the highest of equally good ones.
    """
    _check(measure, floor)
    if measure == 'precision':
        cuts, predicted, correct = _count(scores.ravel(), targets.ravel())
        return _at_floor(cuts, predicted, correct, floor)

    if measure == 'per-image-f1':
        return ImageSweep.of(scores, targets).choose(np.arange(len(scores)))
    gains = [gain.ravel() / scores.shape[1] for gain in _row_gains(scores.T, targets.T)]
    cuts, precision, recall = sweep(scores.T.ravel(), *gains)
    return float(cuts[_best(precision, recall)[0]])


def label_thresholds(
    scores: np.ndarray,
    targets: np.ndarray,
    measure: str,
    floor: float = 0.9,
) -> list[float]:
    """Choose a threshold for each label.

    ``'per-label-f1'`` maximises the F1 of each label. ``'precision'`` finds the highest recall of
    each label at a precision of at least ``floor`` (1.0, never predicted, if none reaches it).
    ``'per-image-f1'`` starts from the best global threshold and changes one label at a time while
    F1_I improves, which ends in a local optimum. A label without true images keeps 0.5, or the
    global threshold.

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
            f1 = 2 * correct / (number + predicted)
            chosen.append(float(cuts[int(np.argmax(f1))]))

    return chosen


def choose_thresholds(
    scores: np.ndarray,
    targets: np.ndarray,
    measure: str,
    scope: str,
    floor: float = 0.9,
) -> float | list[float]:
    """Choose one threshold by :func:`global_threshold` or C by :func:`label_thresholds`.

    Args:
        scores: (N, C).
        targets: (N, C).
        measure: See there.
        scope: ``'global'`` or ``'label'``.
        floor: See there.
    """
    check_choice('scope', scope, SCOPES)
    choose = label_thresholds if scope == 'label' else global_threshold
    return choose(scores, targets, measure, floor)


def predict_held_out(
    scores: np.ndarray,
    targets: np.ndarray,
    measure: str,
    scope: str,
    floor: float = 0.9,
    folds: int = 5,
) -> np.ndarray:
    """Predict every image with thresholds chosen without it (cross-validation).

    The folds are the same for every scope and measure.

    Args:
        scores: (N, C).
        targets: (N, C).
        measure: See :func:`global_threshold`.
        scope: ``'global'`` or ``'label'``.
        floor: 0-1, for ``'precision'``.
        folds: 2 to N.

    Returns:
        Boolean (N, C).

    Raises:
        ValueError: If there are fewer images than folds, or fewer than two folds.
    """
    return _predict_folds(scores, _make_chooser(scores, targets, measure, scope, floor), folds)


Chooser = Callable[[np.ndarray], float | list[float]]


def _make_chooser(
    scores: np.ndarray, targets: np.ndarray, measure: str, scope: str, floor: float = 0.9
) -> Chooser:
    """Return a function that chooses thresholds on some images, given by ascending rows."""
    if (measure, scope) == ('per-image-f1', 'global'):
        return ImageSweep.of(scores, targets).choose
    return lambda images: choose_thresholds(scores[images], targets[images], measure, scope, floor)


def _predict_folds(scores: np.ndarray, choose: Chooser, folds: int) -> np.ndarray:
    """Predict every image with thresholds chosen without its fold, see :func:`predict_held_out`."""
    check_positive(folds=folds)
    if not 2 <= folds <= len(scores):
        raise ValueError(
            f'Expected `folds` to be between 2 and the number of images, {len(scores)}, but got '
            f'{folds}.'
        )

    predicted = np.zeros(scores.shape, dtype=bool)
    order = np.random.default_rng(0).permutation(len(scores))
    for held_out in np.array_split(order, folds):
        thr = choose(np.setdiff1d(order, held_out))
        predicted[held_out] = mark_labels(scores[held_out], thr)

    return predicted


def calibrate_globally(
    scores: np.ndarray,
    targets: np.ndarray,
    measure: str,
    folds: int = 5,
) -> tuple[float, list[float]]:
    """Choose one threshold on all images, and evaluate it by cross-validation.

    Args:
        scores: (N, C).
        targets: (N, C).
        measure: See :func:`global_threshold`.
        folds: Parts of the cross-validation, at most N. A single image is evaluated with its own
            threshold.

    Returns:
        The threshold, and P_L, R_L, F1_L, P_I, R_I and F1_I in percent.
    """
    _check(measure, floor=0)
    choose = _make_chooser(scores, targets, measure, 'global')
    thr = choose(np.arange(len(scores)))
    assert isinstance(thr, float)

    folds = min(folds, len(scores))
    predicted = mark_labels(scores, thr) if folds < 2 else _predict_folds(scores, choose, folds)
    return thr, paper_figures(predicted, targets)


class ScopeChoice(NamedTuple):
    """The choice between one threshold and one for each label.

    Attributes:
        scope: ``'global'`` or ``'label'``.
        held_out: For each scope, percent on held-out images: F1_L or F1_I; for ``'precision'`` the
            precision.
        reason: A sentence for the user.
    """

    scope: str
    held_out: dict[str, float]
    reason: str


def choose_scope(
    scores: np.ndarray,
    targets: np.ndarray,
    measure: str,
    floor: float = 0.9,
    folds: int = 5,
) -> ScopeChoice:
    """Choose between one threshold and one for each label by cross-validation.

    A threshold per label is fitted to few images, so its gain may not generalise. It is used only
    if the gain on held-out images exceeds its standard error (a bootstrap over images). For
    ``'precision'``: of the scopes whose precision on held-out images reaches the floor, the one
    with more correct labels; if none does, the closer one. One threshold if there are fewer images
    than folds.

    Args:
        scores: (N, C).
        targets: (N, C).
        measure: See :func:`global_threshold`.
        floor: 0-1, for ``'precision'``.
        folds: Number of parts that the images are split into.
    """
    _check(measure, floor)
    if len(scores) < folds:
        reason = f'One threshold for all labels: {len(scores)} images are too few to compare.'
        return ScopeChoice('global', {}, reason)

    predicted = {
        scope: predict_held_out(scores, targets, measure, scope, floor, folds) for scope in SCOPES
    }
    if measure == 'precision':
        return _choose_by_floor(predicted, targets, floor, folds)

    name = FIGURES[measure]
    sets = {scope: LabelSets.of(chosen, targets) for scope, chosen in predicted.items()}

    def gain(weights: np.ndarray) -> np.ndarray:
        label, one = (sets[scope].figures(weights)[name] for scope in ('label', 'global'))
        return label - one

    error = float(bootstrap_images(gain, len(scores), 500).standard_error)
    held_out = {scope: float(found.figures()[name][0]) for scope, found in sets.items()}
    difference = held_out['label'] - held_out['global']
    scope = 'label' if difference > error else 'global'
    return ScopeChoice(scope, held_out, _explain(scope, name, held_out, error, len(scores), folds))


def _explain(
    scope: str,
    name: str,
    held_out: dict[str, float],
    error: float,
    number: int,
    folds: int,
) -> str:
    taken = {'label': 'A threshold for each label', 'global': 'One threshold for all labels'}[scope]
    return (
        f'{taken}: on images it was chosen without, one per label has {name} '
        f'{held_out["label"]:.2f} and one for all {held_out["global"]:.2f} (cross-validation over '
        f'{number} images, {folds} parts; standard error of the difference {error:.2f}, which one '
        'a label has to exceed).'
    )


def _choose_by_floor(
    predicted: dict[str, np.ndarray],
    targets: np.ndarray,
    floor: float,
    folds: int,
) -> ScopeChoice:
    """Prefer the scope that reaches the floor, then the one with more correct labels."""
    counts = {scope: count_sets(chosen, targets, axis=0) for scope, chosen in predicted.items()}
    correct = {scope: int(count.correct.sum()) for scope, count in counts.items()}
    held_out = {
        scope: overall_precision_recall_f1(count).precision for scope, count in counts.items()
    }

    reached = [scope for scope in SCOPES if held_out[scope] >= 100 * floor]
    if reached:
        scope = max(reached, key=lambda scope: correct[scope])
    else:
        scope = max(SCOPES, key=lambda scope: held_out[scope])

    taken = {'label': 'A threshold for each label', 'global': 'One threshold for all labels'}[scope]
    found = ' and '.join(
        f'{title} {correct[key]} right labels at a precision of {held_out[key]:.2f} %'
        for key, title in (('label', 'one per label has'), ('global', 'one for all'))
    )
    reason = (
        f'{taken}: on images it was chosen without, {found} (cross-validation over '
        f'{len(targets)} images, {folds} parts; {100 * floor:g} % are wanted).'
    )
    return ScopeChoice(scope, held_out, reason)


class Reliability(NamedTuple):
    """A reliability curve; arrays with one entry per non-empty bin.

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


def reliability_curve(
    scores: np.ndarray,
    targets: np.ndarray,
    bins: int = 10,
) -> Reliability:
    """Compare scores with the share of true labels, in bins of equal width.

    (a, b] and 0 in the first.

    Examples:
        >>> curve = reliability_curve(np.array([0.9, 0.9, 0.2, 0.2]), np.array([1, 1, 0, 1]))
        >>> curve.share.tolist(), curve.number.tolist(), round(curve.error, 3)
        ([0.5, 1.0], [2, 2], 0.2)
    """
    known = targets >= 0
    values = scores[known].astype(np.float64)
    true = targets[known] > 0
    upper = np.ceil(values * bins).astype(int)  # a bin holds its upper end
    place = np.clip(upper - 1, 0, bins - 1)

    count = np.bincount(place, minlength=bins)
    filled = count > 0
    number = count[filled]

    def mean_in_bins(values: np.ndarray) -> np.ndarray:
        return np.bincount(place, weights=values, minlength=bins)[filled] / number

    score = mean_in_bins(values)
    share = mean_in_bins(true)
    error = (np.abs(score - share) * number).sum() / count.sum()
    return Reliability(score, share, number, float(error))


def _check(measure: str, floor: float) -> None:
    check_choice('measure', measure, MEASURES)
    check_probability('floor', floor)


def _at_floor(
    cuts: np.ndarray,
    predicted: np.ndarray,
    correct: np.ndarray,
    floor: float,
) -> float:
    """Return the cut that reaches the floor with the most correct labels, or 1.0."""
    reached = (predicted > 0) & (correct >= floor * predicted)
    if not reached.any():
        return 1.0
    best = np.argmax(np.where(reached, correct, -1))
    return float(cuts[best])


def _count(scores: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, ...]:
    """Count the predicted and the correct labels at every threshold of (K,) scores."""
    known = targets >= 0
    true = (targets[known] > 0).astype(np.int64)
    return sweep(scores[known], np.ones(len(true), dtype=np.int64), true)


def _row_gains(scores: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each entry's gain in its row's precision and recall, given those above.

    Args:
        scores: (R, K), one row per image or per label.
        targets: (R, K).

    Returns:
        Two arrays (R, K); 0 where the target is unknown.
    """
    known = targets >= 0
    true = targets > 0

    # From the highest score down: the change in precision with each further entry.
    order = np.argsort(np.where(known, -scores, np.inf), axis=1, kind='stable')
    correct = np.take_along_axis(true, order, axis=1).cumsum(axis=1)
    predicted = np.arange(1, scores.shape[1] + 1)
    changes = np.diff(correct / predicted, axis=1, prepend=0)

    # Back to the order of the entries.
    precision = np.empty(scores.shape)
    np.put_along_axis(precision, order, changes, axis=1)

    num_true = true.sum(axis=1, keepdims=True)
    recall = true / np.maximum(num_true, 1)
    return precision * known, recall


def _best(precision: np.ndarray, recall: np.ndarray) -> tuple[int, float]:
    """Find the first highest harmonic mean, and its value.

    Sums that differ only by rounding count as equal.
    """
    total = precision + recall
    f1 = np.zeros(len(total))
    np.divide(2 * precision * recall, total, out=f1, where=total > 1e-12)
    place = int(np.argmax(f1.round(10)))
    return place, float(f1[place])


def _climb(
    scores: np.ndarray,
    targets: np.ndarray,
    start: float,
    sweeps: int = 3,
) -> list[float]:
    """Change one label's threshold at a time while the per-image F1 rises."""
    chosen = np.full(scores.shape[1], start, dtype=np.float32)
    known = targets >= 0
    true = targets > 0
    predicted = (scores > chosen) & known
    best = _mean_f1(predicted, true)

    for _ in range(sweeps):
        before = best
        for label in np.flatnonzero(true.any(0)).tolist():
            cut, value = _best_cut(label, scores[:, label], predicted, true, known[:, label])
            if value > best + 1e-9:
                best = value
                chosen[label] = cut
                predicted[:, label] = (scores[:, label] > cut) & known[:, label]

        if best <= before + 1e-9:
            break

    return [float(value) for value in chosen]


def _mean_f1(predicted: np.ndarray, true: np.ndarray) -> float:
    """Compute the harmonic mean of mean precision and mean recall over images, 0-1."""
    hits = (predicted & true).sum(1)
    precision = hits / np.maximum(predicted.sum(1), 1)
    recall = hits / np.maximum(true.sum(1), 1)
    return _best(precision.mean()[None], recall.mean()[None])[1]


def _best_cut(
    label: int,
    scores: np.ndarray,
    predicted: np.ndarray,
    true: np.ndarray,
    known: np.ndarray,
) -> tuple[np.float32, float]:
    """Find the threshold of one label with the highest per-image F1, given the other labels.

    Args:
        label: The label.
        scores: (N,) of the label.
        predicted: (N, C), of all labels.
        true: (N, C).
        known: (N,), where the label is not ignored.
    """
    num_images = len(scores)
    wanted = np.maximum(true.sum(1), 1)
    hits = predicted & true

    # Precision and recall of each image without the label, and what the label would add.
    others = predicted.sum(1) - predicted[:, label]
    right = hits.sum(1) - hits[:, label]
    precision = right / np.maximum(others, 1)
    recall = right / wanted
    with_label = (right + true[:, label]) / (others + 1)
    more_precision = known * (with_label - precision)
    more_recall = true[:, label] / wanted

    cuts, precisions, recalls = sweep(scores, more_precision / num_images, more_recall / num_images)
    place, value = _best(precision.mean() + precisions, recall.mean() + recalls)
    return cuts[place], value
