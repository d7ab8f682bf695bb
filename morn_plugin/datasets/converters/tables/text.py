"""Reads the text of tables, and finds its encoding."""

import codecs
import re
from dataclasses import dataclass
from pathlib import Path

from morn_plugin.datasets.annotations import AnnotationError

BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: 'utf-8-sig',
    codecs.BOM_UTF32_LE: 'utf-32',  # before UTF-16: it starts with that mark
    codecs.BOM_UTF32_BE: 'utf-32',
    codecs.BOM_UTF16_LE: 'utf-16',
    codecs.BOM_UTF16_BE: 'utf-16',
}
WESTERN = 'cp1252'  # "CSV" of spreadsheets in Western Europe and America
NAMES = {
    'utf-8': 'UTF-8',
    'utf-8-sig': 'UTF-8 with a byte order mark',
    'utf-16': 'UTF-16',
    'utf-16-le': 'UTF-16',
    'utf-16-be': 'UTF-16',
    'utf-32': 'UTF-32',
    WESTERN: f'Western European text ({WESTERN})',
}
OTHERS = 'cp1250, cp1251, gb18030, big5, shift_jis, euc_kr'

# Western languages have single accented letters, or two as in "Größe"; in other scripts nearly all
# bytes are high.
HIGH_BYTES = re.compile(rb'[\x80-\xff]+')
TWO_LETTERS = re.compile(rb'[\x8a\x8c\x8e\x9a\x9c\x9e\xc0-\xff][\x9a\x9c\x9e\xdf-\xff]')
MAX_FOREIGN = 0.2

OTHER_FILES = {
    b'PK\x03\x04': 'an Excel or OpenDocument workbook, or another ZIP archive',
    b'\xd0\xcf\x11\xe0': 'an Excel workbook of before 2007',
    b'\x1f\x8b': 'gzipped',
    b'PAR1': 'a Parquet file',
    b'SQLite format 3': 'an SQLite database',
    b'%PDF': 'a PDF document',
    b'\x89PNG': 'a picture',
    b'\xff\xd8\xff': 'a picture',
}


def name_encoding(encoding: str) -> str:
    """Return the name of an encoding for people.

    Examples:
        >>> name_encoding('cp1252')
        'Western European text (cp1252)'
    """
    return NAMES.get(encoding, encoding)


@dataclass(frozen=True)
class Text:
    """The text of a file.

    Attributes:
        text: The whole text, without a byte order mark.
        encoding: Python's name of the encoding.
        guessed: Whether the encoding was guessed: it is not UTF-8, nor from the user or a mark.
    """

    text: str
    encoding: str
    guessed: bool = False


def read_table_text(
    path: Path,
    encoding: str | None = None,
    guess: bool = False,
) -> Text:
    """Read a text file.

    Args:
        path: The file.
        encoding: Its encoding. Defaults to None: from the byte order mark, or UTF-8.
        guess: Whether to read a file that is not UTF-8 as Western European text.

    Raises:
        FileNotFoundError: If there is no such file.
        AnnotationError: If it is not text or not in this encoding; names the line.
    """
    if not path.is_file():
        raise FileNotFoundError(f'{path} does not exist.')

    content = path.read_bytes()

    for start, kind in OTHER_FILES.items():
        if content.startswith(start):
            raise AnnotationError(
                f'{path}: expected a table as text, but it is {kind}. Save it as CSV (UTF-8).'
            )

    if encoding is not None:
        return Text(_decode(content, encoding, path), encoding)

    for mark, marked in BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            return Text(_decode(content, marked, path), marked)

    if b'\0' in content:
        return _decode_without_mark(content, path)

    try:
        return Text(content.decode('utf-8'), 'utf-8')
    except UnicodeDecodeError as error:
        if not guess:
            raise _wrong_encoding(content, error, 'UTF-8', path) from error

    if not _is_western(content):
        raise AnnotationError(
            f'{path}: expected UTF-8 text, or Western European, but it is neither. Save it as '
            f'UTF-8, or name its encoding with --encoding ({OTHERS}, ...).'
        )

    return Text(_decode(content, WESTERN, path), WESTERN, guessed=True)


def _decode_without_mark(content: bytes, path: Path) -> Text:
    """Decode UTF-16 without a mark: every second byte of a plain letter is zero."""
    high_bytes = {'utf-16-le': content[1::2], 'utf-16-be': content[0::2]}
    for encoding, zeros in high_bytes.items():
        if len(content) % 2 == 0 and zeros.count(0) > len(zeros) / 2:
            return Text(_decode(content, encoding, path), encoding, guessed=True)

    raise AnnotationError(f'{path}: expected a table as text, but it contains zero bytes.')


def _decode(content: bytes, encoding: str, path: Path) -> str:
    try:
        return content.decode(encoding).removeprefix('\ufeff')
    except LookupError as error:
        raise AnnotationError(
            f'{path}: expected an encoding that Python knows, but got --encoding {encoding}.'
        ) from error
    except UnicodeDecodeError as error:
        raise _wrong_encoding(content, error, encoding, path) from error


def _wrong_encoding(
    content: bytes, error: UnicodeDecodeError, encoding: str, path: Path
) -> AnnotationError:
    line = content.count(b'\n', 0, error.start) + 1
    return AnnotationError(
        f'{path}:{line}: expected {encoding} text, but byte {error.start} is not. Save the file as '
        f'UTF-8, or name its encoding with --encoding ({WESTERN} of Western Europe; {OTHERS}).'
    )


def _is_western(content: bytes) -> bool:
    """Return whether bytes above 127 are accented letters, at most two in a row."""
    try:
        content.decode(WESTERN)
    except UnicodeDecodeError:
        return False
    high = HIGH_BYTES.findall(content)
    foreign = [run for run in high if len(run) > 1 and not TWO_LETTERS.fullmatch(run)]
    return sum(map(len, foreign)) <= MAX_FOREIGN * sum(map(len, high))
