"""The allow-list that lets MMEngine's checkpoints load with torch's ``weights_only``.

torch refuses every global that is not listed. MMEngine's checkpoints contain its ``HistoryBuffer``s
and a few NumPy objects in the message hub, and refer to methods of ``HistoryBuffer`` through
``builtins.getattr``. The real ``getattr`` would let a crafted file reach any attribute, so a
guarded one replaces it.
"""

import os
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import torch
from mmengine.logging.history_buffer import HistoryBuffer

from ..utils.describing import shorten

MULTIARRAY: Any = import_module(
    'numpy._core.multiarray' if np.__version__ >= '2' else 'numpy.core.multiarray'
)
HISTORY_METHODS = ('min', 'max', 'current', 'mean')


def guarded_getattr(obj: Any, name: str) -> Any:
    """Stand in for ``getattr`` in a checkpoint: four methods of ``HistoryBuffer``, nothing else.

    Raises:
        TypeError: If a file requests anything else.
    """
    if obj is not HistoryBuffer or not isinstance(name, str) or name not in HISTORY_METHODS:
        raise TypeError(
            f'A checkpoint asked for the attribute {shorten(name)} of {shorten(obj)}; allowed are '
            f'{", ".join(HISTORY_METHODS)} of HistoryBuffer. It may be crafted: do not trust it.'
        )
    return getattr(obj, name)


def guarded_reconstruct(
    kind: Any,
    shape: Any,
    code: Any,
) -> np.ndarray:
    """Stand in for NumPy's function that creates an array to be filled later.

    Raises:
        TypeError: If a file requests anything else.
    """
    if kind is not np.ndarray or not isinstance(shape, tuple) or shape != (0,):
        raise TypeError(
            f'A checkpoint asked for {shorten(kind)} of shape {shorten(shape)}. Do not trust it.'
        )
    return MULTIARRAY._reconstruct(kind, shape, code)


def guarded_scalar(dtype: np.dtype, *content: bytes) -> Any:
    """Stand in for NumPy's function that creates a number from bytes.

    Raises:
        TypeError: If it is not a number, or bytes are missing.
    """
    if not isinstance(dtype, np.dtype) or dtype.kind not in 'biufc' or len(content) != 1:
        raise TypeError(f'A checkpoint asked for a number of {shorten(dtype)}. Do not trust it.')
    return MULTIARRAY.scalar(dtype, *content)


def allow_checkpoint_globals() -> None:
    """Register the allow-list with torch, once for the process."""
    numpy_functions: dict[str, Callable[..., Any]] = dict(
        _reconstruct=guarded_reconstruct, scalar=guarded_scalar
    )
    torch.serialization.add_safe_globals(
        [
            HistoryBuffer,
            np.ndarray,
            np.dtype,
            *(
                getattr(np.dtypes, name)
                for name in ('Float64DType', 'Int64DType', 'UInt32DType', 'Float32DType')
            ),
            *(
                (function, f'numpy.{core}.multiarray.{name}')  # NumPy 2 and 1
                for name, function in numpy_functions.items()
                for core in ('_core', 'core')
            ),
            (guarded_getattr, 'builtins.getattr'),
        ]
    )


def force_weights_only() -> None:
    """Switch ``weights_only`` on for every ``torch.load`` of this process and its children.

    Otherwise ``torch.hub``, and with it MMEngine's ``torchvision://``, switches it off.
    """
    os.environ.pop('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', None)
    os.environ['TORCH_FORCE_WEIGHTS_ONLY_LOAD'] = '1'
