"""Registered metrics."""

from .dump_scores import DumpScores
from .label_sets import ConstantAnswer, PerImageF1, PerLabelF1
from .top_one import TopOneAccuracy

__all__ = ['ConstantAnswer', 'DumpScores', 'PerImageF1', 'PerLabelF1', 'TopOneAccuracy']
