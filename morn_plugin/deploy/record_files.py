"""Files of records that grow while images are predicted: JSON lines, CSV and Parquet.

An interrupted run can be continued: the records are in the order of
the images, so the existing ones are the first. A record that was cut off while it was written is
noticed and written again.
"""

import csv
import io
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import IO, Any, NamedTuple

from ..utils.extras import require_extra
from ..utils.files import publish
from ..utils.safe_csv import safe_cell
from ..utils.strict_json import dump_json, parse_json

ESCAPE = 'backslashreplace'  # a file name need not be valid text
COLUMNS = ('img_path', 'names', 'scores', 'cnn_scores', 'path_names', 'error')
ROWS_A_GROUP = 500  # of Parquet; the number held in memory
ROWS_A_PART = 10_000  # a file of them


class Written(NamedTuple):
    """A record that is in a file.

    Attributes:
        img_path: The image, as the file has it; None for one in memory.
        failed: Whether it could not be read.
    """

    img_path: str | None
    failed: bool


class RecordFile(ABC):
    """A file of records, one for each image.

    Call :meth:`start`, or :meth:`go_on` once all of :meth:`records` has been looked at; then
    :meth:`write`, and :meth:`close` in the end.

    Args:
        path: The file.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        self.is_torn = False  # whether the last record is not whole

    @abstractmethod
    def records(self) -> Iterator[Any]:
        """Yield the whole records that are there, as the file has them.

        Raises:
            ValueError: If it is not such a file; names it.
        """

    @abstractmethod
    def describe(self, raw: Any) -> Written:
        """Return which image a record of :meth:`records` is of."""

    @abstractmethod
    def start(self) -> None:
        """Start again; what was there is removed."""

    @abstractmethod
    def go_on(self) -> None:
        """Keep the complete records, and append to them."""

    @abstractmethod
    def write(self, record: dict[str, Any]) -> None:
        """Write the record of an image."""

    @abstractmethod
    def copy(self, raw: Any) -> None:
        """Copy a record from another file of the same kind."""

    @abstractmethod
    def close(self) -> None:
        """End the file."""

    def shown_path(self, img_path: str | None) -> str | None:
        """Return what :meth:`describe` says of an image of this path."""
        return None if img_path is None else _as_text(img_path)

    def __enter__(self) -> 'RecordFile':
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def record_file(path: str | os.PathLike) -> RecordFile:
    """Return the file of the kind that a name ends in.

    Raises:
        ValueError: If there is no such kind.
        ImportError: If pyarrow is missing for Parquet; gives the pip command.
    """
    suffix = Path(path).suffix
    if suffix not in KINDS:
        raise ValueError(f'{path}: expected a name that ends in one of {", ".join(KINDS)}.')
    return KINDS[suffix](path)


def _as_text(name: str) -> str:
    r"""Write bytes of a file name that are not text as ``\udc..``."""
    return name.encode(errors=ESCAPE).decode()


class _TextRecords(RecordFile):
    """Records of a text file, with a line end behind each."""

    header = b''

    def __init__(self, path: str | os.PathLike) -> None:
        super().__init__(path)
        self._file: IO[bytes] | None = None
        self._end = 0  # of the whole records

    @abstractmethod
    def _encode(self, record: dict[str, Any]) -> bytes: ...

    @abstractmethod
    def _split(self, file: IO[bytes]) -> Iterator[bytes]:
        """Yield records with their line ends; the last one may be incomplete."""

    def records(self) -> Iterator[bytes]:
        """Yield the whole records with their line ends."""
        self._end = 0
        self.is_torn = False
        if not self.path.exists():
            return

        with open(self.path, 'rb') as file:
            start = file.read(len(self.header))
            if start != self.header:
                self.is_torn = self.header.startswith(start)
                if not self.is_torn:
                    raise ValueError(f'{self.path}: expected the columns {", ".join(COLUMNS)}.')

                return

            self._end = len(start)
            for raw, is_last in _mark_last(self._split(file)):
                if not self._is_whole(raw, is_last):
                    self.is_torn = True
                    return

                self._end += len(raw)
                yield raw

    def _is_whole(self, raw: bytes, is_last: bool) -> bool:
        try:
            self.describe(raw)
        except ValueError as error:
            if not is_last:
                raise ValueError(
                    f'{self.path}: the record at byte {self._end} is none: {error}'
                ) from error

            return False

        return raw.endswith(b'\n')

    def start(self) -> None:
        """Begin with the header."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self.path, 'wb')  # noqa: SIM115  closed by close
        self._file.write(self.header)

    def go_on(self) -> None:
        """Cut off an incomplete record."""
        if not self._end:
            self.start()
            return
        self._file = open(self.path, 'r+b')  # noqa: SIM115  closed by close
        self._file.truncate(self._end)
        self._file.seek(self._end)

    def write(self, record: dict[str, Any]) -> None:
        """Write a record and its line end."""
        self.copy(self._encode(record))

    def copy(self, raw: bytes) -> None:
        """Write a record of another file, its line end included."""
        assert self._file is not None
        self._file.write(raw)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


