"""Multi-order RNN for MMPretrain. Importing the package registers everything.

Without MMPretrain only ``morn_plugin.deploy`` can be used, which runs exported models.
"""

from importlib.util import find_spec

from .version import __version__

__all__ = ['__version__']

if find_spec('mmpretrain'):
    from . import engine, evaluation, models
    from .datasets import multi_label, transforms
    from .engine.safe_loading import allow_checkpoint_globals

    allow_checkpoint_globals()
    __all__ += ['engine', 'evaluation', 'models', 'multi_label', 'transforms']
