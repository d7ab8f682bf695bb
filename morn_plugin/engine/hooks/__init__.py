"""Hooks."""

from .checkpoint_check_hook import CheckpointCheckHook
from .exact_resume_hook import ExactResumeHook
from .paper_table_hook import PaperTableHook
from .progress_hook import ProgressHook
from .resumable_checkpoint_hook import ResumableCheckpointHook
from .visualization_hook import PredictionVisualizationHook

__all__ = [
    'CheckpointCheckHook', 'ExactResumeHook', 'PaperTableHook', 'PredictionVisualizationHook', 'ProgressHook',
    'ResumableCheckpointHook'
]