class JsonRecords(_TextRecords):
    """A JSON object a line."""

    def _encode(self, record: dict[str, Any]) -> bytes:
        return (dump_json(record) + '\n').encode(errors=ESCAPE)

    def _split(self, file: IO[bytes]) -> Iterator[bytes]:
        return iter(file)

    def describe(self, raw: bytes) -> Written:
        """Parse the line."""
        content = parse_json(raw.decode(), str(self.path), by_field=True)
        if not isinstance(content, dict) or 'img_path' not in content:
            raise ValueError('expected an object with `img_path`')
        name = content['img_path']
        return Written(None if name is None else _as_text(str(name)), 'error' in content)


class CsvRecords(_TextRecords):
    """A row an image; of several values in a cell ``;`` is between them."""

    header = (','.join(COLUMNS) + '\r\n').encode()

    def _encode(self, record: dict[str, Any]) -> bytes:
        row = io.StringIO()
        csv.writer(row).writerow([_cell(record.get(key)) for key in COLUMNS])
        return row.getvalue().encode(errors=ESCAPE)

    def _split(self, file: IO[bytes]) -> Iterator[bytes]:
        row = b''
        for line in file:
            row += line
            if row.count(b'"') % 2 == 0:  # otherwise a cell continues after the line end
                yield row
                row = b''
        if row:
            yield row

    def describe(self, raw: bytes) -> Written:
        """Parse the row."""
        rows = list(csv.reader(io.StringIO(raw.decode(), newline='')))
        if len(rows) != 1 or len(rows[0]) != len(COLUMNS):
            raise ValueError(f'expected a row of {len(COLUMNS)} cells')
        return Written(rows[0][0], bool(rows[0][-1]))

    def shown_path(self, img_path: str | None) -> str:
        """Return the cell of this path."""
        return _as_text(_cell(img_path))


def _cell(value: Any) -> str:
    """Return the text of a cell; none of its values can be a formula, even after splitting."""
    if value is None:
        return ''
    values = value if isinstance(value, list) else [value]
    return ';'.join(safe_cell(item) if isinstance(item, str) else str(item) for item in values)


