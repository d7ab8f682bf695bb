"""Describes any value for an error: short, and in limited time.

``repr`` of a list that holds one list ten times, which holds another ten times, and so on, has no
end; of an integer with a million digits it raises.
"""

import reprlib
from collections.abc import Sequence
from typing import Any

LIMIT = 60  # characters
PLAIN = (bool, float, complex, type(None))


class _Describer(reprlib.Repr):
    """Shortened ``repr`` that calls no ``__repr__`` of unknown classes."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 2
        self.maxstring = self.maxother = LIMIT

    def repr_int(self, x: int, level: int) -> str:
        return repr(x) if x.bit_length() < 100 else f'<an integer of {x.bit_length()} bits>'

    def repr_bytes(self, x: bytes, level: int) -> str:
        return repr(x[: LIMIT // 2]) + ('...' if len(x) > LIMIT // 2 else '')

    def repr_instance(self, x: Any, level: int) -> str:
        if isinstance(x, PLAIN):
            return repr(x)
        if isinstance(x, type):
            return f'<class {x.__name__}>'
        shape = getattr(x, 'shape', None)
        size = f' of shape {tuple(shape)}' if isinstance(shape, tuple) else ''
        return f'<{type(x).__name__}{size}>'


def shorten(value: object) -> str:
    """Return a short description of a value.

    Examples:
        >>> shorten(0.5), shorten([1, 2, 3, 4, 5, 6, 7]), shorten(10**9999)
        ('0.5', '[1, 2, 3, 4, 5, 6, ...]', '<an integer of 33216 bits>')
    """
    text = _Describer().repr(value)
    return text if len(text) <= LIMIT else text[:LIMIT] + '...'


def describe(value: object) -> str:
    """Return a short description of a value, with its type.

    Examples:
        >>> describe('cat'), describe([1, 2])
        ("'cat' (str)", '[1, 2] (list)')
    """
    return f'{shorten(value)} ({type(value).__name__})'


def list_problems(problems: Sequence[str], shown: int = 10) -> str:
    """Return one mistake per line, up to a readable number."""
    more = len(problems) - shown
    lines = [*problems[:shown], f'... and {more} more mistakes.'] if more > 0 else problems
    return '\n'.join(lines)
