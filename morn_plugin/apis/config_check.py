"""Finds mistakes in a config before anything is loaded.

MMEngine builds the data before the optimizer, the schedulers and the metrics, so a misspelt setting
of these fails only after minutes, and some never fail. This module compares the arguments of
everything with a ``type`` with the signature of the registered class.

A correct config must never be refused. So the check is strict only where MMEngine or MMPretrain
builds a setting directly. A nested dict is interpreted by its reader: its ``type`` may be a
different kind of name (LoRA's targets), and it may have more than arguments (the magnitudes of
RandAugment's policies). There only a name that is similar to a known one is a mistake.
"""

import difflib
import inspect
import re
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Union, get_args, get_origin, get_type_hints

from mmengine.registry import Registry
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner, TestLoop, ValLoop
from mmpretrain import registry
from torch.utils.data import DataLoader

PACKAGE = __name__.partition('.')[0]
REGISTRIES: dict[str, Registry] = dict(
    model=registry.MODELS,
    tta_model=registry.MODELS,
    data_preprocessor=registry.MODELS,
    dataset=registry.DATASETS,
    datasets=registry.DATASETS,
    pipeline=registry.TRANSFORMS,
    tta_pipeline=registry.TRANSFORMS,
    transforms=registry.TRANSFORMS,
    sampler=registry.DATA_SAMPLERS,
    batch_sampler=registry.DATA_SAMPLERS,
    val_evaluator=registry.METRICS,
    test_evaluator=registry.METRICS,
    optim_wrapper=registry.OPTIM_WRAPPERS,
    optimizer=registry.OPTIMIZERS,
    param_scheduler=registry.PARAM_SCHEDULERS,
    default_hooks=registry.HOOKS,
    custom_hooks=registry.HOOKS,
    augments=registry.BATCH_AUGMENTS,
    tokenizer=registry.TOKENIZER,
    visualizer=registry.VISUALIZERS,
    vis_backends=registry.VISBACKENDS,
    init_cfg=registry.WEIGHT_INITIALIZERS,
    log_processor=registry.LOG_PROCESSORS,
)
# The parts of a model that are built directly.
MODEL_PARTS = {'backbone', 'neck', 'head', 'decoder', 'loss', 'module'}
LOOPS: dict[str, Any] = dict(val_cfg=ValLoop, test_cfg=TestLoop)
# Arguments that MMEngine removes or adds before it calls the class.
EXTRA = {
    'hook': {'priority'},
    'parameter scheduler': {'convert_to_iter_based'},
    'optimizer_wrapper': {'optimizer', 'constructor', 'paramwise_cfg'},
    'weight initializer': {'layer', 'override'},
}
LOADER_KEYS = {*inspect.signature(DataLoader).parameters, 'num_batch_per_epoch'}
TOP_LEVEL = {
    *inspect.signature(Runner).parameters,
    'auto_scale_lr',
    'custom_imports',
    'optim_wrapper',
} - {'cfg'}
# Read by tools/test.py --tta, ours and MMPretrain's.
TTA = {'tta_model', 'tta_pipeline'}
# Read by tools/benchmark/benchmark.py.
BENCHMARK = {'benchmark'}
# Every top-level name that MMEngine or a tool reads.
SETTINGS = frozenset({*TOP_LEVEL, *TTA, *BENCHMARK, 'runner_type'})
# How similar a name must be to count as misspelt, where unknown names are allowed.
NEARLY_THE_SAME = 0.85


class ConfigError(ValueError):
    """A mistake in a config; the message names the setting."""


def check_config(cfg: Mapping[str, Any], source: str = 'config') -> None:
    """Check every setting that names something registered.

    Args:
        cfg: The whole config.
        source: Its file, for the error.

    Raises:
        ConfigError: Lists all mistakes, one per line.
    """
    missing = _find_missing_packages(cfg)
    problems = [missing] if missing else [*_check_top_level(cfg), *_check_loops(cfg)]

    for key, value in {} if missing else cfg.items():
        if key.endswith('_dataloader') and isinstance(value, Mapping):
            problems += _unknown_keys(set(value), LOADER_KEYS, key, 'a data loader')
        if key.endswith('_dataloader') or key in REGISTRIES.keys() & (TOP_LEVEL | TTA):
            problems += _check(value, key, REGISTRIES.get(key))

    if problems:
        raise ConfigError(f'{source}:\n' + '\n'.join(f'- {problem}' for problem in problems))


