"""Multi-order RNN for MMPretrain. Importing the package registers everything.

Without MMPretrain only ``morn_plugin.deploy`` can be used, which runs exported models.
"""

import warnings
from importlib.util import find_spec

from .version import __version__

__all__ = ['__version__']

if find_spec('mmpretrain'):
    # mmcv-lite lacks an operator that nothing here uses, and says so each time mmpretrain is
    # imported.
    warnings.filterwarnings('ignore', message='Fail to import ``MultiScaleDeformableAttention``')

    from . import engine, evaluation, models
    from .datasets import multi_label, samplers, scores, transforms
    from .engine.safe_loading import allow_checkpoint_globals

    allow_checkpoint_globals()
    __all__ += ['engine', 'evaluation', 'models', 'multi_label', 'samplers', 'scores', 'transforms']
