"""Check the state of an optimizer before it is loaded.

torch compares only the number of parameters with a saved state. A state with wrong shapes then
reaches kernels that do not check shapes either: fused kernels read and write out of bounds.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, optim
from torch.optim import Optimizer

from ...utils.describing import shorten

# Their state has single numbers, or tensors of the parameter's shape.
ELEMENTWISE = {
    optim.SGD,
    optim.Adam,
    optim.AdamW,
    optim.Adamax,
    optim.NAdam,
    optim.RAdam,
    optim.RMSprop,
    optim.Rprop,
    optim.Adagrad,
    optim.Adadelta,
    optim.ASGD,
}
# These are one number per parameter; everything else has the parameter's shape.
SCALARS = ('step', 'mu_product', 'eta', 'mu')
# Options that affect how a step is computed, not its result: this run keeps its own.
IMPLEMENTATION = ('fused', 'foreach', 'capturable', 'differentiable')
# Schedulers change `lr` from step to step; the starting value is compared.
RATES = ('lr', 'initial_lr')
FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
LARGEST = 1e300
SHOWN = 5


def check_state(
    optimizer: Optimizer,
    state_dict: Mapping[str, Any],
    names: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Check a saved state against the parameters of an optimizer.

    Args:
        optimizer: The optimizer that will load the state.
        state_dict: An earlier ``optimizer.state_dict()``, perhaps from an unknown file.
        names: The exact names in a parameter's state. Defaults to None: any; then shapes are
            compared if the optimizer is fused or one of torch's elementwise ones.

    Returns:
        The state to load; its tensors have their own memory with the parameters' layout.

    Raises:
        ValueError: If it does not fit; names the first mistakes.
    """
    problems = list(_find_wrong_groups(optimizer, state_dict))
    if not problems:
        problems = list(_find_wrong_entries(optimizer, state_dict, names))

    if problems:
        more = f'\n- and {len(problems) - SHOWN} more' if len(problems) > SHOWN else ''
        lines = ''.join(f'\n- {problem}' for problem in problems[:SHOWN])
        raise ValueError(
            f'The optimizer state does not fit the {type(optimizer).__name__} of this run, so that '
            f'training cannot continue from it:{lines}{more}'
        )

    _say_what_is_kept(optimizer, state_dict['param_groups'])
    return _arrange(optimizer, state_dict, names)


def is_elementwise(optimizer: Optimizer) -> bool:
    """Return whether the optimizer's state of a parameter has the parameter's shape."""
    is_fused = any(group.get('fused') for group in optimizer.param_groups)
    return type(optimizer) in ELEMENTWISE or is_fused


def _compare_group(
    where: str,
    saved: dict[str, Any],
    own: dict[str, Any],
) -> Iterator[str]:
    """Yield what differs between a saved parameter group and that of this run."""
    params = saved.get('params')
    wanted = len(own['params'])
    if not isinstance(params, list):
        yield f'{where}.params`: expected {wanted} parameters, but got {params!r}'
    elif len(params) != wanted:
        yield f'{where}.params`: expected {wanted} parameters, but got {len(params)!r}'

    for key in own.keys() & saved.keys() - {'params', *IMPLEMENTATION}:
        if not is_alike(saved[key], own[key]):
            yield f'{where}.{key}` is {shorten(saved[key])}, but here {own[key]!r}'


def _find_wrong_groups(optimizer: Optimizer, state_dict: Any) -> Iterator[str]:
    if not isinstance(state_dict, Mapping):
        yield f'expected a dict, but got {type(state_dict).__name__}'
        return

    groups = state_dict.get('param_groups')
    state = state_dict.get('state')
    if not isinstance(groups, list) or not all(isinstance(group, dict) for group in groups):
        yield f'expected `param_groups` to be a list of dicts, but got {type(groups).__name__}'
        return
    if not isinstance(state, Mapping):
        yield f'expected `state` to be a dict, but got {type(state).__name__}'
        return
    if len(groups) != len(optimizer.param_groups):
        yield f'it has {len(groups)} parameter groups, but here are {len(optimizer.param_groups)}'
        return

    for index, (saved, own) in enumerate(zip(groups, optimizer.param_groups, strict=True)):
        yield from _compare_group(f'`param_groups[{index}]', saved, own)

    lists = [group['params'] for group in groups if isinstance(group.get('params'), list)]
    indices = [index for params in lists for index in params]
    if any(type(index) is not int for index in indices) or len(set(indices)) != len(indices):
        yield '`param_groups` name parameters by other than distinct whole numbers'


def is_alike(saved: Any, own: Any) -> bool:
    """Return whether an option may come from a file: finite numbers may, others must be equal.

    Examples:
        >>> is_alike(3, 0.1), is_alike((0.9, 0.99), (0.0, 0.5)), is_alike(float('nan'), 0.1)
        (True, True, False)
        >>> is_alike(True, False), is_alike('x', 0.1), is_alike((0.9,), (0.0, 0.5))
        (False, False, False)
    """
    if isinstance(own, tuple | list):
        is_as_long = isinstance(saved, tuple | list) and len(saved) == len(own)
        return is_as_long and all(map(is_alike, saved, own))
    if isinstance(own, Mapping):
        return isinstance(saved, Mapping) and all(map(_is_value, saved.values()))
    if isinstance(own, float | int) and not isinstance(own, bool):
        return _is_number(saved) or (isinstance(saved, float) and saved == own)
    if isinstance(own, Tensor):
        return _is_number(saved) or (isinstance(saved, Tensor) and _is_single(saved))

    return type(saved) is type(own) and saved == own


