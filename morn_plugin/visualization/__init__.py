"""Pictures."""

from .panels import Prediction, draw_predictions, render_predictions
from .records import draw_record

__all__ = ['Prediction', 'draw_predictions', 'draw_record', 'render_predictions']
