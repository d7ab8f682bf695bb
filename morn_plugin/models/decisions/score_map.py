"""Rescales scores to probabilities, then applies a threshold.

N images, C labels.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...evaluation.platt import SPACES, fit_platt
from ...utils.checks import check_choice
from .base import DecisionRule
from .fixed import FixedThreshold


class ScoreMap(DecisionRule):
    """Maps scores to probabilities by one sigmoid, then applies a threshold.

    Args:
        num_classes: Number of labels C.
        slope: Slope of the sigmoid. Defaults to 1.
        offset: Offset of the sigmoid. Defaults to 0.
        space: Input of the sigmoid: ``'logit'`` (default), log(s / (1 - s)), the method's own logit
            if its scores are a sigmoid; or ``'score'``, the scores themselves, such as sums over
            neighbours.
        thr: Labels with a probability strictly greater are predicted, 0-1, or C such numbers.
            Defaults to 0.5.

    Raises:
        ValueError: If ``slope`` is not positive, or another argument is out of its range.
    """

    thr: Tensor
    slope: Tensor
    offset: Tensor

    def __init__(
        self,
        num_classes: int,
        slope: float = 1.0,
        offset: float = 0.0,
        space: str = 'logit',
        thr: float | Sequence[float] = 0.5,
    ) -> None:
        super().__init__(num_classes)
        check_choice('space', space, SPACES)
        if slope <= 0:
            raise ValueError(f'Expected `slope` to be positive, but got {slope!r}.')
        self.space = space
        # The config stores it, not the checkpoint.
        self.register_buffer('thr', FixedThreshold(num_classes, thr).thr, persistent=False)
        self.register_buffer('slope', torch.tensor(float(slope)))
        self.register_buffer('offset', torch.tensor(float(offset)))

    @property
    def gives_probability(self) -> bool:
        """Whether a scale was fitted; the initial identity does not count."""
        return bool(self.slope != 1) or bool(self.offset != 0)

    def fit(self, scores: np.ndarray, targets: np.ndarray) -> None:
        """Fit slope and offset on validation data.

        Args:
            scores: The method's scores (N, C).
            targets: (N, C) in {0, 1, -1}.

        Raises:
            ValueError: See :func:`morn_plugin.evaluation.platt.fit_platt`.
        """
        values = self._values(torch.as_tensor(np.asarray(scores))).numpy()
        slope, offset, _ = fit_platt(values, targets)
        self.slope.fill_(slope)
        self.offset.fill_(offset)

    def map_scores(self, scores: Tensor) -> Tensor:
        """Map scores (N, C) to probabilities (N, C)."""
        self.check_scores(scores)
        return (self.slope * self._values(scores) + self.offset).sigmoid()

    def decide(self, scores: Tensor, **inputs: Any) -> Tensor:
        """Mark the labels whose probability is above the threshold: (N, C) to boolean (N, C)."""
        return self.map_scores(scores) > self.thr.to(scores.dtype)

    def as_plain(self) -> dict[str, Any]:
        """Return the thresholds of the probabilities: one, or one per label if they differ."""
        thr = self.thr.tolist()
        return dict(thr=thr[0] if len(set(thr)) == 1 else thr)

    def _values(self, scores: Tensor) -> Tensor:
        if self.space == 'score':
            return scores
        return scores.logit(eps=torch.finfo(scores.dtype).eps)
