"""Figures of resampled test images, for a bootstrap over images. No MMEngine here.

N images, C labels, B resamples. A resample is a row of weights (N,): how often each image is drawn.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .columns import OVERALL_COLUMNS, PER_IMAGE_COLUMNS, PER_LABEL_COLUMNS
from .functional import count_sets

Statistic = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class LabelSets:
    """The label sets of N images, ready to be weighted.

    Attributes:
        true: True labels (N, C), float32.
        predicted: Predicted labels that are not ignored (N, C), float32.
        correct: Those that are both (N, C), float32.
        precision: Precision of each image (N,), 0 if nothing is predicted.
        recall: Recall of each image (N,), 0 if nothing is true.
    """

    true: np.ndarray
    predicted: np.ndarray
    correct: np.ndarray
    precision: np.ndarray
    recall: np.ndarray

    @classmethod
    def of(cls, predicted: np.ndarray, target: np.ndarray) -> 'LabelSets':
        """Count the label sets of images.

        Args:
            predicted: Boolean (N, C).
            target: (N, C); positive true, 0 false, negative ignored.
        """
        true = target > 0
        given = predicted & (target >= 0)
        per_image = count_sets(predicted, target, axis=1)
        return cls(
            true=true.astype(np.float32),
            predicted=given.astype(np.float32),
            correct=(true & given).astype(np.float32),
            precision=_ratio(per_image.correct, per_image.predicted),
            recall=_ratio(per_image.correct, per_image.true),
        )

    def figures(self, weights: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Compute the figures of resamples; an undefined ratio counts as 0.

        Args:
            weights: (B, N). Defaults to None: every image once, B = 1.

        Returns:
            ``P_L``, ``R_L``, ``F1_L``, ``P_I``, ``R_I``, ``F1_I``, ``OP``, ``OR`` and ``OF1``, (B,)
            each, in percent.

        Examples:
            >>> sets = LabelSets.of(np.array([[True], [True]]), np.array([[1], [0]]))
            >>> sets.figures(np.array([[1, 1], [2, 0]]))['OP'].tolist()
            [50.0, 100.0]
        """
        if weights is None:
            weights = np.ones((1, len(self.true)))
        weights = weights.astype(np.float32)

        # (B, C); counts below 2**24 are exact in float32
        true = (weights @ self.true).astype(np.float64)
        predicted = (weights @ self.predicted).astype(np.float64)
        correct = (weights @ self.correct).astype(np.float64)
        drawn = weights.sum(axis=1, dtype=np.float64)  # (B,) images

        per_label = _percents(
            precision=_ratio(correct, predicted).mean(1),
            recall=_ratio(correct, true).mean(1),
        )
        per_image = _percents(
            precision=weights @ self.precision / drawn,
            recall=weights @ self.recall / drawn,
        )
        overall = _percents(
            precision=_ratio(correct.sum(1), predicted.sum(1)),
            recall=_ratio(correct.sum(1), true.sum(1)),
        )

        found: dict[str, np.ndarray] = {}
        found |= zip(PER_LABEL_COLUMNS, per_label, strict=True)
        found |= zip(PER_IMAGE_COLUMNS, per_image, strict=True)
        found |= zip(OVERALL_COLUMNS, overall, strict=True)
        return found


class _Ranking(NamedTuple):
    """The images of one label in the order of its scores.

    They are cut after every score that a true image has, so that each of the S parts ends with the
    images of one such score. What follows the last of them does not count.

    Attributes:
        order: The images of all parts, best first.
        starts: Where each part begins in ``order`` (S,).
        true: The true images, best first.
        true_starts: Where each part begins in ``true`` (S,).
    """

    order: np.ndarray
    starts: np.ndarray
    true: np.ndarray
    true_starts: np.ndarray

    @classmethod
    def of(cls, scores: np.ndarray, target: np.ndarray) -> '_Ranking':
        """Rank the images of a label with at least one true image.

        Args:
            scores: (N,).
            target: (N,); positive true, 0 false, negative ignored.
        """
        known = np.flatnonzero(target >= 0)
        order = known[np.argsort(-scores[known], kind='stable')]
        is_true = target[order] > 0

        levels = np.unique(-scores[order][is_true])  # best first
        ends = np.searchsorted(-scores[order], levels, side='right')
        counts = is_true.cumsum()[ends - 1]
        return cls(
            order=order[: ends[-1]],
            starts=np.append(0, ends[:-1]),
            true=order[is_true],
            true_starts=np.append(0, counts[:-1]),
        )


