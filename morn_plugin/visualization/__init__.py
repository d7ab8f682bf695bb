"""Pictures."""

from .panels import Prediction, draw_predictions, render_predictions

__all__ = ['Prediction', 'draw_predictions', 'render_predictions']