def _is_value(value: Any) -> bool:
    return _is_number(value) or isinstance(value, str | bool | None)


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, float | int):
        return False
    return abs(value) < LARGEST  # neither NaN nor infinite


def _is_single(value: Tensor) -> bool:
    return value.numel() == 1 and _is_plain(value) and bool(torch.isfinite(value).all())


def _is_plain(value: Tensor) -> bool:
    """Return whether it is a dense tensor of real numbers in a usual type."""
    is_usual = value.dtype in FLOATS or value.dtype in INTEGERS
    return is_usual and value.layout == torch.strided


def _find_wrong_entries(
    optimizer: Optimizer,
    state_dict: Mapping[str, Any],
    names: Sequence[str] | None,
) -> Iterator[str]:
    parameters = _by_saved_index(optimizer, state_dict)
    same_shape = names is not None or is_elementwise(optimizer)
    for index, entry in state_dict['state'].items():
        parameter = parameters.get(index) if type(index) is int else None
        if parameter is None:
            yield f'it is for a parameter {shorten(index)}, of which there is none'
        elif not isinstance(entry, Mapping):
            yield f'of parameter {index} it has {shorten(entry)} instead of a dict'
        elif names is not None and set(entry) != set(names):
            yield f'of parameter {index} it has {sorted(map(str, entry))}, not {sorted(names)}'
        elif same_shape:
            for name, value in entry.items():
                if value is not None or names is not None:
                    yield from _find_misfit(name, value, index, parameter)


def _find_misfit(
    name: str,
    value: Any,
    index: int,
    parameter: Tensor,
) -> Iterator[str]:
    where = f'`{name}` of parameter {index}'
    if name in SCALARS:
        if not (_is_number(value) or (isinstance(value, Tensor) and _is_single(value))):
            yield f'{where} should be one finite number, but got {_describe(value)}'
    elif isinstance(value, Tensor):
        if value.shape != parameter.shape:
            yield (
                f'{where} has the shape {tuple(value.shape)}, but the parameter '
                f'{tuple(parameter.shape)}'
            )
        elif not _is_plain(value):
            yield f'{where} should contain real numbers, but got {_describe(value)}'
        elif not bool(torch.isfinite(value).all()):
            yield f'{where} is not finite'
    else:
        yield f'{where} should be a tensor, but got {_describe(value)}'


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return f'a tensor of the shape {tuple(value.shape)}, {value.dtype}, {value.layout}'
    return shorten(value)


def _say_what_is_kept(optimizer: Optimizer, groups: list[dict[str, Any]]) -> None:
    """Name the options that differ between the config and the state."""
    differ: dict[str, str] = {}
    for saved, own in zip(groups, optimizer.param_groups, strict=True):
        for key in own.keys() & saved.keys() - {'params', *IMPLEMENTATION, *RATES}:
            if not _equal(saved[key], own[key]):
                differ[key] = f'{key} = {saved[key]} (now {own[key]})'

        first, now = (group.get('initial_lr', group['lr']) for group in (saved, own))
        if 'initial_lr' in saved and not _equal(first, now):
            differ['lr'] = f'lr = {first:g} (now {now:g})'

    if differ:
        print_log(
            'The optimizer keeps the options of the checkpoint, not those of the config: '
            f'{", ".join(differ.values())}.',
            'current',
            level=logging.WARNING,
        )


def _equal(saved: Any, own: Any) -> bool:
    if isinstance(own, tuple | list):
        return all(map(_equal, saved, own))
    return bool(saved == own)


def _arrange(
    optimizer: Optimizer,
    state_dict: Mapping[str, Any],
    names: Sequence[str] | None,
) -> dict[str, Any]:
    """Copy the state so that no tensors share memory and each has its parameter's layout.

    A tensor of the right shape may still be a few numbers repeated with stride 0.
    """
    groups = []
    for saved, own in zip(state_dict['param_groups'], optimizer.param_groups, strict=True):
        ours = {key: own[key] for key in IMPLEMENTATION if key in own}
        groups.append({**saved, **ours})

    state = state_dict['state']
    if names is not None or is_elementwise(optimizer):
        parameters = _by_saved_index(optimizer, state_dict)
        arranged = {}
        for index, entry in state.items():
            parameter = parameters[index]
            arranged[index] = {name: _lay_out(value, parameter) for name, value in entry.items()}

        state = arranged

    return dict(state_dict, state=state, param_groups=groups)


def _lay_out(value: Any, parameter: Tensor) -> Any:
    if not isinstance(value, Tensor):
        return value
    if value.shape != parameter.shape:
        return value.detach().clone()
    return torch.empty_like(parameter, dtype=value.dtype, device=value.device).copy_(value)


def _by_saved_index(optimizer: Optimizer, state_dict: Mapping[str, Any]) -> dict[int, Tensor]:
    saved = [index for group in state_dict['param_groups'] for index in group['params']]
    own = [parameter for group in optimizer.param_groups for parameter in group['params']]
    return dict(zip(saved, own, strict=True))
