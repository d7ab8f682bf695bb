"""Checks of arguments, with messages for users."""

import argparse
import os
from collections.abc import Callable, Sequence
from typing import Any

from .describing import shorten


def check_positive(**sizes: int) -> None:
    """Raise unless every size is a positive integer.

    Examples:
        >>> check_positive(num_steps=0)
        Traceback (most recent call last):
        ValueError: Expected `num_steps` to be a positive integer, but got 0.
    """
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(
                f'Expected `{name}` to be a positive integer, but got {shorten(size)}.'
            )


def plain_numbers(value: Any) -> Any:
    """Convert NumPy's numbers and arrays, and tensors, to Python's numbers and lists.

    Examples:
        >>> import numpy as np
        >>> plain_numbers([np.float64(0.5), 1]), plain_numbers(np.array([0.25, 0.5]))
        ([0.5, 1], [0.25, 0.5])
    """
    if hasattr(value, 'tolist'):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain_numbers(item) for item in value]
    return value


def at_least(least: int) -> Callable[[str], int]:
    """Return the ``type`` of a command line argument that is a whole number, ``least`` or more.

    Examples:
        >>> at_least(1)('0')
        Traceback (most recent call last):
        argparse.ArgumentTypeError: expected a whole number of at least 1, but got '0'
    """

    def convert(text: str) -> int:
        if not text.strip().lstrip('-').isdigit() or int(text) < least:
            raise argparse.ArgumentTypeError(
                f'expected a whole number of at least {least}, but got {text!r}'
            )
        return int(text)

    return convert


def fraction(text: str) -> float:
    """Read a command line argument that is a share, 0 or more and below 1.

    Examples:
        >>> fraction('1.5')
        Traceback (most recent call last):
        argparse.ArgumentTypeError: expected a number in [0, 1), but got '1.5'
    """
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f'expected a number in [0, 1), but got {text!r}')
    return value


def check_choice(name: str, value: object, choices: tuple) -> None:
    """Raise unless ``value`` is one of ``choices``.

    Examples:
        >>> check_choice('mask', 'prev', ('previous', 'none'))
        Traceback (most recent call last):
        ValueError: Expected `mask` to be one of 'previous', 'none', but got 'prev'.
    """
    if value not in choices:
        raise ValueError(
            f'Expected `{name}` to be one of {", ".join(map(repr, choices))}, but got '
            f'{shorten(value)}.'
        )


def check_probability(name: str, value: object) -> None:
    """Raise unless ``value`` is a number in 0-1.

    Examples:
        >>> check_probability('thr', 50)
        Traceback (most recent call last):
        ValueError: Expected `thr` to be a number between 0 and 1, but got 50.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ValueError(
            f'Expected `{name}` to be a number between 0 and 1, but got {shorten(value)}.'
        )


def check_thr_topk(thr: float | Sequence[float] | None, topk: int | None) -> None:
    """Raise unless at most one of ``thr`` and ``topk`` is set, and valid.

    ``thr`` is a number 0-1 or one such number per label, ``topk`` a positive integer.

    Examples:
        >>> check_thr_topk([0.5, 1.5], None)
        Traceback (most recent call last):
        ValueError: Expected `thr[1]` to be a number between 0 and 1, but got 1.5.
    """
    if thr is not None and topk is not None:
        raise ValueError(
            f'Expected either `thr` or `topk`, but got both: thr={shorten(thr)}, '
            f'topk={shorten(topk)}.'
        )

    if isinstance(thr, Sequence) and not isinstance(thr, str):
        if not thr:
            raise ValueError('Expected `thr` to be a number or one number a label, but got none.')

        for label, value in enumerate(thr):
            check_probability(f'thr[{label}]', value)
    elif thr is not None:
        check_probability('thr', thr)

    if topk is not None:
        check_positive(topk=topk)


def describe_missing(path: str | os.PathLike) -> str:
    """Return that a file does not exist and, for a relative path, the folder searched.

    Examples:
        >>> describe_missing('/data/train.json')
        '/data/train.json does not exist.'
    """
    text = f'{os.fspath(path)} does not exist.'
    if os.path.isabs(path):
        return text

    folder = os.path.dirname(os.path.abspath(path))
    state = 'which has no such file' if os.path.isdir(folder) else 'which does not exist either'
    return (
        f'{text} A relative path counts from the current folder ({os.getcwd()}): looked '
        f'in {folder}, {state}.'
    )
