"""Classifiers: the whole model from images to labels."""

from .multi_label_classifier import MultiLabelClassifier
from .score_classifier import ScoreClassifier

__all__ = ['MultiLabelClassifier', 'ScoreClassifier']
