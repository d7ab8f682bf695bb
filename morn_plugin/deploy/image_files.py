"""Finds image files, and reads their bytes up to a limit."""

import os
import stat
import warnings
from collections.abc import Iterable, Iterator
from glob import glob, has_magic
from os import PathLike
from pathlib import Path
from typing import IO

from ..utils.checks import describe_missing
from .image_formats import FORMATS, SNIFFED, ImageError, find_format
from .urls import fetch

MAX_PIXELS = 100_000_000
BYTES_PER_PIXEL = 8  # at most: four channels of 16 bits, uncompressed
SUFFIXES = tuple(sorted({suffix for kind in FORMATS for suffix in kind.suffixes}))
# Formats that are not opened: drawings, documents, layers, and camera raw files, of which Pillow
# would read a thumbnail. A message says that they are left out.
OTHER_SUFFIXES = (
    *('.svg', '.eps', '.ps', '.pdf', '.emf', '.wmf', '.psd', '.xcf', '.fits', '.exr', '.hdr'),
    *('.arw', '.cr2', '.cr3', '.dng', '.nef', '.orf', '.raf', '.raw', '.rw2', '.jxl', '.heics'),
    *('.dds', '.icns', '.pcx', '.sgi', '.tga', '.xbm', '.xpm', '.cur'),
)


def list_images(inputs: Iterable[str | PathLike] | str | PathLike) -> list[str]:
    """Find the images of the inputs.

    Args:
        inputs: Files (kept unchanged, even if missing), folders (searched recursively for images:
            by the usual endings, other files by their content), glob patterns, including ``**``,
            and URLs (kept). One input or several.

    Returns:
        Paths, those of a folder or pattern in sorted order; each at most once.

    Raises:
        FileNotFoundError: If a folder has no images, or a pattern matches none.
        TypeError: If an input is not a path.
    """
    found: dict[str, None] = {}
    for item in [inputs] if isinstance(inputs, (str, PathLike)) else inputs:
        found.update(dict.fromkeys(find_files(item)))
    return list(found)


def describe(item: object) -> str:
    """Name the type of a wrong input.

    Examples:
        >>> describe(0.5), describe(b'GIF89a')
        ('a float', 'a bytes')
    """
    kind = type(item)
    name = kind.__name__ if kind.__module__ == 'builtins' else f'{kind.__module__}.{kind.__name__}'
    shape = getattr(item, 'shape', None)
    return f'a {name}' + (f' of shape {tuple(shape)}' if shape is not None else '')


def find_files(item: str | PathLike) -> list[str]:
    """Find the images of one path, see :func:`list_images`."""
    if not isinstance(item, (str, PathLike)):
        raise TypeError(
            'Expected the path or URL of an image, a folder or a pattern, but got '
            f'{describe(item)}.'
        )

    item = os.fsdecode(item)
    if '://' in item:
        return [item]
    if Path(item).is_dir():
        return list(walk_folder(item))

    if has_magic(item) and not Path(item).exists():
        files = sorted(path for path in glob(item, recursive=True) if Path(path).is_file())
        if not files:
            raise FileNotFoundError(f'No file matches the pattern {item}.')

        return files

    return [item]


def walk_folder(folder: str) -> Iterator[str]:
    """Yield the images of a folder in sorted order, and warn of pictures of other kinds.

    Directories are listed one after the other, as images are requested; memory holds only those on
    the path to the current one.

    Raises:
        FileNotFoundError: At the end, if there were no images.
    """
    found = False
    others = 0
    example = ''
    for path in _walk(str(Path(folder))):
        suffix = os.path.splitext(path)[1].lower()
        if suffix in OTHER_SUFFIXES:
            others = others + 1
            example = example or os.path.basename(path)
        elif suffix in SUFFIXES or _looks_like_image(path):
            found = True
            yield path.removeprefix(f'.{os.sep}')

    kinds = ', '.join(kind.name for kind in FORMATS)
    if others:
        warnings.warn(
            f'Folder {folder}: {others} pictures of other kinds are left out ({example}'
            f'{", ..." if others > 1 else ""}). Convert them to one of {kinds}.',
            stacklevel=4,
        )

    if not found:
        raise FileNotFoundError(f'Folder {folder} contains no image: expected files of {kinds}.')


