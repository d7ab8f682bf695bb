"""Decisions: which labels an image gets, from their scores."""

from .selecting import select_labels

__all__ = ['select_labels']
