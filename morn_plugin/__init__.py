"""Multi-order RNN for MMPretrain. Importing the package registers everything.

Without MMPretrain, only ``morn_plugin.deploy`` works, which runs exported models. The package's own
tools register after parsing their arguments: see ``registration.py``.
"""

import warnings
from importlib.util import find_spec

from .utils.layout import runs_own_tool
from .utils.memory import keep_freed_memory
from .utils.threads import let_threads_sleep
from .version import __version__

__all__ = ['__version__']

let_threads_sleep()  # before anything imports torch
if runs_own_tool():
    keep_freed_memory()  # in another program, its author decides

# mmcv-lite lacks an operator that nothing here uses, and says so each time mmpretrain is imported.
warnings.filterwarnings('ignore', message='Fail to import ``MultiScaleDeformableAttention``')
# MMEngine imports it for each base of another package; setuptools < 82 has it, and warns.
warnings.filterwarnings('ignore', message='pkg_resources is deprecated')

if find_spec('mmpretrain') and not runs_own_tool():
    from .registration import (
        cached,
        checked_multi_label,
        engine,
        evaluation,
        models,
        register_model_names,
        samplers,
        transforms,
    )

    register_model_names()
    __all__ += [
        'cached',
        'checked_multi_label',
        'engine',
        'evaluation',
        'models',
        'samplers',
        'transforms',
    ]
