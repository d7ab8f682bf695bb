"""Reads the files of a data set; errors name file and line."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from morn_plugin.datasets.annotations import AnnotationError
from morn_plugin.utils.strict_json import parse_json

from .path_separators import relative_path


def read_text(path: Path) -> str:
    """Read a UTF-8 file, with or without a byte order mark.

    Raises:
        FileNotFoundError: If there is no such file.
        AnnotationError: If a line is not UTF-8.
    """
    if not path.is_file():
        raise FileNotFoundError(f'{path} does not exist.')

    content = path.read_bytes()
    try:
        return content.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        line = content.count(b'\n', 0, error.start) + 1
        raise AnnotationError(
            f'{path}:{line}: expected UTF-8 text, but byte {error.start} is not.'
        ) from error


def read_lines(path: Path) -> list[str]:
    """Read the lines of a text file, without the white space around them.

    Raises:
        FileNotFoundError: If there is no such file.
        AnnotationError: If the file is empty or a line before the last is
            blank: line numbers carry meaning in these lists.
    """
    lines = [line.strip() for line in read_text(path).rstrip().split('\n')]
    if '' in lines:
        raise AnnotationError(
            f'{path}:{lines.index("") + 1}: expected text, but the line is blank.'
        )
    return lines


def read_json(path: Path) -> Any:
    """Decode a JSON file.

    Raises:
        FileNotFoundError: If there is no such file.
        AnnotationError: If it is not JSON, for example an incomplete download.
    """
    return decode_json(read_text(path), str(path))


def decode_json(
    text: str,
    path: str,
    first_line: int = 1,
) -> Any:
    """Decode JSON text that starts on a line of a file.

    Raises:
        AnnotationError: If it is not strict JSON, for example if an object repeats a key.
    """
    return parse_json(text, path, AnnotationError, first_line, by_field=True)


def read_classes(path: Path) -> list[str]:
    """Read class names, one per line.

    Raises:
        FileNotFoundError: If there is no such file.
        AnnotationError: If a name repeats or the file is empty.
    """
    first: dict[str, int] = {}
    for line, name in enumerate(read_lines(path), 1):
        if name in first:
            raise AnnotationError(
                f'{path}:{line}: repeats the class name {name!r} of line {first[name]}.'
            )
        first[name] = line
    return list(first)


def split_counted(
    line: str,
    where: str,
    meaning: str,
) -> tuple[str, int]:
    """Split a line ``path integer`` of the authors' lists.

    Raises:
        AnnotationError: If it is not a path and a whole number.
    """
    cells = line.rsplit(maxsplit=1)
    if len(cells) != 2 or not (cells[1].isascii() and cells[1].isdigit()):
        raise AnnotationError(f'{where}: expected a path, a space and {meaning}, but got {line!r}.')
    return relative_path(cells[0], where), int(cells[1])


def check_row_count(
    path: Path,
    found: int,
    expected: int,
    against: Path,
) -> None:
    """Require two files to match line by line.

    Raises:
        AnnotationError: If they differ; names the first line without a counterpart.
    """
    if found != expected:
        raise AnnotationError(
            f'{path}:{min(found, expected) + 1}: expected {expected:,} lines, one for each of '
            f'{against}, but got {found:,}.'
        )


def several(messages: Sequence[str], limit: int = 3) -> str:
    """Join the first messages, and add the number of all."""
    more = [f'... {len(messages):,} in all.'] if len(messages) > limit else []
    return '\n'.join([*messages[:limit], *more])


def only_file(folder: Path, pattern: str) -> Path:
    """Find the one file of a folder that a pattern matches.

    Raises:
        FileNotFoundError: If none or several match.
    """
    matches: Sequence[Path] = sorted(folder.glob(pattern))
    if len(matches) != 1:
        names = ', '.join(path.name for path in matches) or 'none'
        raise FileNotFoundError(f'{folder}: expected exactly one file {pattern}, but got {names}.')
    return matches[0]
