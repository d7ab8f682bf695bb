"""Cached outputs of a CNN for a data set: the file, its writer and the data set that reads it."""

from .dataset import ScoreDataset, take_whole_batch
from .file import ScoreFile, ScoreFileError, check_origin, load_scores, read_origin, save_scores
from .writer import CachedFileWriter

__all__ = [
    'CachedFileWriter',
    'ScoreDataset',
    'ScoreFile',
    'ScoreFileError',
    'check_origin',
    'load_scores',
    'read_origin',
    'save_scores',
    'take_whole_batch',
]
