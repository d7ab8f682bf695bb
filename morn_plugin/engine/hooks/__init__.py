"""Hooks."""

from .checkpoint_check_hook import CheckpointCheckHook
from .paper_table_hook import PaperTableHook
from .progress_hook import ProgressHook
from .visualization_hook import PredictionVisualizationHook

__all__ = ['CheckpointCheckHook', 'PaperTableHook', 'PredictionVisualizationHook', 'ProgressHook']
