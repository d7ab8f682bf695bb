"""Reads tables of different layouts: the columns of an image's tags, and their format."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from morn_plugin.datasets.annotations import AnnotationError

from ..reading import several
from .cells import find_flag, find_number, read_flag, read_tags
from .records import Record, Table

# Signs that separate tags, the likeliest first; the last three are Chinese and Japanese.
SIGNS = (';', '|', ',', '\n', '\uff1b', '\uff0c', '\u3001')
SIDES = {
    'train': (
        *('train', 'training', 'trn', 'learn'),
        *('apprentissage', 'entraînement', 'entrenamiento', 'addestramento', 'treino'),
    ),
    'val': (
        *('val', 'valid', 'validation', 'dev', 'development', 'tune'),
        *('validierung', 'validación', 'validazione', 'validação', 'validatie'),
    ),
    'test': (
        *('test', 'testing', 'tst', 'eval', 'evaluation', 'holdout'),
        *('prueba', 'teste'),
    ),
}
SIDE_OF = {name: side for side, names in SIDES.items() for name in names}


@dataclass(frozen=True)
class Layout:
    """The meaning of the columns.

    Attributes:
        image: Column of the image.
        kind: ``'tags'``: all tags of an image in one cell, or in several columns; ``'pairs'``: one
            row per tag; ``'flags'``: one column per tag, with yes or no.
        columns: The tag columns: one or several for ``'tags'``, one for ``'pairs'``.
        separator: The separator of the tags in a cell, or '' for one tag per cell.
        value: Column that says whether the tag of a pair is present, such as Open Images'
            ``Confidence``, or ''.
        split: Column of the side, or ''.
    """

    image: str
    kind: str
    columns: tuple[str, ...]
    separator: str = ''
    value: str = ''
    split: str = ''


@dataclass(frozen=True)
class Tagged:
    """The tags of an image, or some of them.

    Attributes:
        img_path: The path as in the table.
        tags: The tags of the image.
        side: ``train``, ``val``, ``test``, or '' if the table has none.
        where: File and line.
        unsure: Tags that are neither true nor false.
    """

    img_path: str
    tags: frozenset[str]
    side: str
    where: str
    unsure: frozenset[str] = frozenset()


def read_rows(
    table: Table,
    layout: Layout,
    min_confidence: float | None = None,
) -> list[Tagged]:
    """Read all rows of a table.

    Args:
        table: The table.
        layout: The meaning of the columns.
        min_confidence: Lowest value in ``layout.value`` for a tag that is present. Defaults to
            None: the values must be 0 and 1.

    Raises:
        AnnotationError: If rows cannot be read; names file and line of the first few.
    """
    read = _READERS[layout.kind](layout, min_confidence)
    has_side = layout.split in table.records[0][0]

    rows: list[Tagged] = []
    problems: list[str] = []
    for record, where in table.records:
        try:
            tags, unsure = read(record, where)
            image = read_text(record, layout.image, where)
            side = _read_side(record, layout.split, has_side, where)
        except AnnotationError as error:
            problems.append(str(error))
            continue

        rows.append(Tagged(image, frozenset(tags), side, where, frozenset(unsure)))

    if problems:
        raise AnnotationError(several(problems))

    return rows


Tags = tuple[Sequence[str], Sequence[str]]  # tags that are present, tags that are unsure
RowReader = Callable[[dict[str, Any], str], Tags]


def _tags_reader(layout: Layout, min_confidence: float | None) -> RowReader:
    split = splitter(layout.separator)

    def read(record: dict[str, Any], where: str) -> Tags:
        tags: list[str] = []
        for column in layout.columns:
            tags += read_tags(read_field(record, column, where), where, column, split)
        return tags, ()

    return read


def splitter(separator: str) -> Callable[[str], list[str]]:
    """Return the function that splits a text at a separator; '' keeps it whole.

    Examples:
        >>> splitter('|')('cat|dog')
        ['cat', 'dog']
    """
    if separator == ' ':
        return str.split
    return lambda text: text.split(separator) if separator else [text]


def _pairs_reader(layout: Layout, min_confidence: float | None) -> RowReader:
    column = layout.columns[0]

    def read(record: dict[str, Any], where: str) -> Tags:
        tag = read_field(record, column, where)
        if isinstance(tag, int) and not isinstance(tag, bool):
            tag = str(tag)
        if not isinstance(tag, str) or not tag.strip():
            raise AnnotationError(f'{where}: expected {column!r} to be a tag, but got {tag!r}.')
        if not layout.value:
            return [tag], ()

        flag = _read_confidence(record, layout.value, where, min_confidence)
        return ([tag] if flag > 0 else [], [tag] if flag < 0 else [])

    return read


def _read_confidence(
    record: dict[str, Any],
    column: str,
    where: str,
    least: float | None,
) -> int:
    """Read whether the tag of a pair is present: 1, 0, or -1 for unsure."""
    value = read_field(record, column, where)
    flag = find_flag(value)
    if flag is not None:
        return flag

    number = find_number(value)
    if number is None or not 0 <= number <= 1:
        raise AnnotationError(f'{where}: expected {column!r} to be in 0..1, but got {value!r}.')
    if least is None:
        raise AnnotationError(
            f'{where}: expected {column!r} to be 1 (there) or 0 (not there), but got {value!r}. '
            'Pass --min-confidence with the least value of a tag that is there.'
        )

    return int(number >= least)


def _flags_reader(layout: Layout, min_confidence: float | None) -> RowReader:
    def read(record: dict[str, Any], where: str) -> Tags:
        flags = {
            column: read_flag(read_field(record, column, where), where, column)
            for column in layout.columns
        }
        there = [column for column, flag in flags.items() if flag > 0]
        unsure = [column for column, flag in flags.items() if flag < 0]
        return there, unsure

    return read


_READERS: dict[str, Callable[[Layout, float | None], RowReader]] = {
    'tags': _tags_reader,
    'pairs': _pairs_reader,
    'flags': _flags_reader,
}


def read_field(
    record: dict[str, Any],
    column: str,
    where: str,
) -> Any:
    """Return a value of a record.

    Raises:
        AnnotationError: If the record has no such column.
    """
    if column not in record:
        raise AnnotationError(f'{where}: expected the column {column!r}, but got {sorted(record)}.')
    return record[column]


def read_text(
    record: dict[str, Any],
    column: str,
    where: str,
) -> str:
    """Return a text of a record without surrounding white space.

    Raises:
        AnnotationError: If it is not text, or empty.
    """
    value = read_field(record, column, where)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)  # a photo named by number
    if not isinstance(value, str) or not value.strip():
        raise AnnotationError(f'{where}: expected {column!r} to be text, but got {value!r}.')
    return value.strip()


def _read_side(
    record: dict[str, Any],
    column: str,
    expected: bool,
    where: str,
) -> str:
    if not column:
        return ''
    if (column in record) != expected:
        raise AnnotationError(f'{where}: expected {column!r} in every row or in none.')
    if not expected:
        return ''

    text = read_text(record, column, where)
    side = SIDE_OF.get(text.lower())
    if side is None:
        raise AnnotationError(
            f'{where}: expected {column!r} to be train, val or test, but got {text!r}.'
        )

    return side


def is_flags(records: Sequence[Record], column: str) -> bool:
    """Return whether a column has only yes and no, with at least one yes."""
    flags = [find_flag(record.get(column)) for record, _ in records]
    return None not in flags and 1 in flags