@dataclass(frozen=True)
class RankedLabels:
    """The images of each label in the order of its scores, ready to be weighted.

    Attributes:
        rankings: Of each label with a true image.
        num_labels: C.
    """

    rankings: list[_Ranking]
    num_labels: int

    @classmethod
    def of(cls, scores: np.ndarray, target: np.ndarray) -> 'RankedLabels':
        """Rank the images of each label.

        Args:
            scores: (N, C).
            target: (N, C); positive true, 0 false, negative ignored.
        """
        seen = np.flatnonzero((target > 0).any(axis=0))
        rankings = [_Ranking.of(scores[:, label], target[:, label]) for label in seen]
        return cls(rankings, scores.shape[1])

    def mean_average_precision(self, weights: np.ndarray) -> np.ndarray:
        """Compute mAP of resamples, in percent; a label without true images counts as 0.

        Args:
            weights: (B, N).

        Returns:
            (B,).
        """
        drawn = np.ascontiguousarray(weights.T, dtype=np.float32)  # (N, B): an image is a row
        total = np.zeros(len(weights))
        for ranking in self.rankings:
            # (S, B) each: at every different score of a true image
            gains = np.add.reduceat(drawn[ranking.true], ranking.true_starts)
            passed = np.add.reduceat(drawn[ranking.order], ranking.starts).cumsum(axis=0)
            hits = gains.cumsum(axis=0)
            precision = _ratio(hits, passed)
            total += _ratio((gains * precision).sum(axis=0), hits[-1])

        return 100 * total / self.num_labels


class Resampled(NamedTuple):
    """The result of a bootstrap over images; arrays of the statistic's shape.

    Attributes:
        low: Lower end of the interval.
        high: Upper end.
        standard_error: Standard deviation over the resamples.
    """

    low: np.ndarray
    high: np.ndarray
    standard_error: np.ndarray


def bootstrap_images(
    statistic: Statistic,
    num_images: int,
    num_resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
    batch: int = 250,
) -> Resampled:
    """Bootstrap a statistic over images: SciPy's percentile interval.

    To compare several methods on the same resamples, compute all of them in one call.

    Args:
        statistic: Maps weights (B, N) to values (..., B).
        num_images: N.
        num_resamples: Number of resamples.
        confidence: Confidence level of the interval.
        seed: Seed of the resampling.
        batch: Resamples computed at once, to limit memory.
    """
    from scipy import stats  # importing takes half a second

    def of_indices(drawn: np.ndarray, axis: int = -1) -> np.ndarray:
        rows = np.atleast_2d(drawn)
        weights = np.stack([np.bincount(row, minlength=num_images) for row in rows])
        values = statistic(weights)
        return values if drawn.ndim > 1 else values[..., 0]

    result = stats.bootstrap(
        (np.arange(num_images),),
        of_indices,
        n_resamples=num_resamples,
        batch=batch,
        vectorized=True,
        confidence_level=confidence,
        method='percentile',
        rng=np.random.default_rng(seed),
    )
    low, high = result.confidence_interval
    return Resampled(np.asarray(low), np.asarray(high), np.asarray(result.standard_error))


def _percents(precision: np.ndarray, recall: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return precision, recall and F1 in percent."""
    f1 = _ratio(2 * precision * recall, precision + recall)
    return 100 * precision, 100 * recall, 100 * f1


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Divide, with 0 where the denominator is 0."""
    out = np.zeros(np.shape(numerator))
    return np.divide(numerator, denominator, out=out, where=np.asarray(denominator) > 0)
