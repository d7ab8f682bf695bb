"""Reads a cell: tags, a list in any notation, or yes or no."""

import ast
import json
import re
import unicodedata
import warnings
from collections.abc import Callable
from typing import Any

from morn_plugin.datasets.annotations import AnnotationError

EMPTY = frozenset({'', 'nan', 'NaN', '<NA>', 'N/A', '#N/A', 'null', 'NULL', 'None'})
PAIRS = ('[]', '{}', '()')
NAME_KEYS = ('label', 'name', 'tag', 'class', 'value', 'title')
LIST_KEYS = ('choices', 'labels', 'tags', 'classes', 'categories')
MAX_STRUCTURED = 20_000  # characters of a cell: thousands of tags

# Yes and no as people, spreadsheets and tools write them in several languages.
YES = (
    '1 true t yes y on x ✓ ✔ ☑ ja j wahr oui vrai sí si sì verdadero sim verdadeiro vero waar sand '
    'sant tak prawda ano pravda'
)
NO = (
    '0 false f no n off ✗ ✘ ☐ nein falsch non faux falso não nao nee onwaar nej falsk falskt nei '
    'nie fałsz ne nepravda'
)
BLANK = '- nan none null'
UNSURE = '-1 ?'
FLAGS: dict[str, int] = {
    **dict.fromkeys(YES.split(), 1),
    **dict.fromkeys(['', *NO.split(), *BLANK.split()], 0),
    **dict.fromkeys(UNSURE.split(), -1),
}
WHOLE = re.compile(r'(-?[01])[.,]0+')  # 1.0, or 1,00 where the comma is decimal
DECIMAL_COMMA = re.compile(r'[+-]?(\d{1,3}(\.\d{3})+|\d+),\d+')

Split = Callable[[str], list[str]]
_QUOTED = r"""(?:'[^']*'|"[^"]*")"""
_NUMPY_LIST = re.compile(rf'\[\s*{_QUOTED}(?:\s+{_QUOTED})+\s*\]')


def read_flag(value: Any, where: str, column: str) -> int:
    """Read whether an image has a tag.

    Returns:
        1 for yes, 0 for no, -1 for unsure.

    Raises:
        AnnotationError: If it is anything else.

    Examples:
        >>> [read_flag(text, 't.csv:2', 'cat') for text in ('1.0', 'FALSE', '-1', '')]
        [1, 0, -1, 0]
    """
    flag = find_flag(value)
    if flag is None:
        raise AnnotationError(
            f'{where}: expected {column!r} to be 1 or 0 (true, false, yes, no; -1 for unsure), '
            f'but got {value!r}.'
        )
    return flag


def find_number(value: Any) -> float | None:
    """Return the number that a cell holds, with a decimal point or comma, or None.

    Examples:
        >>> [find_number(text) for text in ('0.5', '0,5', '1.234,5', 'cat')]
        [0.5, 0.5, 1234.5, None]
    """
    text = str(value).strip()
    if DECIMAL_COMMA.fullmatch(text):
        text = text.replace('.', '').replace(',', '.')
    try:
        return float(text)
    except ValueError:
        return None