def _walk(folder: str) -> Iterator[str]:
    """Yield the files of a folder and its subfolders, sorted by the parts of their paths."""
    try:
        names = sorted(os.listdir(folder))
    except PermissionError as error:
        warnings.warn(f'Folder {folder} is left out: {error.strerror}.', stacklevel=5)
        return

    for name in names:
        path = os.path.join(folder, name)
        if os.path.isdir(path):
            if not os.path.islink(path):  # a link may lead back up
                yield from _walk(path)
        elif os.path.isfile(path):
            yield path


def _looks_like_image(path: str) -> bool:
    try:
        with open(path, 'rb') as file:
            return find_format(file.read(SNIFFED)) is not None
    except OSError:
        return False


def read_file(path: str, max_pixels: int = MAX_PIXELS) -> bytes:
    """Read a file that may be an image: a regular file of plausible size.

    Args:
        path: The file.
        max_pixels: Refuse files that are larger than this many pixels can be.

    Raises:
        FileNotFoundError: If there is no such file.
        ImageError: If it is not a regular file, or too large.
    """
    try:
        status = os.stat(path)
    except PermissionError:
        raise
    except FileNotFoundError as error:
        raise FileNotFoundError(f'Image {describe_missing(path)}') from error
    except (OSError, ValueError) as error:  # a name too long, links in a circle, a NUL
        reason = getattr(error, 'strerror', None) or error
        raise FileNotFoundError(f'Image {path} does not exist: {reason}.') from error

    if stat.S_ISDIR(status.st_mode):
        raise FileNotFoundError(f'Image {path} does not exist: it is a folder.')
    if not stat.S_ISREG(status.st_mode):
        raise ImageError(f'Image {path} is no regular file, but a device, a pipe or a socket.')

    with open(path, 'rb') as file:
        return _read_bounded(file, path, max_pixels)


def fetch_url(url: str, max_pixels: int = MAX_PIXELS) -> bytes:
    """Fetch an ``http(s)`` URL given by the user.

    Raises:
        ImageError: If it cannot be fetched, or is larger than this many pixels can be.
    """
    limit = _max_bytes(max_pixels)
    return _check_bytes(fetch(url, limit + 1, is_own=True), url, max_pixels)


def fetch_listed(
    url: str,
    size: int = -1,
    allow_private: bool = False,
) -> bytes:
    """Fetch an ``http(s)`` URL from an untrusted list.

    Args:
        url: The URL.
        size: Maximum number of bytes; negative for the size of the largest image.
        allow_private: Whether it may lead to a non-public address.

    Raises:
        ImageError: If its address is not allowed, or it cannot be fetched.
    """
    limit = size if size >= 0 else _max_bytes(MAX_PIXELS)
    return fetch(url, limit, allow_private=allow_private)


def read_stream(
    file: IO[bytes],
    source: str,
    max_pixels: int = MAX_PIXELS,
) -> bytes:
    """Read an open binary file to its end.

    Raises:
        TypeError: If it returns text.
        ImageError: If it is larger than ``max_pixels`` pixels can be.
    """
    content = _read_bounded(file, source, max_pixels)
    if not isinstance(content, bytes):
        raise TypeError(f'Expected {source} to be opened for bytes ("rb"), but it returns text.')
    return content


def _read_bounded(
    file: IO[bytes],
    source: str,
    max_pixels: int,
) -> bytes:
    return _check_bytes(file.read(_max_bytes(max_pixels) + 1), source, max_pixels)


def _max_bytes(max_pixels: int) -> int:
    return max(BYTES_PER_PIXEL * max_pixels, 64_000_000)  # the latter for metadata


def _check_bytes(content: bytes, source: str, max_pixels: int) -> bytes:
    limit = _max_bytes(max_pixels)
    if len(content) > limit:
        raise ImageError(
            f'Image {source} has more than {limit} bytes, which no image of {max_pixels} pixels '
            'needs. Raise max_pixels if it is one.'
        )
    return content
