"""Importing this module registers everything with MMPretrain and MMEngine.

``import morn_plugin`` does this for a user. The package's own tools do it after parsing their
arguments.
"""

from .utils import lighter_imports  # noqa: F401  before MMPretrain  # isort: skip

from mmengine.config.utils import MODULE2PACKAGE
from mmpretrain.apis.model import ModelHub

from . import engine, evaluation, models, registry
from .datasets import cached, checked_multi_label, samplers, transforms, wrapping
from .engine.safe_loading import allow_checkpoint_globals
from .evaluation import metrics  # noqa: F401  registers them
from .utils import config_text  # noqa: F401  MMEngine's texts of configs
from .utils.layout import find_root

__all__ = [
    'cached',
    'checked_multi_label',
    'engine',
    'evaluation',
    'models',
    'register_model_names',
    'registry',
    'samplers',
    'transforms',
    'wrapping',
]

allow_checkpoint_globals()
MODULE2PACKAGE['morn_plugin'] = 'morn_plugin'  # for _base_ = 'morn_plugin::...'


def register_model_names() -> None:
    """Register the names of the configs for ``mmpretrain.list_models`` and ``get_model``.

    This takes a tenth of a second, so the tools, which do not need it, skip it.
    """
    root = find_root()
    for metafile in sorted(root.glob('configs/*/metafile.yml')):
        ModelHub.register_model_index(metafile, config_prefix=root)
