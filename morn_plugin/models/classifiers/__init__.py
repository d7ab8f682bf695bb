"""Classifiers: the whole model from images to labels."""

from .four_view_classifier import FourViewClassifier
from .multi_label_classifier import MultiLabelClassifier
from .score_classifier import ScoreClassifier

__all__ = ['FourViewClassifier', 'MultiLabelClassifier', 'ScoreClassifier']
