"""Checks lists of class names from any source.

Programs compare bytes, but people compare what they see: names that look the same count as one.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

from .describing import describe

MAX_CLASSES = 1_000_000
MAX_CHARACTERS = 1000
# Invisible or blank, although Unicode lists them as letters, marks or symbols.
BLANKS = '\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0'


def visible_form(name: str) -> str:
    r"""Return the visible form of a name: composed characters, no invisible ones, single blanks.

    Examples:
        >>> visible_form('polar\u00a0 be\u200bar') == visible_form('polar bear')
        True
    """
    seen = [' ' if _is_blank(character) else character for character in name]
    shown = ''.join(character for character in seen if not _is_invisible(character))
    return unicodedata.normalize('NFC', ' '.join(shown.split()))


def find_faults(classes: Any, field: str) -> Iterator[str]:
    """Find the problems of a list of class names.

    Args:
        classes: Should be a list or tuple of distinct, visible names.
        field: The name of the list in its source.

    Yields:
        One sentence per mistake, without the full stop.
    """
    if isinstance(classes, str) or not isinstance(classes, Sequence) or not len(classes):
        found = describe(classes)
        yield f'expected `{field}` to be a non-empty list of class names, but got {found}'
    elif len(classes) > MAX_CLASSES:
        yield f'expected `{field}` to have at most {MAX_CLASSES:,} names, but got {len(classes):,}'
    else:
        yield from _find_wrong_names(classes, field)


def _find_wrong_names(classes: Sequence[Any], field: str) -> Iterator[str]:
    first: dict[str, int] = {}
    for index, name in enumerate(classes):
        where = f'`{field}[{index}]`'
        wrong = _find_fault(name)
        if wrong:
            yield f'expected {where} to be {wrong}'
            continue

        before = first.setdefault(visible_form(name), index)
        if before == index:
            continue

        if name == classes[before]:
            yield f'{where} repeats the class name {name!r}'
        else:
            yield (
                f'{where}, {name!a}, differs from `{field}[{before}]`, {classes[before]!a}, by '
                'invisible characters'
            )


def _find_fault(name: Any) -> str | None:
    if not isinstance(name, str) or not name.strip():
        return f'a non-empty string, but got {describe(name)}'
    if len(name) > MAX_CHARACTERS:
        return f'at most {MAX_CHARACTERS} characters long, but got {len(name):,}'

    kinds = {unicodedata.category(character) for character in name}
    if 'Cs' in kinds:
        return f'text that can be written, but {name!a} contains half a character'
    if 'Cc' in kinds:
        return f'text that can be shown, but {name!a} contains a control character'
    if not visible_form(name):
        return f'a non-empty string, but nothing is seen of {name!a}'

    return None


def _is_blank(character: str) -> bool:
    return unicodedata.category(character) == 'Zs' or character.isspace()


def _is_invisible(character: str) -> bool:
    selects_variant = '\ufe00' <= character <= '\ufe0f' or '\U000e0100' <= character <= '\U000e01ef'
    return unicodedata.category(character) == 'Cf' or selects_variant or character in BLANKS
