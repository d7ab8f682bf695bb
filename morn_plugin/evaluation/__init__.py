"""Evaluation: pure functions and registered metrics."""

from .metrics import ConstantAnswer, PerImageF1, PerLabelF1, TopOneAccuracy

__all__ = ['ConstantAnswer', 'PerImageF1', 'PerLabelF1', 'TopOneAccuracy']
