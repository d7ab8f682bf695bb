"""Standard JSON: no ``NaN``, no repeated keys, no half characters, no endless nesting.

Python's own reader and writer allow all of these, and other programs then fail or read something
else.
"""

import json
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

from .describing import shorten
from .files import PathLike, atomic_write

# An escaped half of a character above U+FFFF; a complete pair does not match.
HALF_CHARACTER = re.compile(r'\\u[dD][89a-fA-F]')


def parse_json(
    text: str,
    source: str,
    error: type[ValueError] = ValueError,
    first_line: int | None = None,
    by_field: bool = False,
) -> Any:
    """Read JSON text.

    Args:
        text: The JSON.
        source: Its source, for the error.
        error: The type of error to raise.
        first_line: The first line of the text in its source, to name lines in errors. Defaults to
            None: no lines.
        by_field: Leave numbers and characters to a later check of the fields, which can name them.
            A file name, for example, may contain bytes that are not text, which Python writes in
            this way.

    Raises:
        ValueError: If it is not strict JSON; names the problem.

    Examples:
        >>> parse_json('{"thr": NaN}', 't.json')
        Traceback (most recent call last):
        ValueError: t.json: expected JSON, but it contains NaN, which JSON has no number for.
    """
    where = source if first_line is None else f'{source}:{first_line}'
    try:
        content = json.loads(
            text,
            object_pairs_hook=_check_keys,
            parse_constant=None if by_field else _refuse_constant,
            parse_float=None if by_field else _read_float,
        )
        if not by_field and HALF_CHARACTER.search(text):
            json.dumps(content, ensure_ascii=False).encode()
    except json.JSONDecodeError as problem:
        if first_line is not None:
            line = first_line + problem.lineno - 1
            place = f'{problem.msg} (column {problem.colno})'
            raise error(f'{source}:{line}: expected JSON, but {place}.') from problem

        raise error(f'{where}: expected JSON, but {problem}.') from problem
    except _RepeatedKeyError as problem:
        key = shorten(problem.args[0])
        raise error(f'{where}: an object repeats the key {key}: it is there twice.') from problem
    except RecursionError as problem:
        raise error(f'{where}: expected JSON, but it is nested too deeply.') from problem
    except UnicodeEncodeError as problem:
        raise error(
            f'{where}: expected JSON, but it contains half of a character '
            f'({problem.object[problem.start]!r}, a lone surrogate).'
        ) from problem
    except ValueError as problem:  # NaN, infinity, or more digits than Python reads
        raise error(f'{where}: expected JSON, but {problem}.') from problem

    return content


def dump_json(value: Any, **options: Any) -> str:
    """Return JSON text of a value, without escapes for characters outside of ASCII.

    Args:
        value: Plain values.
        **options: As of ``json.dumps``.

    Raises:
        ValueError: If a number is not finite: JSON has none for it.
    """
    return json.dumps(value, ensure_ascii=False, allow_nan=False, **options)


def write_json(path: PathLike, value: Any, **options: Any) -> None:
    """Write a value to a file, which is whole or as it was before.

    Args:
        path: The file; its folder is made.
        value: Plain values.
        **options: As of ``json.dumps``.

    Raises:
        ValueError: If a number is not finite.
    """
    text = dump_json(value, **options)
    with atomic_write(path) as file:
        file.write((text + '\n').encode())


def read_json(path: PathLike) -> Any:
    """Read a file.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is not strict JSON; names the file.
    """
    return parse_json(Path(path).read_text(encoding='utf-8'), str(path))


class _RepeatedKeyError(ValueError):
    """An object has a key twice; the argument is the key."""


def _check_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        counts = Counter(key for key, _ in pairs)
        raise _RepeatedKeyError(next(key for key, count in counts.items() if count > 1))
    return content


def _refuse_constant(text: str) -> None:
    raise ValueError(f'it contains {text}, which JSON has no number for')


def _read_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f'its number {text[:40]} is larger than any that can be stored')
    return value
