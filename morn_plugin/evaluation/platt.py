"""Maps scores to probabilities by one sigmoid for all labels, fitted on validation.

Platt, "Probabilistic Outputs for Support Vector Machines", 1999. The map keeps the order of the
scores. Afterwards 0.5 means that a label is as likely true as false. No MMEngine here.
"""

from typing import NamedTuple

import numpy as np

from ..utils.checks import check_choice

SPACES = ('logit', 'score')


class PlattMap(NamedTuple):
    """The map from a score to the probability sigmoid(slope x + offset).

    Attributes:
        slope: Positive, which keeps the order of the scores.
        offset: The offset.
        space: The input x: ``'logit'``, log(s / (1 - s)) of the score s, or ``'score'``, s itself.
    """

    slope: float
    offset: float
    space: str = 'logit'

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        """Map scores of any shape to probabilities.

        Examples:
            >>> PlattMap(1.0, 0.0).probabilities(np.array([0.25, 0.5])).round(6).tolist()
            [0.25, 0.5]
        """
        logits = self.slope * _as_values(scores, self.space) + self.offset
        return 1 / (1 + np.exp(-logits))


def fit_score_map(
    scores: np.ndarray,
    targets: np.ndarray,
    space: str = 'logit',
) -> PlattMap:
    """Fit one sigmoid for all labels on validation (Platt 1999).

    For scores that are not probabilities: after the map, 0.5 means that a label is as likely true
    as false.

    Args:
        scores: Any shape, 0-1 if ``space`` is ``'logit'``.
        targets: The same shape, in {0, 1, -1}.
        space: See :class:`PlattMap`.

    Raises:
        ValueError: See :func:`fit_platt`.
    """
    check_choice('space', space, SPACES)
    slope, offset, _ = fit_platt(_as_values(scores, space), targets)
    return PlattMap(slope, offset, space)


def fit_platt(
    values: np.ndarray,
    targets: np.ndarray,
    max_iterations: int = 100,
) -> PlattMap:
    """Fit a sigmoid by maximum likelihood, with Newton's method.

    Platt's targets, (n_true + 1) / (n_true + 2) and 1 / (n_false + 2) instead of 1 and 0, keep the
    map finite if true and false scores do not overlap.

    Args:
        values: Scores of any scale, any shape.
        targets: The same shape, in {0, 1, -1}; -1 is left out.
        max_iterations: Maximum number of Newton steps.

    Returns:
        The map of ``values``, with positive slope.

    Raises:
        ValueError: If true or false labels are missing, a value is not finite, or higher scores do
            not correspond to true labels.

    Examples:
        >>> fitted = fit_platt(np.array([-1.0, 0.0, 0.0, 1.0]), np.array([0, 0, 1, 1]))
        >>> round(fitted.slope, 3), abs(round(fitted.offset, 3))
        (1.099, 0.0)
    """
    known = np.asarray(targets) >= 0
    x = np.asarray(values, dtype=np.float64)[known]
    true = np.asarray(targets)[known] == 1
    _check_fit(x, true)

    num_true = true.sum()
    num_false = (~true).sum()
    for_true = (num_true + 1) / (num_true + 2)
    for_false = 1 / (num_false + 2)
    wanted = np.where(true, for_true, for_false)

    # Standardised values are better conditioned.
    centre = x.mean()
    scale = x.std() or 1.0
    standard = (x - centre) / scale
    design = np.stack([standard, np.ones_like(x)], axis=1)  # (K, 2)

    prior = np.log((num_true + 1) / (num_false + 1))
    weights = np.array([0.0, prior])
    for _ in range(max_iterations):
        step = _newton_step(design, wanted, weights)
        weights = weights + step
        if np.abs(step).max() < 1e-12:
            break

    slope = weights[0] / scale
    if not slope > 0:
        raise ValueError(
            f'Higher scores do not go with true labels (the fitted slope is {slope:g}): a map of '
            'positive slope does not exist. Check that scores and annotations belong together.'
        )

    return PlattMap(float(slope), float(weights[1] - slope * centre), 'score')


def _check_fit(x: np.ndarray, true: np.ndarray) -> None:
    if not true.any() or true.all():
        raise ValueError(
            'Expected true and false labels to fit a map from, but got '
            f'{int(true.sum())} true ones of {true.size} that are known.'
        )
    if not np.isfinite(x).all():
        raise ValueError(f'Expected finite scores, but {int((~np.isfinite(x)).sum())} are not.')


def _newton_step(
    design: np.ndarray,
    wanted: np.ndarray,
    weights: np.ndarray,
) -> np.ndarray:
    """Return a Newton step (2,), halved until the likelihood increases."""
    logits = design @ weights
    probs = 1 / (1 + np.exp(-logits))
    gradient = design.T @ (wanted - probs)
    variance = probs * (1 - probs)
    curvature = (design * variance[:, None]).T @ design
    step = np.linalg.solve(curvature + 1e-12 * np.eye(2), gradient)

    before = _log_likelihood(logits, wanted)
    for _ in range(50):
        if _log_likelihood(design @ (weights + step), wanted) >= before:
            return step
        step = step / 2

    return np.zeros(2)


def _log_likelihood(logits: np.ndarray, wanted: np.ndarray) -> float:
    return float((wanted * logits - np.logaddexp(0, logits)).sum())


def _as_values(scores: np.ndarray, space: str) -> np.ndarray:
    """Return the input of a map's sigmoid: the scores, or their logits without infinities."""
    if space == 'score':
        return np.asarray(scores)
    least = np.finfo(np.float32).eps
    inside = np.clip(np.asarray(scores, dtype=np.float64), least, 1 - least)
    return np.log(inside) - np.log1p(-inside)
