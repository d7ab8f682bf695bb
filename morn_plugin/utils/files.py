"""Writes files completely or not at all, and hashes them."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

PathLike = str | os.PathLike


@contextmanager
def atomic_write(path: PathLike) -> Iterator[IO[bytes]]:
    """Open a file for writing that appears under its name only when complete.

    The bytes go to a temporary neighbour, are flushed to disk and renamed. After an error the
    previous file is as it was and the neighbour is gone.
    """
    with atomic_path(path) as temporary, open(temporary, 'wb') as file:
        yield file

        file.flush()
        os.fsync(file.fileno())


@contextmanager
def atomic_path(path: PathLike) -> Iterator[Path]:
    """Yield a temporary neighbour that is renamed to ``path`` when the block ends.

    After an error the previous file is as it was and the neighbour is gone.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f'.{path.name}.', suffix='.tmp', dir=path.parent)
    os.close(handle)
    temporary = Path(name)

    try:
        yield temporary
        publish(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def publish(temporary: Path, path: PathLike) -> None:
    """Rename a finished temporary file, and give it the user's usual permissions."""
    os.chmod(temporary, 0o666 & ~_umask())
    os.replace(temporary, path)


def sha256(path: PathLike) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