class ParquetRecords(RecordFile):
    """A folder of Parquet files, which pandas, Polars, DuckDB, Spark and Ray read as one table.

    A Parquet file cannot grow: its table of contents comes last. So the records go into parts, each
    of which has its name only when it is whole.

    Args:
        path: The folder.
        rows: Records in a part.
    """

    def __init__(self, path: str | os.PathLike, rows: int = ROWS_A_PART) -> None:
        super().__init__(path)
        self.rows = rows
        self._arrow: Any = require_extra('pyarrow', 'parquet')
        self._parquet: Any = require_extra('pyarrow.parquet', 'parquet')
        self._schema = _arrow_schema(self._arrow)
        self._waiting: list[dict[str, Any]] = []
        self._writer: Any = None
        self._in_part = 0
        self._number = 0  # of the next part

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of all parts."""
        self._require_folder()
        for path in self._parts():
            try:
                with self._parquet.ParquetFile(path) as file:
                    for batch in file.iter_batches(ROWS_A_GROUP):
                        yield from batch.to_pylist()
            except (self._arrow.ArrowException, OSError) as error:
                raise ValueError(f'{path}: expected a Parquet file, but {error}.') from error

    def describe(self, raw: dict[str, Any]) -> Written:
        """Look at two of the columns."""
        if 'img_path' not in raw or 'error' not in raw:
            raise ValueError(f'{self.path}: expected the columns `img_path` and `error`.')
        return Written(raw['img_path'], raw['error'] is not None)

    def start(self) -> None:
        """Remove the parts."""
        self._require_folder()
        self.path.mkdir(parents=True, exist_ok=True)
        for path in self._parts():
            path.unlink()
        self.go_on()

    def go_on(self) -> None:
        """Begin a part behind those that are there."""
        self.path.mkdir(parents=True, exist_ok=True)
        parts = self._parts()
        expected = [self._part(number).name for number in range(len(parts))]
        if [path.name for path in parts] != expected:
            raise ValueError(
                f'{self.path}: expected the parts 0 to {len(parts) - 1}, but one of them is '
                'missing.'
            )

        self._number = len(parts)

    def write(self, record: dict[str, Any]) -> None:
        """Keep a record until its group is full."""
        self.copy({name: _plain(record.get(name)) for name in self._schema.names})

    def copy(self, raw: dict[str, Any]) -> None:
        """Keep a row until its group is full."""
        self._waiting.append(raw)
        self._in_part += 1
        if self._in_part == self.rows:
            self._end_part()
        elif len(self._waiting) == ROWS_A_GROUP:
            self._flush()

    def close(self) -> None:
        """End the last part, however few its rows."""
        if self._in_part:
            self._end_part()

    def _require_folder(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f'{self.path}: expected a folder of Parquet files, but it is a file.')

    def _flush(self) -> None:
        if self._writer is None:
            self._writer = self._parquet.ParquetWriter(self._temporary(), self._schema)
        table = self._arrow.Table.from_pylist(self._waiting, schema=self._schema)
        self._writer.write_table(table)
        self._waiting.clear()

    def _end_part(self) -> None:
        self._flush()
        self._writer.close()
        with open(self._temporary(), 'rb') as file:
            os.fsync(file.fileno())
        publish(self._temporary(), self._part(self._number))
        self._writer = None
        self._in_part = 0
        self._number += 1

    def _parts(self) -> list[Path]:
        return sorted(self.path.glob('part-*.parquet'))

    def _part(self, number: int) -> Path:
        return self.path / f'part-{number:06d}.parquet'

    def _temporary(self) -> Path:
        return self.path / f'_{self._part(self._number).name}.tmp'  # readers pass over _ names


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return _as_text(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _arrow_schema(arrow: Any) -> Any:
    """Return the columns of a record."""
    scores = arrow.list_(arrow.float32())
    labels = arrow.list_(arrow.int32())
    names = arrow.list_(arrow.string())
    columns = dict(
        img_path=arrow.string(),
        labels=labels,
        names=names,
        scores=scores,
        cnn_scores=scores,
        step_scores=arrow.list_(scores),
        path=labels,
        path_names=names,
        error=arrow.string(),
    )
    return arrow.schema(list(columns.items()))


def _mark_last(items: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Yield each item, and whether it is the last one."""
    rest = iter(items)
    item = next(rest, None)
    for following in chain(rest, [None]):
        if item is None:
            return
        yield item, following is None
        item = following


KINDS: dict[str, type[RecordFile]] = {
    '.jsonl': JsonRecords,
    '.csv': CsvRecords,
    '.parquet': ParquetRecords,
}
