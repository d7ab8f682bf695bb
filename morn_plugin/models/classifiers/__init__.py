"""Classifiers: the whole model from images to labels."""

from .multi_label_classifier import MultiLabelClassifier

__all__ = ['MultiLabelClassifier']
