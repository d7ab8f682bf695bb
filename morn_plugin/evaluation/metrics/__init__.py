"""Registered metrics."""

from .label_sets import ConstantAnswer, PerImageF1, PerLabelF1
from .top_one import TopOneAccuracy

__all__ = ['ConstantAnswer', 'PerImageF1', 'PerLabelF1', 'TopOneAccuracy']
