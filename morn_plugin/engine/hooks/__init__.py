"""Hooks."""

from .calibration_hook import CalibrationHook
from .checkpoint_check_hook import CheckpointCheckHook
from .data_check_hook import DataCheckHook
from .exact_resume_hook import ExactResumeHook
from .finite_loss_hook import FiniteLossHook, LossError
from .paper_table_hook import PaperTableHook
from .prepare_decoder_hook import PrepareDecoderHook
from .progress_hook import ProgressHook
from .resumable_checkpoint_hook import ResumableCheckpointHook
from .timed_logger_hook import TimedLoggerHook
from .visualization_hook import PredictionVisualizationHook

__all__ = [
    'CalibrationHook',
    'CheckpointCheckHook',
    'DataCheckHook',
    'ExactResumeHook',
    'FiniteLossHook',
    'LossError',
    'PaperTableHook',
    'PredictionVisualizationHook',
    'PrepareDecoderHook',
    'ProgressHook',
    'ResumableCheckpointHook',
    'TimedLoggerHook',
]
