"""Importing this module imports torchvision without parts that it needs only later.

Import it before MMPretrain, which also imports torchvision.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

COMPILER = 'torch._dynamo'


def import_torchvision() -> None:
    """Import torchvision without torch's compiler, half a second of the start of every tool.

    torchvision uses one function of it, ``is_compile_supported``, when its operator ``roi_align``
    first runs. Until then a stand-in replaces it. Does nothing if either is already imported.
    """
    if 'torchvision' in sys.modules or COMPILER in sys.modules:
        return

    package = ModuleType(COMPILER)
    utils = ModuleType(f'{COMPILER}.utils')
    package.__path__ = []
    package.utils = utils  # type: ignore[attr-defined]
    utils.is_compile_supported = _is_compile_supported  # type: ignore[attr-defined]

    import torch  # noqa: F401  first, with its own eyes

    if COMPILER in sys.modules:
        return

    sys.modules[COMPILER], sys.modules[f'{COMPILER}.utils'] = package, utils
    try:
        import_module('torchvision')
    except (ImportError, AttributeError):  # another release needs more: use the real module
        for name in [name for name in sys.modules if name.split('.')[0] == 'torchvision']:
            del sys.modules[name]
    finally:
        del sys.modules[COMPILER], sys.modules[f'{COMPILER}.utils']


def _is_compile_supported(device: Any) -> bool:
    return import_module(f'{COMPILER}.utils').is_compile_supported(device)


import_torchvision()
