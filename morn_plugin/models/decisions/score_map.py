"""A scale for scores that have none: one sigmoid for all labels, fitted on validation.

Platt, "Probabilistic Outputs for Support Vector Machines", 1999. The order of the scores stays; 0.5
comes to mean that a label is as likely true as false.

N images, C labels.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...utils.checks import check_choice, check_probability
from .base import DecisionRule

SPACES = ('logit', 'score')


class PlattMap(NamedTuple):
    """The map x -> sigmoid(slope x + offset)."""

    slope: float
    offset: float


def fit_platt(values: np.ndarray, targets: np.ndarray, max_iterations: int = 100) -> PlattMap:
    """Fit a sigmoid by maximum likelihood, with Newton's method.

    Platt's targets, (n_true + 1) / (n_true + 2) and 1 / (n_false + 2) in place of 1 and 0, keep the
    map finite where true and false do not overlap.

    Args:
        values: Scores of any scale, any shape.
        targets: The same shape, in {0, 1, -1}; -1 is left out.
        max_iterations: Of Newton's method.

    Returns:
        The map, of positive slope.

    Raises:
        ValueError: If true or false labels are missing, a value is not finite, or higher scores do
            not go with true labels.

    Examples:
        >>> fitted = fit_platt(np.array([-1.0, 0.0, 0.0, 1.0]), np.array([0, 0, 1, 1]))
        >>> round(fitted.slope, 3), abs(round(fitted.offset, 3))
        (1.099, 0.0)
    """
    known = np.asarray(targets) >= 0
    x, true = np.asarray(values, dtype=np.float64)[known], np.asarray(targets)[known] == 1
    _check_fit(x, true)

    num_true, num_false = true.sum(), (~true).sum()
    wanted = np.where(true, (num_true + 1) / (num_true + 2), 1 / (num_false + 2))
    centre, scale = x.mean(), x.std() or 1.0
    design = np.stack([(x - centre) / scale, np.ones_like(x)], axis=1)  # (K, 2)

    weights = np.array([0.0, np.log((num_true + 1) / (num_false + 1))])
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
    return PlattMap(float(slope), float(weights[1] - slope * centre))


def _check_fit(x: np.ndarray, true: np.ndarray) -> None:
    if not true.any() or true.all():
        raise ValueError(
            'Expected true and false labels to fit a map from, but got '
            f'{int(true.sum())} true ones of {true.size} that are known.'
        )
    if not np.isfinite(x).all():
        raise ValueError(f'Expected finite scores, but {int((~np.isfinite(x)).sum())} are not.')


def _newton_step(design: np.ndarray, wanted: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the step (2,) towards the maximum of the likelihood, halved until it does gain."""
    logits = design @ weights
    probs = 1 / (1 + np.exp(-logits))
    gradient = design.T @ (wanted - probs)
    curvature = (design * (probs * (1 - probs))[:, None]).T @ design
    step = np.linalg.solve(curvature + 1e-12 * np.eye(2), gradient)

    before = _log_likelihood(logits, wanted)
    for _ in range(50):
        if _log_likelihood(design @ (weights + step), wanted) >= before:
            return step
        step = step / 2
    return np.zeros(2)


def _log_likelihood(logits: np.ndarray, wanted: np.ndarray) -> float:
    return float((wanted * logits - np.logaddexp(0, logits)).sum())


class ScoreMap(DecisionRule):
    """Probabilities by one sigmoid of the scores, then a threshold.

    Args:
        num_classes: Number of labels C.
        slope: Of the sigmoid. Defaults to 1.
        offset: Defaults to 0.
        space: What the sigmoid is taken of: ``'logit'`` (default), log(s / (1 - s)), which is the
            method's own where scores are a sigmoid; or ``'score'``, the scores themselves, such as
            sums over neighbours.
        thr: Labels with a probability strictly greater are predicted. Defaults to 0.5.

    Raises:
        ValueError: If ``slope`` is not positive, or another argument is out of its range.
    """

    slope: Tensor
    offset: Tensor

    def __init__(
        self,
        num_classes: int,
        slope: float = 1.0,
        offset: float = 0.0,
        space: str = 'logit',
        thr: float = 0.5,
    ) -> None:
        super().__init__(num_classes)
        check_choice('space', space, SPACES)
        check_probability('thr', thr)
        if slope <= 0:
            raise ValueError(f'Expected `slope` to be positive, but got {slope!r}.')
        self.space, self.thr = space, thr
        self.register_buffer('slope', torch.tensor(float(slope)))
        self.register_buffer('offset', torch.tensor(float(offset)))

    def fit(self, scores: np.ndarray, targets: np.ndarray) -> None:
        """Fit slope and offset to validation.

        Args:
            scores: The method's scores (N, C).
            targets: (N, C) in {0, 1, -1}.

        Raises:
            ValueError: See :func:`fit_platt`.
        """
        values = self._values(torch.as_tensor(np.asarray(scores))).numpy()
        slope, offset = fit_platt(values, targets)
        self.slope.fill_(slope)
        self.offset.fill_(offset)

    def map_scores(self, scores: Tensor) -> Tensor:
        """Map scores (N, C) to probabilities (N, C)."""
        self.check_scores(scores)
        return (self.slope * self._values(scores) + self.offset).sigmoid()

    def decide(self, scores: Tensor, **inputs: Any) -> Tensor:
        """Mark the labels whose probability is above the threshold: (N, C) to boolean (N, C)."""
        return self.map_scores(scores) > self.thr

    def _values(self, scores: Tensor) -> Tensor:
        if self.space == 'score':
            return scores
        return scores.logit(eps=torch.finfo(scores.dtype).eps)