def build_early(runner: Runner) -> None:
    """Build the optimizer and the metrics early; MMEngine builds them after the data.

    Raises:
        Exception: Whatever their classes raise for wrong values.
    """
    if runner._train_loop is not None:
        runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    for name in ('_val_evaluator', '_test_evaluator'):
        if getattr(runner, name) is not None:
            setattr(runner, name, runner.build_evaluator(getattr(runner, name)))


def _find_missing_packages(cfg: Mapping[str, Any]) -> str | None:
    """Name the missing packages of a model, if MMPretrain has only a stand-in for it.

    Nothing else can be checked then, since its datasets and parts are not registered either.
    """
    model = cfg.get('model')
    name = model.get('type') if isinstance(model, Mapping) else None
    found = registry.MODELS.get(name) if isinstance(name, str) else None
    if getattr(found, '__module__', None) != 'mmpretrain.utils.dependency':
        return None

    return (
        f'`model.type`: {name} needs packages that are not installed: '
        "pip install 'mmpretrain[multimodal]'"
    )


def _check_top_level(cfg: Mapping[str, Any]) -> Iterator[str]:
    # Any name is allowed as a variable; only names that look like a misspelt setting are mistakes.
    unset = {name for name in TOP_LEVEL if cfg.get(name) is None}
    for key in set(cfg) - TOP_LEVEL:
        meant = _nearest(key, unset, cutoff=0.87)
        if meant is not None:
            yield f'`{key}` is no setting. Did you mean `{meant}`?'


def _check_loops(cfg: Mapping[str, Any]) -> Iterator[str]:
    train = cfg.get('train_cfg')
    by_epoch = isinstance(train, Mapping) and train.get('by_epoch', True)
    train_loop = EpochBasedTrainLoop if by_epoch else IterBasedTrainLoop

    for key, default in dict(LOOPS, train_cfg=train_loop).items():
        value = cfg.get(key)
        if not isinstance(value, Mapping):
            continue

        loop = value.get('type', default)
        if isinstance(loop, str):
            loop = registry.LOOPS.get(loop)

        if loop is None:
            yield f'`{key}.type`: there is no loop {value["type"]!r}.'
        else:
            yield from _check_arguments(value, loop, key, {'type', 'by_epoch'})


def _check(
    node: Any,
    path: str,
    kind: Registry | None,
    strict: bool = True,
) -> Iterator[str]:
    """Check a setting and everything inside it.

    Args:
        node: Its value.
        path: Its name, for the message.
        kind: Where its ``type`` is registered; None if that is not known.
        strict: Whether it is built directly.
    """
    if isinstance(node, Mapping):
        if path == 'optim_wrapper':
            node = {'type': 'OptimWrapper', **node}
        if kind is not None and 'type' in node:
            yield from _check_typed(node, path, kind, strict)

        for key, value in node.items():
            yield from _check(value, f'{path}.{key}', *_find_kind(path, key, kind))

    elif isinstance(node, Sequence) and not isinstance(node, str):
        for index, value in enumerate(node):
            yield from _check(value, f'{path}[{index}]', kind, strict)


def _find_kind(
    path: str,
    key: str,
    kind: Registry | None,
) -> tuple[Registry | None, bool]:
    """Find the registry of a setting's ``type``, and whether the setting is built directly."""
    # The keys of default_hooks are free names, `param_scheduler` of a hook for example.
    if path == 'default_hooks':
        return kind, True
    if key in REGISTRIES:
        return REGISTRIES[key], True
    is_part = kind is registry.MODELS and key in MODEL_PARTS
    return kind, is_part


def _check_typed(
    node: Mapping[str, Any],
    path: str,
    kind: Registry,
    strict: bool,
) -> Iterator[str]:
    name = node['type']
    found = kind.get(name) if isinstance(name, str) else name
    if found is None:
        suggestion = _suggest(name, _names(kind), strict)
        if strict or suggestion:
            yield f'`{path}.type`: there is no {kind.name} {name!r}.{suggestion}'
        return

    # norm_cfg and the like are not calls of their type
    is_call = callable(found) and not re.search(r'(?<!init)_cfg$', path)
    if is_call:
        extra = {'type', '_scope_', *EXTRA.get(kind.name, ())}
        yield from _check_arguments(node, found, path, extra, strict)


