"""Checkpoint files: written completely or not at all, and verified before use.

Finds them again after a crash.

torch.save writes a zip archive with a CRC-32 of every record. torch.load ignores the CRCs; this
module checks them.
"""

import os
import os.path as osp
import pickle
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from mmengine.dist import barrier, is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.runner.checkpoint import CheckpointLoader

from ..utils.checks import describe_missing
from ..utils.files import atomic_write
from .pickle_scan import find_unbounded

LAST_CHECKPOINT = 'last_checkpoint'
# In torch's format from before 1.6: magic number, protocol, system, content, names of storages.
LEGACY_PICKLES = 5
LONGEST_NAME = 4096


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be read, or must not be; the message names file and reason."""


@register_backend('atomic')
class AtomicLocalBackend(LocalBackend):
    """MMEngine's backend for local files, with atomic writes.

    A file appears under its name only when it is complete and on disk.

    Switch it on with ``backend_args=dict(backend='atomic')``; :class:`ResumableCheckpointHook`
    does.
    """

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes to a file.

        Raises:
            OSError: If they cannot be written, for example because the disk is full; the old file
                is kept.
        """
        try:
            with atomic_write(filepath) as file:
                file.write(obj)
        except OSError as error:
            before = (
                'the one before under this name is'
                if osp.exists(filepath)
                else 'the checkpoints before are'
            )
            raise OSError(
                error.errno,
                f'{error.strerror}: {filepath} ({len(obj)} bytes) could not be written; '
                f'{before} intact',
            ) from error

    def put_text(
        self,
        obj: str,
        filepath: str | Path,
        encoding: str = 'utf-8',
    ) -> None:
        """Write text to a file, as :meth:`put` does."""
        self.put(obj.encode(encoding), filepath)


def load_checkpoint(path: str | os.PathLike, map_location: Any = 'cpu') -> Any:
    """Verify and load a checkpoint.

    Only tensors, plain containers and types on the allow-list are loaded.

    Args:
        path: A local file.
        map_location: As of ``torch.load``.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If it is damaged, or holds what is not allowed.
    """
    path = osp.expanduser(path)
    if not osp.isfile(path):
        raise FileNotFoundError(f'Checkpoint {describe_missing(path)}')

    reason = find_damage(path)
    if reason:
        raise CheckpointError(f'Checkpoint {path} is damaged: {reason}.')

    reason = find_unbounded_content(path)
    if reason:
        raise CheckpointError(f'Checkpoint {path} is refused: {reason}.')

    try:
        return torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f'Checkpoint {path} is refused: {_first_reason(error)} It may be crafted to run code '
            'when it is loaded; nothing of it was run.'
        ) from error
    except Exception as error:  # damaged or crafted files make torch raise many types of errors
        raise CheckpointError(
            f'Checkpoint {path} cannot be loaded: {type(error).__name__}: {_first_reason(error)}'
        ) from error


def find_damage(path: str | os.PathLike) -> str | None:
    """Look for damage without loading: the CRC-32 of every record must be correct.

    Files in torch's format from before 1.6 have no checksum; only their beginning is checked.

    Returns:
        The problem, or None.
    """
    try:
        with open(path, 'rb') as file:
            start = file.read(4)
    except OSError as error:
        return f'it cannot be read ({error.strerror})'

    if not start:
        return 'it has 0 bytes'
    if start[:1] == b'\x80':  # a pickle: the older format
        return None
    if start != b'PK\x03\x04':
        return f'it begins with the bytes {start.hex(" ")}, which no checkpoint does'

    try:
        with zipfile.ZipFile(path) as archive:
            return _find_archive_damage(archive, osp.getsize(path))
    except (
        zipfile.BadZipFile,
        zipfile.LargeZipFile,
        EOFError,
        OSError,
        RuntimeError,
        NotImplementedError,
        ValueError,
        UnicodeDecodeError,
    ) as error:
        return f'it is not a whole archive ({error})'


def find_unbounded_content(path: str | os.PathLike) -> str | None:
    """Look for content whose loading takes more time or memory than the file's size justifies.

    Args:
        path: A file in which :func:`find_damage` found none.

    Returns:
        The problem, or None.
    """
    with open(path, 'rb') as file:
        if file.read(1) == b'\x80':
            file.seek(0)
            return find_unbounded(file, LEGACY_PICKLES)
    with zipfile.ZipFile(path) as archive:
        folder = PurePosixPath(archive.namelist()[0]).parts[0]
        with archive.open(f'{folder}/data.pkl') as stream:
            return find_unbounded(stream)


