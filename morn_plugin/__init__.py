"""Multi-order RNN for MMPretrain. Importing the package registers everything."""

import warnings

# mmcv-lite lacks an operator that nothing here uses, and says so each time mmpretrain is imported.
warnings.filterwarnings('ignore', message='Fail to import ``MultiScaleDeformableAttention``')

from . import engine, evaluation, models
from .datasets import multi_label, samplers, scores, transforms
from .engine.safe_loading import allow_checkpoint_globals
from .version import __version__

allow_checkpoint_globals()

__all__ = ['__version__', 'engine', 'evaluation', 'models', 'multi_label', 'samplers', 'scores', 'transforms']
