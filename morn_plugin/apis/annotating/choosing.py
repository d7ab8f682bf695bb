"""Chooses the CNN or the decoder, each with one calibrated threshold.

N images, C labels, scores (N, C) in 0-1, targets (N, C) in {0, 1, -1}.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ...evaluation.calibration import calibrate_globally

MEASURE = 'per-image-f1'
FOLDS = 5


@dataclass(frozen=True)
class Candidate:
    """A model with its threshold.

    Attributes:
        thr: Chosen on all validation images.
        f1_l: F1_L in percent, on held-out validation images.
        f1_i: F1_I, likewise.
    """

    thr: float
    f1_l: float
    f1_i: float

    @property
    def f1(self) -> float:
        """The mean of both, by which models are compared."""
        return (self.f1_l + self.f1_i) / 2

    def describe(self) -> str:
        """Return its figures."""
        return f'F1_L / F1_I {self.f1_l:.1f} / {self.f1_i:.1f}'


@dataclass(frozen=True)
class Choice:
    """The chosen model.

    Attributes:
        kept: ``'decoder'`` or ``'cnn'``.
        cnn: The CNN alone.
        decoder: The CNN with the decoder.
    """

    kept: str
    cnn: Candidate
    decoder: Candidate

    @property
    def thr(self) -> float:
        """The threshold of the chosen model."""
        return self.decoder.thr if self.kept == 'decoder' else self.cnn.thr

    def describe(self) -> str:
        """Return a sentence with the choice and its reason."""
        figures = (
            f'on the validation images the decoder has {self.decoder.describe()} and the CNN alone '
            f'{self.cnn.describe()}, each with one calibrated threshold'
        )
        if self.kept == 'decoder':
            return f'The CNN with the decoder is kept: {figures}.'
        return f'The decoder does not help here, and the CNN alone is kept: {figures}.'

    def as_plain(self) -> dict[str, Any]:
        """Return plain values for a file."""
        return asdict(self)

    @classmethod
    def from_plain(cls, content: dict[str, Any]) -> 'Choice':
        """Return the choice stored in a file."""
        cnn, decoder = (Candidate(**content[name]) for name in ('cnn', 'decoder'))
        return cls(content['kept'], cnn, decoder)


def choose_model(cnn: np.ndarray, decoder: np.ndarray, targets: np.ndarray) -> Choice:
    """Keep the decoder if its F1_L and F1_I together are higher, and the CNN alone otherwise.

    Every image is evaluated with a threshold that was chosen without it. F1_I alone would leave the
    choice to chance: with one threshold each it hardly differs, while rare labels, which F1_L
    counts as much as frequent ones, can gain several points.

    Args:
        cnn: (N, C) scores of the CNN on validation images.
        decoder: (N, C) scores of the decoder.
        targets: (N, C).

    Raises:
        ValueError: If there are fewer than two images.
    """
    if len(targets) < 2:
        raise ValueError(
            f'Expected at least 2 validation images to choose a model on, but got {len(targets)}.'
        )
    alone, both = judge(cnn, targets), judge(decoder, targets)
    return Choice('decoder' if both.f1 > alone.f1 else 'cnn', alone, both)


def judge(scores: np.ndarray, targets: np.ndarray) -> Candidate:
    """Calibrate a model, and evaluate it on held-out images.

    Args:
        scores: (N, C).
        targets: (N, C).
    """
    thr, (_, _, f1_l, _, _, f1_i) = calibrate_globally(scores, targets, MEASURE, FOLDS)
    return Candidate(thr, float(f1_l), float(f1_i))
