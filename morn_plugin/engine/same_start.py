"""Makes sure that all processes of a run start from the same state.

Each process loads its own checkpoint, perhaps from its own disk. If two processes started from
different weights, their gradients would silently be averaged, and only the first process's weights
saved.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from mmengine.dist import all_gather_object, get_world_size
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner
from torch import Tensor
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.nn.parallel import DistributedDataParallel


def require_same_start(runner: Runner) -> None:
    """Compare hashes of the processes' initial states.

    Args:
        runner: The run, about to take its first step.

    Raises:
        RuntimeError: In all processes, if one differs from the first; names the process and the
            parts.
    """
    if get_world_size() == 1:
        return

    dataset = runner.train_dataloader.dataset
    parts: dict[str, Any] = dict(
        position=[runner.train_loop.epoch, runner.train_loop.iter],
        seed=runner.seed,
        data=[len(dataset), list(getattr(dataset, 'metainfo', {}).get('classes') or ())],
    )
    # If the model or its optimizer is sharded, the processes have different parts.
    if isinstance(runner.model, DistributedDataParallel):
        parts['weights'] = runner.model.state_dict()
        wrapper = runner.optim_wrapper
        several = isinstance(wrapper, OptimWrapperDict)

        for index, one in enumerate(wrapper.values() if several else [wrapper]):
            if not isinstance(one.optimizer, ZeroRedundancyOptimizer):
                parts[f'optimizer {index}'] = one.optimizer.state_dict()

    digests = {name: digest(part) for name, part in parts.items()}
    compare_with_first(all_gather_object(digests))


def compare_with_first(digests: Sequence[Mapping[str, str]]) -> None:
    """Raise if the hash of any part differs between a process and the first one.

    Examples:
        >>> hashes = [dict(seed='a'), dict(seed='a'), dict(seed='b')]
        >>> compare_with_first(hashes)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        RuntimeError: The processes do not start ...: process 2 differs from process 0 in seed. ...
    """
    first = digests[0]
    described = []
    for rank, own in enumerate(digests):
        names = [name for name, value in own.items() if first.get(name) != value]
        if names:
            described.append(f'process {rank} differs from process 0 in {", ".join(names)}')

    if described:
        raise RuntimeError(
            'The processes do not start from the same state, so that their gradients must not be '
            f'averaged: {"; ".join(described)}. Does each see the same work folder and the same '
            'files?'
        )


def digest(value: Any) -> str:
    """Return the SHA-256 of plain containers of tensors, numbers and text, hexadecimal."""
    found = hashlib.sha256()
    for piece in _pieces(value):
        found.update(piece)
    return found.hexdigest()


def _pieces(value: Any) -> Iterator[Any]:
    if isinstance(value, Tensor):
        yield f'{value.dtype} {tuple(value.shape)}'.encode()
        plain = value.detach().cpu().contiguous().reshape(-1)
        yield plain.view(torch.uint8).numpy()
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield f'{key}:'.encode()
            yield from _pieces(item)
    elif isinstance(value, list | tuple):
        yield f'{len(value)}['.encode()
        for item in value:
            yield from _pieces(item)
    else:
        yield json.dumps(value, default=str).encode()