def _check_arguments(
    node: Mapping[str, Any],
    function: Callable,
    path: str,
    extra: set[str],
    strict: bool = True,
) -> Iterator[str]:
    known, is_open = find_parameters(function)
    if not is_open:
        owner = getattr(function, '__name__', str(function))
        yield from _unknown_keys(set(node), {*known, *extra}, path, owner, strict)

    is_ours = getattr(function, '__module__', '').partition('.')[0] == PACKAGE
    for key, value in node.items():
        if key in known and key not in extra and not _fits(value, known[key], is_ours):
            expected = inspect.formatannotation(known[key].annotation)
            yield f'`{path}.{key}` should be {expected}, but got {value!r}.'


def _unknown_keys(
    keys: set[str],
    known: set[str],
    path: str,
    owner: str,
    strict: bool = True,
) -> Iterator[str]:
    for key in sorted(keys - known):
        suggestion = _suggest(key, known, strict)
        if strict or suggestion:
            yield f'`{path}.{key}`: {owner} has no such argument.{suggestion}'


def _suggest(
    name: str,
    known: set[str],
    strict: bool = True,
) -> str:
    meant = _nearest(name, known, cutoff=0.6 if strict else NEARLY_THE_SAME)
    return '' if meant is None else f' Did you mean {meant!r}?'


def _nearest(
    name: str,
    known: set[str],
    cutoff: float,
) -> str | None:
    close = difflib.get_close_matches(name, known, n=1, cutoff=cutoff)
    return close[0] if close else None


def _names(kind: Registry | None) -> set[str]:
    names: set[str] = set()
    while kind is not None:
        names |= set(kind.module_dict)
        kind = kind.parent
    return names


def find_parameters(function: Callable) -> tuple[dict[str, inspect.Parameter], bool]:
    """Find the parameters of a class or function.

    Includes those passed by ``**kwargs`` to base classes.

    Returns:
        The parameters by name, with annotations resolved if possible; and whether it accepts any
        others.
    """
    functions = [function]
    if inspect.isclass(function):
        functions = [
            vars(base)['__init__'] for base in function.__mro__ if '__init__' in vars(base)
        ]

    found: dict[str, inspect.Parameter] = {}
    for function in functions:
        try:
            parameters = dict(inspect.signature(function).parameters)
        except (TypeError, ValueError):
            return found, True

        hints = _hints(function)
        is_open = False
        for name, parameter in parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                is_open = True
            elif parameter.kind is not parameter.VAR_POSITIONAL and name != 'self':
                found.setdefault(
                    name, parameter.replace(annotation=hints.get(name, parameter.empty))
                )

        if not is_open or not _hands_on(function):
            return found, is_open

    return found, False


def _hints(function: Callable) -> dict[str, Any]:
    try:
        return get_type_hints(function)
    except Exception:  # an annotation that cannot be resolved is ignored
        return {}


def _hands_on(function: Callable) -> bool:
    """Return whether ``**kwargs`` are passed to the base class, not somewhere unknown."""
    try:
        source = inspect.getsource(function)
    except (OSError, TypeError):
        return False
    return re.search(r'super\([^)]*\)\s*\.__init__\([^)]*\*\*\w+', source) is not None


def _fits(
    value: Any,
    parameter: inspect.Parameter,
    is_ours: bool,
) -> bool:
    """Compare a value with a plain annotation.

    Other annotations are ignored, and so are those that their own default contradicts. Annotations
    of other packages are unchecked, and some are too narrow (MMPretrain has `int` for a pair,
    MMEngine `str` for a number): there only a string where no string is expected is a mistake.
    """
    allowed = _plain_types(parameter.annotation)
    if allowed is None or value is None or value == parameter.default:
        return True

    has_default = parameter.default not in (None, parameter.empty)
    if has_default and not _is_one_of(parameter.default, allowed):
        return True

    return _is_one_of(value, allowed) or not (is_ours or isinstance(value, str))


def _is_one_of(value: Any, allowed: set[type]) -> bool:
    if isinstance(value, bool):
        return bool in allowed
    return isinstance(value, tuple(allowed)) or (isinstance(value, int) and float in allowed)


def _plain_types(annotation: Any) -> set[type] | None:
    """Return the types of an annotation made of int, float, bool, str and None; else None."""
    if get_origin(annotation) in (Union, types.UnionType):
        parts = [_plain_types(part) for part in get_args(annotation)]
        return None if None in parts else set().union(*filter(None, parts))
    return {annotation} if annotation in (int, float, bool, str, type(None)) else None
