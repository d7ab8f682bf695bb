"""Importing this module imports torchvision without parts that it needs only later, and timm too.

Import it before MMPretrain, which also imports torchvision. timm is imported only if a model needs
it; until then nothing happens.

Stand-ins replace what is put off, with the names that the package imports from it. A release that
needs other names is imported as if there were no stand-ins.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

COMPILER = 'torch._dynamo'
HUB, HUB_ERRORS = 'huggingface_hub', ('EntryNotFoundError', 'RepositoryNotFoundError')


def import_torchvision() -> None:
    """Import torchvision without torch's compiler, half a second of the start of every tool.

    torchvision uses one function of it, ``is_compile_supported``, when its operator ``roi_align``
    first runs. Until then a stand-in replaces it. Does nothing if either is already imported.
    """
    if 'torchvision' in sys.modules or COMPILER in sys.modules:
        return

    utils = _make_module(f'{COMPILER}.utils', is_compile_supported=_is_compile_supported)
    package = _make_module(COMPILER, utils=utils)

    import torch  # noqa: F401  first, with its own eyes

    if COMPILER in sys.modules:
        return

    _import_lighter('torchvision', lambda: import_module('torchvision'), package, utils)


def import_without_sharding() -> None:
    """Import MMEngine without sharded training, half a second, in a program that only predicts.

    In such a process MMEngine's FSDP classes cannot be used. Does nothing if MMEngine is already
    imported.
    """
    if 'mmengine' in sys.modules or 'torch.distributed.fsdp' in sys.modules:
        return

    wrapper = _make_module(
        'mmengine.model.wrappers.fully_sharded_distributed',
        MMFullyShardedDataParallel=type('MMFullyShardedDataParallel', (), {}),
    )
    strategy = _make_module('mmengine._strategy.fsdp', FSDPStrategy=None)
    optimizer = _make_module('torch.distributed.optim.named_optimizer', _NamedOptimizer=None)

    def load() -> None:
        import_module('mmengine.model')
        import_module('mmengine.runner')

    _import_lighter('mmengine', load, wrapper, strategy, optimizer)


class LighterTimm:
    """A finder for ``sys.meta_path`` that imports timm without what it needs only later.

    These are torch's compiler, which is not needed before a function that timm excludes from it is
    called, and the Hugging Face Hub, which is not needed before a download. They take a second.
    """

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Find timm, once; other modules are left to the other finders."""
        if name != 'timm':
            return None

        sys.meta_path.remove(self)
        spec = find_spec(name)
        if spec is None or spec.loader is None:
            return spec

        run = spec.loader.exec_module

        def run_lighter(module: ModuleType) -> None:
            with _put_off_compiler():
                is_done = _import_lighter(name, lambda: run(module), *_hub_stand_ins())
            if not is_done:
                sys.modules[name] = module  # was forgotten with its parts
                run(module)

        spec.loader.exec_module = run_lighter  # type: ignore[method-assign]
        return spec


@contextmanager
def _put_off_compiler() -> Iterator[None]:
    """Let ``torch.compiler.disable`` import the compiler when the function is first called."""
    import torch

    disable = torch.compiler.disable

    def disable_later(function: Any = None, *args: Any, **kwargs: Any) -> Any:
        if function is None:
            return lambda given: disable_later(given, *args, **kwargs)

        made: list[Callable[..., Any]] = []

        @wraps(function)
        def call(*given: Any, **named: Any) -> Any:
            if not made:
                made.append(disable(function, *args, **kwargs))
            return made[0](*given, **named)

        return call

    if COMPILER not in sys.modules:
        torch.compiler.disable = disable_later  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.compiler.disable = disable


def _hub_stand_ins() -> list[ModuleType]:
    """Return modules from which timm imports the Hugging Face Hub's names, if it is installed.

    The Hub itself is imported when timm first needs it.
    """
    if HUB in sys.modules or find_spec(HUB) is None:
        return []

    names = ('HfApi', 'hf_hub_download', 'model_info')
    errors = {name: type(name, (Exception,), {}) for name in HUB_ERRORS}  # until the first call
    utils = _make_module(f'{HUB}.utils', **errors)
    package = _make_module(HUB, utils=utils, **{name: _later(name) for name in names})
    return [package, utils]


def _later(name: str) -> Callable[..., Any]:
    """Return a function of the Hub that is imported when it is called."""

    def call(*args: Any, **kwargs: Any) -> Any:
        hub = import_module(HUB)
        utils = import_module(f'{HUB}.utils')

        user = import_module('timm.models._hub')
        for error in HUB_ERRORS:  # which timm catches
            setattr(user, error, getattr(utils, error))
        return getattr(hub, name)(*args, **kwargs)

    return call


def _import_lighter(package: str, load: Callable[[], object], *stand_ins: ModuleType) -> bool:
    """Import a package with stand-ins, or forget it if this release needs more of them.

    What is imported next then finds the real modules.

    Args:
        package: Its name.
        load: Imports it.
        stand_ins: The modules.

    Returns:
        Whether the package is imported.
    """
    missing = _MissingNames({module.__name__ for module in stand_ins})
    sys.meta_path.insert(0, missing)
    try:
        with _stand_ins(*stand_ins):
            load()
        is_done = not missing.found
    except (ImportError, AttributeError, TypeError):
        is_done = False
    finally:
        sys.meta_path.remove(missing)

    if not is_done:
        for name in [name for name in sys.modules if name.split('.')[0] == package]:
            del sys.modules[name]
    return is_done


class _MissingNames:
    """A finder that finds nothing, but notes what stand-ins lack.

    A package may catch the error that follows. For a name that a package lacks, Python looks for a
    module.

    Attributes:
        found: The full names.
    """

    def __init__(self, packages: set[str]) -> None:
        self.packages = packages
        self.found: list[str] = []

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """Note a name in one of the packages."""
        if name.rpartition('.')[0] in self.packages:
            self.found.append(name)


@contextmanager
def _stand_ins(*modules: ModuleType) -> Iterator[None]:
    """Put modules where the real ones would be imported from, for the time of an import."""
    for module in modules:
        sys.modules[module.__name__] = module
    try:
        yield
    finally:
        for module in modules:
            if sys.modules.get(module.__name__) is module:
                del sys.modules[module.__name__]


def _make_module(name: str, **content: Any) -> ModuleType:
    module = ModuleType(name)
    module.__dict__.update(content, __path__=[])  # a package, see _MissingNames
    return module


def _is_compile_supported(device: Any) -> bool:
    return import_module(f'{COMPILER}.utils').is_compile_supported(device)


import_torchvision()
if 'timm' not in sys.modules:
    sys.meta_path.insert(0, LighterTimm())