def find_flag(value: Any) -> int | None:
    """Return the result of :func:`read_flag`, or None if it would raise."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | float):
        return int(value) if value in (0, 1, -1) else None
    if value is None:
        return 0
    if isinstance(value, str):
        word = unicodedata.normalize('NFC', value).strip().lower()
        whole = WHOLE.fullmatch(word)
        return FLAGS.get(whole[1] if whole else word)
    return None


def is_structured(text: str) -> bool:
    """Return whether a text looks like a list, a tuple, a set or an object in any notation."""
    text = text.strip()
    if len(text) < 2:
        return False
    return text[0] + text[-1] in PAIRS


def read_tags(
    value: Any,
    where: str,
    column: str,
    split: Split,
) -> list[str]:
    """Read the tags of a cell.

    Lists are read in JSON's, Python's and NumPy's notation; objects if they hold a list of tags
    (``{"choices": ["cat"]}``), one tag (``{"label": "cat"}``) or flags (``{"cat": 1, "dog": 0}``).

    Args:
        value: Text, or a JSON value.
        where: File and line, for the error.
        column: The column of the cell, for the error.
        split: Splits plain text into tags.

    Raises:
        AnnotationError: If the cell has another form.
    """
    if value is None:
        return []

    as_text = isinstance(value, str)
    if as_text:
        text = value.strip()
        if text in EMPTY:
            return []
        if not is_structured(text):
            return [tag for tag in split(text) if tag.strip()]

        value = _parse(text, where, column)

    tags = _flatten(value, split, as_text)
    if tags is None:
        raise AnnotationError(
            f'{where}: expected {column!r} to be a list of tags, but got {_shorten(value)}.'
        )

    return [tag for tag in tags if tag.strip() not in EMPTY]


def _parse(text: str, where: str, column: str) -> Any:
    """Decode a list or object in JSON's, NumPy's or Python's notation."""
    if len(text) <= MAX_STRUCTURED:
        if _NUMPY_LIST.fullmatch(text):  # Python would join its strings
            return [quoted[1:-1] for quoted in re.findall(_QUOTED, text)]

        for decode in (json.loads, _read_literal):
            try:
                return decode(text)
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue

        inner = text[1:-1]
        if text[0] == '[' and not re.search(r'[\[\]{}"\']', inner):
            return [part.strip() for part in inner.split(',')]  # a list without quotes
        if text[0] == '(':
            return [text]  # a remark: (unknown)

    raise AnnotationError(
        f'{where}: expected {column!r} to be tags, but got {_shorten(text)}, which looks like a '
        'list or an object and cannot be read as one.'
    )


def _read_literal(text: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', SyntaxWarning)  # from code that is not a literal
        return ast.literal_eval(text)


def _flatten(
    value: Any,
    split: Split,
    numbers: bool,
) -> list[str] | None:
    """Return the tags of a decoded value, or None if its form is unknown.

    Args:
        value: The decoded value.
        split: Splits plain text into tags.
        numbers: Whether numbers are tags; in a cell of text they are.
    """
    if isinstance(value, dict):
        return _flatten_object(value, split, numbers)
    if isinstance(value, str):
        return split(value)
    if not isinstance(value, list | tuple | set):
        return None

    tags: list[str] = []
    for item in sorted(value, key=str) if isinstance(value, set) else value:
        found = _read_item(item, numbers)
        if found is None:
            return None

        tags += found

    return tags


def _flatten_object(
    value: dict[Any, Any],
    split: Split,
    numbers: bool,
) -> list[str] | None:
    for key in LIST_KEYS:
        if isinstance(value.get(key), list | tuple):
            return _flatten(value[key], split, numbers)

    name = _name_of(value)
    if name is not None:
        return [name]

    flags = {str(key): find_flag(flag) for key, flag in value.items()}
    if all(flag in (0, 1) for flag in flags.values()):
        return [key for key, flag in flags.items() if flag == 1]

    return None


def _read_item(item: Any, numbers: bool) -> list[str] | None:
    """Read one item of a list, usually one tag; None if its form is unknown."""
    if isinstance(item, str):
        return [item]
    if isinstance(item, dict):
        return _read_region(item)
    if item is None or item != item:  # NaN: a missing value of pandas
        return []
    if numbers and isinstance(item, int) and not isinstance(item, bool):
        return [str(item)]

    return None


def _read_region(item: dict[Any, Any]) -> list[str] | None:
    """Read the tags of a box or another region: ``{"x": 1, "rectanglelabels": ["cat"]}``."""
    lists = [
        value for key, value in item.items() if key in LIST_KEYS or str(key).endswith('labels')
    ]
    if lists and all(_is_list_of_text(value) for value in lists):
        return [tag for value in lists for tag in value]
    name = _name_of(item)
    return None if name is None else [name]


def _is_list_of_text(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(part, str) for part in value)


def _name_of(value: dict[Any, Any]) -> str | None:
    names = [value[key] for key in NAME_KEYS if isinstance(value.get(key), str)]
    return names[0] if names else None


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f'{text[:60]}...'
