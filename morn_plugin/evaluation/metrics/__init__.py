"""Registered metrics."""

from .average_precision import MeanAveragePrecision
from .calibrated import CalibratedF1
from .dump_scores import DumpScores
from .label_sets import ConstantAnswer, OverallF1, PerImageF1, PerLabelF1
from .top_one import TopOneAccuracy

__all__ = [
    'CalibratedF1',
    'ConstantAnswer',
    'DumpScores',
    'MeanAveragePrecision',
    'OverallF1',
    'PerImageF1',
    'PerLabelF1',
    'TopOneAccuracy',
]
