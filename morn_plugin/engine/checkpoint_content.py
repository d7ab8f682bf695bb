"""Checks that a model's checkpoint has named tensors and a valid ``meta``.

torch loads only tensors and plain containers. Still, a list may replace a dict, a tensor may claim
more elements than it stores, and weights may be booleans.
"""

import os
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..utils.describing import describe, list_problems, shorten
from ..utils.schemas import CheckpointMeta, check_schema
from .checkpoints import load_checkpoint

MAX_PROBLEMS = 5  # named in one message


def read_model_checkpoint(path: str | os.PathLike) -> dict[str, Any]:
    """Load the checkpoint of a model and check the used parts.

    Args:
        path: A local file: an OpenMMLab checkpoint, one with its weights under ``model``, or plain
            weights.

    Returns:
        ``state_dict`` with tensors by name, and ``meta``, a dict, empty if missing.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If it is damaged, or holds what is not allowed.
        ValueError: If its content is not a model; names file and field.
    """
    content = load_checkpoint(path)
    if not isinstance(content, dict):
        raise ValueError(
            f'{path}: expected a checkpoint with a `state_dict`, but got {describe(content)}.'
        )

    name = next((name for name in ('state_dict', 'model') if name in content), None)
    state: Any = content if name is None else dict.get(content, name)
    meta = None if name is None else dict.get(content, 'meta')
    check_schema(CheckpointMeta, {} if meta is None else meta, f'{path}: `meta`')
    check_state_dict(state, f'{path}: `{name or "weights"}`')
    return dict(state_dict=_copy_state_dict(state), meta=dict(dict.items(meta or {})))


def _copy_state_dict(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copy the tensors and torch's layer versions, but no other attribute.

    An ``OrderedDict`` in a checkpoint can have any attributes, even instead of its methods.
    """
    copied = OrderedDict(dict.items(state))
    versions = vars(state).get('_metadata') if isinstance(state, OrderedDict) else None
    if isinstance(versions, dict) and all(isinstance(v, dict) for v in dict.values(versions)):
        vars(copied)['_metadata'] = dict(dict.items(versions))
    return copied


def check_state_dict(state: Any, source: str) -> None:
    """Require tensors by name, each stored completely.

    Raises:
        ValueError: Names the wrong entries.
    """
    if not isinstance(state, dict):
        raise ValueError(f'{source}: expected tensors by name, but got {describe(state)}.')
    problems = [
        f'`{shorten(name)}`: {wrong}'
        for name, value in dict.items(state)
        if (wrong := _find_wrong_tensor(name, value)) is not None
    ]
    _raise_problems(problems, source)


def _find_wrong_tensor(name: Any, value: Any) -> str | None:
    if not isinstance(name, str):
        return f'expected the name of a tensor, but got {describe(name)}'
    if not isinstance(value, Tensor):
        return f'expected a tensor, but got {describe(value)}'
    if value.layout != torch.strided or value.is_quantized or value.is_meta or value.is_nested:
        return f'expected a dense tensor of plain numbers, but got {value.layout}, {value.dtype}'

    stored = value.untyped_storage().nbytes()
    claimed = value.numel() * value.element_size()
    if claimed > stored:
        return f'expected all of its elements, but of {claimed:,} bytes {stored:,} are stored'

    return None


def check_kinds(
    model: nn.Module,
    state: Mapping[str, Tensor],
    source: str,
) -> None:
    """Require every tensor to have the type of the model's.

    torch converts silently: booleans to 0 and 1, complex numbers to their real parts.

    Args:
        model: The model to fill.
        state: Tensors by name, with or without the ``module.`` of a parallel model.
        source: Their source, for the error.

    Raises:
        ValueError: Names the tensors of a different type.
    """
    own = model.state_dict()
    problems = []
    for name, value in state.items():
        expected = own.get(name.removeprefix('module.'))
        if isinstance(expected, Tensor) and _kind(expected) != _kind(value):
            problems.append(f'`{name}`: expected {_kind(expected)}, but got {value.dtype}')
    _raise_problems(problems, source)


def _kind(tensor: Tensor) -> str:
    if tensor.is_floating_point():
        return 'real numbers'
    if tensor.is_complex():
        return 'complex numbers'
    return 'truth values' if tensor.dtype == torch.bool else 'whole numbers'


def _raise_problems(problems: list[str], source: str) -> None:
    if problems:
        listed = [f'{source}: {problem}.' for problem in problems]
        raise ValueError(list_problems(listed, MAX_PROBLEMS))
