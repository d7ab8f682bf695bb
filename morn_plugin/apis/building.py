"""Builds the parts of a config, with restrictions for a stranger's config."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

import mmengine.registry.registry as registry_module
from mmengine.config import Config
from mmengine.registry import DefaultScope, Registry
from torch.nn.modules import module as torch_module

from ..utils.describing import shorten
from .checkpoint_config import HELP, CheckpointConfig
from .config_gate import SCOPES

_only_registered: ContextVar[bool] = ContextVar('_only_registered', default=False)


@contextmanager
def registered_only() -> Iterator[None]:
    """Let MMEngine's registries find only registered names, without importing anything.

    Every ``type`` was already checked, but classes also look up other arguments, such as
    ``norm_layer`` of MMPretrain's ``TIMMBackbone``.
    """
    token = _only_registered.set(True)
    try:
        yield
    finally:
        _only_registered.reset(token)


def _guard_lookup(function: Callable[[str], Any]) -> Callable[[str], Any]:
    def get_object_from_string(obj_name: str) -> Any:
        if _only_registered.get():
            raise LookupError(f'{obj_name} is not registered')
        return function(obj_name)

    return get_object_from_string


def _guard_import(function: Callable[..., Any]) -> Callable[..., Any]:
    def guarded_import(name: str, package: str | None = None) -> Any:
        is_ours = name.partition('.')[0] in SCOPES
        if _only_registered.get() and not is_ours and name not in sys.modules:
            raise ImportError(f'{name} is not imported for a config out of a checkpoint.')
        return function(name, package)

    return guarded_import


registry_module.get_object_from_string = _guard_lookup(registry_module.get_object_from_string)
registry_module.import_module = _guard_import(registry_module.import_module)


def build_part(registry: Registry, part: Any, cfg: Config) -> Any:
    """Build a part of a config; one from a checkpoint may use registered names only.

    Args:
        registry: Where its type is registered.
        part: The part, or the object built from it.
        cfg: The config it belongs to.

    Raises:
        ValueError: If it cannot be built; names the part and the reason. An error about a file is
            not changed.
    """
    is_strange = isinstance(cfg, CheckpointConfig)
    try:
        # MMEngine's data set wrappers look up their data sets in the default scope.
        scope = DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'mmpretrain')
        with registered_only() if is_strange else nullcontext(), scope:
            return registry.build(part)
    except (OSError, ValueError, ImportError):
        raise
    except Exception as error:  # a class may raise anything for unexpected arguments
        name = part.get('type') if isinstance(part, Mapping) else part
        raise ValueError(
            f'The {registry.name} {shorten(name)} of the config cannot be built: '
            f'{type(error).__name__}: {first_line(error)}'
        ) from error


def first_line(error: BaseException) -> str:
    """Return the first line of an error, shortened."""
    text = str(error).strip() or 'it gives no reason'
    return text.splitlines()[0][:300]


@contextmanager
def limited_modules(max_modules: int, max_elements: int) -> Iterator[None]:
    """Stop building a model once it is larger than its weights.

    Args:
        max_modules: Total number of modules.
        max_elements: Total number of elements of parameters and buffers.
    """
    counts = dict(modules=0, elements=0)

    def count_module(*_: Any) -> None:
        counts['modules'] += 1
        check()

    def count_elements(_: Any, __: str, tensor: Any) -> None:
        counts['elements'] += 0 if tensor is None else tensor.numel()
        check()

    def check() -> None:
        if counts['modules'] > max_modules or counts['elements'] > max_elements:
            raise ValueError(
                f'Expected a model of at most {max_modules:,} modules and {max_elements:,} '
                f'numbers, by the size of its weights, but it is larger. {HELP}'
            )

    handles = [
        torch_module.register_module_module_registration_hook(count_module),
        torch_module.register_module_parameter_registration_hook(count_elements),
        torch_module.register_module_buffer_registration_hook(count_elements),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
