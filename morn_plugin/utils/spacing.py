"""Chooses evenly spaced items."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Item = TypeVar('Item')


def evenly_spaced(items: Sequence[Item], number: int) -> list[Item]:
    """Return ``number`` of the items, evenly spaced, including the first and the last.

    Returns all if there are fewer.

    Examples:
        >>> evenly_spaced('abcdefg', 3)
        ['a', 'd', 'g']
        >>> evenly_spaced('ab', 3), evenly_spaced('', 3)
        (['a', 'b'], [])
    """
    places = np.linspace(0, len(items) - 1, min(number, len(items))).round().astype(int)
    return [items[place] for place in places.tolist()]
