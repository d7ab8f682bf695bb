"""Registries of the scope ``morn_plugin``: an empty child of each of MMPretrain's.

Everything is registered with MMPretrain itself. MMEngine needs these for configs with ``_base_ =
'morn_plugin::...'``: it then builds in the scope of that name, and each child falls back to its
parent. Without one of the registries, such a config would fail.
"""

from mmengine.registry import Registry
from mmpretrain import registry as mmpretrain_registry

REGISTRIES = {
    name: Registry(parent.name, parent=parent, scope='morn_plugin', locations=['morn_plugin'])
    for name, parent in vars(mmpretrain_registry).items()
    if isinstance(parent, Registry) and parent.scope == 'mmpretrain'
}
