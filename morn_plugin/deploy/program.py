"""The metadata of a ``torch.export`` program (.pt2), read without loading the program.

Loading a program evaluates expressions in it, so a stranger's .pt2 is code. Its metadata is a text
in an archive.
"""

import os
import zipfile
from typing import Any

from ..utils.schemas import ExportMetadata, check_schema
from ..utils.strict_json import parse_json

METADATA = 'morn_plugin.json'
MAX_BYTES = 64_000_000


def read_program_metadata(path: str | os.PathLike) -> dict[str, Any]:
    """Read the metadata that ``tools/export.py`` wrote, without loading the program.

    Returns:
        ``classes``, ``preprocessing``, ``thr`` and ``topk``, see
        :func:`morn_plugin.apis.exporting.describe_model`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a program with valid metadata; names file and field.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            content = _read_metadata(archive, str(path))
    except FileNotFoundError:
        raise
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, EOFError) as error:
        raise ValueError(f'{path}: expected a torch.export program, but {error}.') from error

    where = f'{path}: {METADATA}'
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f'{where}: expected JSON, but byte {error.start} is not UTF-8.') from error

    return check_schema(ExportMetadata, parse_json(text, where), where).model_dump()


def _read_metadata(archive: zipfile.ZipFile, source: str) -> bytes:
    records = [item for item in archive.infolist() if item.filename.endswith(f'/extra/{METADATA}')]
    if len(records) != 1:
        raise ValueError(
            f'{source}: expected a torch.export program with one {METADATA}, as tools/export.py '
            f'writes, but it has {len(records)}.'
        )

    (record,) = records
    if record.file_size > MAX_BYTES or record.compress_type != zipfile.ZIP_STORED:
        raise ValueError(
            f'{source}: expected {METADATA} of at most {MAX_BYTES:,} bytes, not compressed, but it '
            f'has {record.file_size:,}.'
        )

    return archive.read(record)