def _find_archive_damage(archive: zipfile.ZipFile, file_size: int) -> str | None:
    if archive.comment:
        return 'it has a comment, which torch.save never writes'

    records = archive.infolist()
    if sum(record.file_size for record in records) > file_size:
        return 'its records overlap'

    names: set[str] = set()
    for record in records:
        parts = PurePosixPath(record.filename).parts
        if (
            record.filename.startswith('/')
            or '..' in parts
            or '\\' in record.filename
            or len(parts) < 2
        ):
            return (
                f'its record {record.filename!r} is not inside the one folder that torch.save makes'
            )
        if record.compress_type != zipfile.ZIP_STORED or record.file_size != record.compress_size:
            return f'its record {record.filename!r} is compressed, which torch.save never does'

        name = record.filename.lower()  # as torch does
        if name in names:
            return f'its record {record.filename!r} is there twice'

        names.add(name)

    folders = sorted({record.filename.partition('/')[0] for record in records})
    if len(folders) > 1:
        return f'it has the folders {folders[:3]}, where torch.save makes one'
    if not folders or f'{folders[0]}/data.pkl' not in archive.namelist():
        return 'it has no record data.pkl'

    wrong = archive.testzip()
    return wrong and f'the checksum of its record {wrong!r} is wrong'


def _first_reason(error: BaseException) -> str:
    """Return the reason given by torch's unpickler, without the advice to disable it."""
    while isinstance(error, pickle.UnpicklingError) and error.__context__ is not None:
        error = error.__context__
    lines = str(error).strip().split('\n')
    return (
        re.split(' was not an allowed global|, please check| Please use', lines[0])[0].rstrip('. ')
        + '.'
    )


def find_resumable(
    folder: str, filename_tmpl: str = 'epoch_{}.pth'
) -> tuple[str | None, list[str]]:
    """Find the newest intact checkpoint of a run.

    The file ``last_checkpoint`` names the newest. If it is damaged or missing, older ones in the
    folder are tried; without that file, the highest number comes first. Files outside the folder
    are never used, so a copied folder does not refer to the original.

    Args:
        folder: The run's ``work_dir``, or wherever its checkpoints are.
        filename_tmpl: Name pattern of checkpoints, with a number for ``{}``.

    Returns:
        The checkpoint's path, or None; and what was skipped, with reasons.
    """
    skipped: list[str] = []
    for name in _candidates(folder, filename_tmpl, skipped):
        path = osp.join(folder, name)
        reason = find_damage(path) or find_unbounded_content(path)
        if reason is None:
            try:  # an intact archive may still have no training state, or a crafted one
                if 'optimizer' in torch.load(path, map_location='meta', weights_only=True):
                    return path, skipped
                reason = 'it has no optimizer state, so training cannot continue from it'
            except Exception as error:
                reason = _first_reason(error)

        skipped.append(f'{path}: {reason}')

    return None, skipped


def _candidates(
    folder: str,
    filename_tmpl: str,
    skipped: list[str],
) -> Iterator[str]:
    before, after = map(re.escape, filename_tmpl.split('{}'))
    numbers = {}
    for name in os.listdir(folder) if osp.isdir(folder) else ():
        found = re.fullmatch(f'{before}(\\d+){after}', name)
        if found:
            numbers[name] = int(found.group(1))

    named = _read_last_checkpoint(folder, skipped)
    if named is not None:
        yield named
        # Files with higher numbers belong to another run: the last one of this run is named.
        numbers = {
            name: number for name, number in numbers.items() if number < numbers.get(named, 1 << 62)
        }

    yield from sorted(numbers, key=lambda name: -numbers[name])


def _read_last_checkpoint(folder: str, skipped: list[str]) -> str | None:
    pointer = osp.join(folder, LAST_CHECKPOINT)
    if not osp.isfile(pointer):
        return None

    with open(pointer, encoding='utf-8', errors='replace') as file:
        text = file.read(LONGEST_NAME).strip()
    name = osp.basename(text.replace('\\', '/'))
    if not name or '\0' in name or not osp.isfile(osp.join(folder, name)):
        skipped.append(f'{pointer}: it names {text[:200]!r}, which is not in this folder')
        return None

    return name


def remove_unfinished(folder: str) -> None:
    """Remove the unfinished checkpoints of a killed process, which have temporary names."""
    for path in Path(folder).glob('.*.pth.*.tmp'):
        path.unlink(missing_ok=True)


@CheckpointLoader.register_scheme(prefixes='', force=True)
def load_from_local(filename: str, map_location: Any = None) -> Any:
    """Load a local checkpoint for MMEngine, instead of its own loader.

    The file is verified, and errors name it.
    """
    return _without_code(load_checkpoint(filename, map_location))


@CheckpointLoader.register_scheme(prefixes=('http://', 'https://'), force=True)
def load_from_http(
    filename: str,
    map_location: Any = None,
    model_dir: str | None = None,
) -> Any:
    """Download a checkpoint once and load it as a local one.

    MMEngine's own loader would unpickle anything.
    """
    folder = model_dir or osp.join(torch.hub.get_dir(), 'checkpoints')
    path = osp.join(folder, osp.basename(filename.split('?')[0]))
    if is_main_process() and not osp.isfile(path):
        os.makedirs(folder, exist_ok=True)
        torch.hub.download_url_to_file(filename, path)
    barrier()
    return _without_code(load_checkpoint(path, map_location))


def _without_code(checkpoint: Any) -> Any:
    """Remove ``meta.config``, which MMEngine would run as a Python file when it resumes.

    It would read a number of GPUs that versions before 0.1 wrote there.
    """
    meta = checkpoint.get('meta') if isinstance(checkpoint, dict) else None
    if isinstance(meta, dict):
        meta.pop('config', None)
    return checkpoint
