"""Engine: hooks, optimisers, safe loading and distributed start-up."""

from .hooks import CheckpointCheckHook, PaperTableHook, PredictionVisualizationHook
from .optimizers import TFRMSprop

__all__ = ["CheckpointCheckHook", "PaperTableHook", "PredictionVisualizationHook", "TFRMSprop"]
