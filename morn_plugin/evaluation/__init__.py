"""Evaluation: pure functions and registered metrics."""

from .metrics import (
    ConstantAnswer,
    MeanAveragePrecision,
    OverallF1,
    PerImageF1,
    PerLabelF1,
    TopOneAccuracy,
)

__all__ = [
    'ConstantAnswer',
    'MeanAveragePrecision',
    'OverallF1',
    'PerImageF1',
    'PerLabelF1',
    'TopOneAccuracy',
]
