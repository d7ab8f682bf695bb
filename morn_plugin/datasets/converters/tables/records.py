"""Reads tables of any form as records: one dict per row, with file and line."""

import csv
import io
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from morn_plugin.datasets.annotations import AnnotationError

from ..reading import decode_json
from .exports import read_json_export, read_xml_export
from .text import read_table_text

Record = tuple[dict[str, Any], str]

DELIMITERS = {',': 'comma', ';': 'semicolon', '\t': 'tab', '|': 'vertical bar'}
FORMATS = {
    '.csv': 'csv',
    '.tsv': 'tsv',
    '.tab': 'tsv',
    '.jsonl': 'jsonl',
    '.ndjson': 'jsonl',
    '.json': 'json',
    '.xml': 'xml',
}
SNIFFED_ROWS = 200


@dataclass(frozen=True)
class Table:
    """A table that was read.

    Attributes:
        path: Its file.
        columns: Names of the columns, in order of first appearance.
        records: For every row its values by column, and file and line.
        kind: The kind of table, in words: ``CSV``, ``JSON lines``, ``an export of CVAT``, ...
        encoding: Encoding of the text.
        delimiter: Delimiter of a CSV file, or ''.
        guessed_encoding: Whether the encoding was guessed.
        notes: Lines on content that was left out.
    """

    path: Path
    columns: list[str]
    records: list[Record]
    kind: str
    encoding: str
    delimiter: str = ''
    guessed_encoding: bool = False
    notes: list[str] = field(default_factory=list)


def read_table(
    path: Path,
    form: str = 'auto',
    encoding: str | None = None,
    delimiter: str | None = None,
    wanted: Collection[str] = (),
    guess: bool = False,
    header: bool = True,
) -> Table:
    """Read a table.

    Args:
        path: Its file.
        form: ``'csv'``, ``'tsv'``, ``'jsonl'``, ``'json'``, ``'xml'``, or ``'auto'``: by the
            extension of the file.
        encoding: See :func:`~.text.read_table_text`.
        delimiter: Delimiter of the cells of a CSV file. Defaults to None: the one that gives the
            header the wanted columns, or all rows the same number of cells.
        wanted: Columns that the table should have.
        guess: Whether the encoding and the form may be guessed.
        header: Whether the first row of a CSV file names the columns; otherwise they are called
            ``column 1``, ``column 2``, ...

    Raises:
        FileNotFoundError: If there is no such file.
        AnnotationError: If a row cannot be read; names file and line.
    """
    kind = form if form != 'auto' else FORMATS.get(path.suffix.lower())
    if kind is None and not guess:
        raise AnnotationError(
            f'{path}: expected one of {", ".join(FORMATS)}; pass --format for another name.'
        )

    source = read_table_text(path, encoding, guess)
    kind = kind or _guess_form(source.text)

    # Read the records by the kind of the table.
    notes: list[str] = []
    found = ''  # the delimiter
    if kind == 'jsonl':
        name = 'JSON lines'
        records = list(_read_jsonl(path, source.text))
    elif kind == 'json':
        name, records = read_json_export(decode_json(source.text, str(path)), path, notes)
    elif kind == 'xml':
        name, records = read_xml_export(source.text, path, notes)
    else:
        text, line = _without_sep_line(source.text)
        usual = '\t' if kind == 'tsv' else ','
        found = delimiter or find_delimiter(text, usual, wanted)
        name = f'{DELIMITERS.get(found, repr(found))}-separated'
        records = list(_read_cells(path, text, found, line, header))
        records = _drop_empty_end(records, notes)

    if not records:
        raise AnnotationError(f'{path}:1: expected at least one row below the header.')

    columns = _list_columns(records)
    return Table(path, columns, records, name, source.encoding, found, source.guessed, notes)


def _guess_form(text: str) -> str:
    start = text.lstrip()[:1]
    if start == '<':
        return 'xml'
    if start == '[':
        return 'json'
    if start == '{':
        first, _, rest = text.strip().partition('\n')
        return 'jsonl' if first.rstrip().endswith('}') and rest else 'json'

    return 'csv'


def _list_columns(records: Sequence[Record]) -> list[str]:
    """List the columns that any record has, in the order in which they appear."""
    columns: dict[str, None] = {}
    for record, _ in records:
        columns |= dict.fromkeys(record)

    return list(columns)


