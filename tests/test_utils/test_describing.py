"""A short description of any value, found in bounded time."""

import numpy as np
import pytest
import torch

from morn_plugin.utils.describing import describe


def shared_nest(levels=60, width=10):
    """A list that holds one list many times, which holds another many times, and so on."""
    nest = ['a']
    for _ in range(levels):
        nest = [nest] * width
    return nest


def circle():
    items = []
    items.append(items)
    return items


class Loud:
    def __repr__(self):
        raise AssertionError('an unknown class was asked for its repr')


@pytest.mark.parametrize(
    ('value', 'expected'),
    [
        (5, '5 (int)'),
        (None, 'None (NoneType)'),
        (True, 'True (bool)'),
        ('x', "'x' (str)"),
        ('\ud800', "'\\ud800' (str)"),
        ([1, 'a'], "[1, 'a'] (list)"),
        (dict(a=1), "{'a': 1} (dict)"),
        (b'ab', "b'ab' (bytes)"),
        (float('nan'), 'nan (float)'),
        (torch.zeros(2, 3), '<Tensor of shape (2, 3)> (Tensor)'),
        (np.zeros(4), '<ndarray of shape (4,)> (ndarray)'),
        (Loud(), '<Loud> (Loud)'),
        (1 << 100_000, '<an integer of 100001 bits> (int)'),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_said(value, expected):
    assert describe(value) == expected


@pytest.mark.parametrize(
    'value',
    [
        shared_nest(),
        tuple(shared_nest()),
        circle(),
        'x' * 10**7,
        b'x' * 10**7,
        {'a': shared_nest()},
    ],
    ids=['list', 'tuple', 'circle', 'text', 'bytes', 'dict'],
)
def test_anything_is_short(value):
    assert len(describe(value)) < 100
