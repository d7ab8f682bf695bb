"""Hooks."""

from .checkpoint_check_hook import CheckpointCheckHook
from .paper_table_hook import PaperTableHook
from .visualization_hook import PredictionVisualizationHook

__all__ = ['CheckpointCheckHook', 'PaperTableHook', 'PredictionVisualizationHook']
