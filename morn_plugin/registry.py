"""Registries of the scope ``morn_plugin``: a child of each of MMPretrain's, and all empty.

Everything is registered with MMPretrain itself. MMEngine looks for these where a config has a base
of the form ``_base_ = 'morn_plugin::...'``: it then builds in the scope of that name, and each
child answers with what its parent has. One registry left out would break such a config.
"""

from mmengine.registry import Registry
from mmpretrain import registry as mmpretrain_registry

REGISTRIES = {
    name: Registry(parent.name, parent=parent, scope='morn_plugin', locations=['morn_plugin'])
    for name, parent in vars(mmpretrain_registry).items()
    if isinstance(parent, Registry) and parent.scope == 'mmpretrain'
}
