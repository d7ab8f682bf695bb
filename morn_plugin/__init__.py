"""Multi-order RNN for MMPretrain. Importing the package registers everything."""

from . import engine, evaluation, models
from .datasets import multi_label, samplers, transforms
from .engine.safe_loading import allow_checkpoint_globals
from .version import __version__

allow_checkpoint_globals()

__all__ = ['__version__', 'engine', 'evaluation', 'models', 'multi_label', 'samplers', 'transforms']