def find_delimiter(
    text: str,
    usual: str = ',',
    wanted: Collection[str] = (),
) -> str:
    r"""Find the delimiter of the cells of a table.

    Args:
        text: The table.
        usual: The default, unless another one is likelier.
        wanted: Columns that the header should have.

    Examples:
        >>> find_delimiter('image;tags\na.jpg;cat, dog\nb.jpg;cat\n')
        ';'
    """
    order = [usual, *(delimiter for delimiter in DELIMITERS if delimiter != usual)]
    rows = {delimiter: _sniff(text, delimiter) for delimiter in order}

    for delimiter in order:
        header = [cell.strip() for cell in _first(rows[delimiter])]
        if sum(name in wanted for name in header) > 1:
            return delimiter

    return max(order, key=lambda delimiter: _evenness(rows[delimiter]))


def _sniff(text: str, delimiter: str) -> list[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=''), delimiter=delimiter)
    rows: list[list[str]] = []
    try:
        for cells in reader:
            if len(rows) == SNIFFED_ROWS:
                break
            if cells:
                rows.append(cells)
    except csv.Error:
        return rows

    return rows


def _first(rows: Sequence[list[str]]) -> list[str]:
    return rows[0] if rows else []


def _evenness(rows: Sequence[list[str]]) -> float:
    """Compute the share of rows with as many cells as the header, 0 for a header of one cell."""
    width = len(_first(rows))
    if width < 2:
        return 0.0
    return sum(len(cells) == width for cells in rows) / len(rows)


def _without_sep_line(text: str) -> tuple[str, int]:
    """Skip the line ``sep=;`` that Excel understands; return the number of the next line."""
    first, _, rest = text.partition('\n')
    first = first.strip().lower()
    if first.startswith('sep=') and len(first) <= 5:
        return rest, 2
    return text, 1


def _read_cells(
    path: Path, text: str, delimiter: str, line: int, has_header: bool
) -> Iterator[Record]:
    before = line - 1
    reader = csv.reader(
        io.StringIO(text.rstrip('\r\n'), newline=''), delimiter=delimiter, strict=True
    )
    header: list[str] | None = None
    try:
        for cells in reader:
            where = f'{path}:{line}'
            line = before + reader.line_num + 1
            if header is None:
                header = _check_header(cells if has_header else [''] * len(cells), where)
                if has_header:
                    continue

            if len(cells) != len(header):
                raise AnnotationError(_wrong_width(cells, header, where, delimiter))
            else:
                yield dict(zip(header, cells, strict=True)), where
    except csv.Error as error:
        raise AnnotationError(f'{path}:{line}: expected a table, but {error}.') from error


def _check_header(cells: Sequence[str], where: str) -> list[str]:
    stripped = [cell.strip() for cell in cells]
    header = [cell or f'column {number}' for number, cell in enumerate(stripped, 1)]
    repeated = [name for name, count in Counter(header).items() if count > 1]
    if repeated:
        raise AnnotationError(
            f'{where}: expected each column once in the header, but got {repeated} again.'
        )
    return header


def _wrong_width(
    cells: Sequence[str],
    header: Sequence[str],
    where: str,
    delimiter: str,
) -> str:
    message = (
        f'{where}: expected {len(header)} columns ({", ".join(header)}), but got {len(cells)}.'
    )
    if len(cells) > len(header):
        message += (
            f' Cells are separated by {DELIMITERS.get(delimiter, repr(delimiter))}: put one that '
            f'belongs to a cell into quotes, or pass another --delimiter.'
        )
    return message


def _drop_empty_end(records: list[Record], notes: list[str]) -> list[Record]:
    """Remove the rows of empty cells that spreadsheets write at the end."""

    def is_empty(record: Record) -> bool:
        return not any(cell.strip() for cell in record[0].values())

    end = len(records)
    while end and is_empty(records[end - 1]):
        end -= 1
    if end < len(records):
        notes.append(f'{len(records) - end:,} empty rows at the end left out.')
    return records[:end]


def _read_jsonl(path: Path, text: str) -> Iterator[Record]:
    for number, line in enumerate(text.rstrip().split('\n'), 1):
        if not line.strip():
            raise AnnotationError(f'{path}:{number}: expected text, but the line is blank.')

        record = decode_json(line.strip(), str(path), number)
        if not isinstance(record, dict):
            raise AnnotationError(
                f'{path}:{number}: expected a JSON object, but got {line[:60]!r}.'
            )

        yield record, f'{path}:{number}'
