"""Streams of images from folders, lists, tar files and URLs, of any length.

Memory holds only the current image, not the names of the others.
"""

import codecs
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO

from .image_files import SUFFIXES, fetch_listed, find_files, walk_folder
from .image_formats import ImageError
from .shards import Shard
from .sources import LazyImage
from .urls import is_web_url

MAX_LINE = 10_000  # bytes; no file system takes longer paths
MAX_HEADER = 1_000_000  # bytes, of a name or of a member's attributes in a tar file
MAX_FOLDERS = 1000  # of a list that are remembered
MAX_ATTRIBUTES = 1000  # that hold for all members of a tar file


@dataclass(frozen=True)
class ListedUrl(LazyImage):
    """A URL from a list.

    Attributes:
        name: The URL.
        allow_private: Whether it may lead to a non-public address.
    """

    name: str
    allow_private: bool = False

    def read(self, size: int = -1) -> bytes:
        """Fetch it."""
        return fetch_listed(self.name, size, self.allow_private)


@dataclass(frozen=True)
class TarMember(LazyImage):
    """An image in an uncompressed tar file: a part of the file.

    Attributes:
        name: Path of the tar file, and the member's name in it.
        archive: The tar file.
        start: Where the image's bytes begin.
        length: Number of bytes.
    """

    name: str
    archive: str
    start: int
    length: int

    def read(self, size: int = -1) -> bytes:
        """Read this part of the tar file."""
        wanted = self.length if size < 0 else min(size, self.length)
        with open(self.archive, 'rb') as file:
            file.seek(self.start)
            content = file.read(wanted)

        if len(content) < wanted:
            raise ImageError(
                f'Image {self.name} is cut off: expected {self.length} bytes, but {self.archive} '
                f'ends after {len(content)} of them.'
            )

        return content


@dataclass(frozen=True)
class BrokenImage(LazyImage):
    """An image that cannot be read; only its record is affected.

    Attributes:
        name: The given name.
        reason: Why it cannot be read.
    """

    name: str
    reason: str

    def read(self, size: int = -1) -> bytes:
        """Raise the reason."""
        raise ImageError(f'Image {self.name} {self.reason}.')


class ImageStream:
    """Images of all kinds of inputs, in the same order on every machine.

    Iterating again starts from the beginning.

    Args:
        inputs: Files, folders, patterns and URLs as
            :func:`~morn_plugin.deploy.image_files.list_images` takes them; and tar files (.tar, not
            compressed) in webdataset's layout, where every member with an image ending is an image.
            An image named by two inputs is yielded once.
        lists: Text files with one path or URL per line; paths are relative to the folder of the
            list.
        shard: The requested shard. Defaults to all.
        trust_lists: Whether the lists may name files outside their folders.
        allow_private: Whether URLs in lists may lead to non-public addresses.

    Attributes:
        expand: Lists the images of a URL with a scheme other than ``http(s)``, such as a remote
            folder.

    Raises:
        FileNotFoundError: If there is no such list or tar file.
        ValueError: If a list has forbidden entries; names the first lines.
    """

    def __init__(
        self,
        inputs: Iterable[str | os.PathLike] = (),
        lists: Iterable[str | os.PathLike] = (),
        shard: Shard | None = None,
        trust_lists: bool = False,
        allow_private: bool = False,
    ) -> None:
        self.inputs = [os.fsdecode(item) for item in inputs]
        self.lists = [os.fsdecode(item) for item in lists]
        self.shard = shard or Shard()
        self.trust_lists = trust_lists
        self.allow_private = allow_private
        self.expand: Callable[[str], Iterable[str]] = lambda url: [url]
        self._listed = sum(check_list(path, trust_lists) for path in self.lists)

    def __iter__(self) -> Iterator[str | LazyImage]:
        """Yield the images of the shard: paths and URLs as text, others as lazy images."""
        return self.shard.take(self._all())

    def count(self) -> int | None:
        """Return the number of images of the shard, or None if they must all be read.

        Raises:
            FileNotFoundError: If a folder has no images, or a pattern matches none.
        """
        number = self._listed
        for source in self._of_inputs():
            if is_archive(source) or _is_remote(source):
                return None
            number += 1
        return self.shard.count(number)

    def _all(self) -> Iterator[str | LazyImage]:
        for source in self._of_inputs():
            if is_archive(source):
                yield from read_tar(source)
            elif _is_remote(source):
                yield from self.expand(source)
            else:
                yield source

        for path in self.lists:
            yield from self._of_list(path)

    def _of_inputs(self) -> Iterator[str]:
        """Yield the images of the inputs, each once."""
        files: set[str] = set()
        folders: list[str] = []
        for item in self.inputs:
            is_folder = '://' not in item and os.path.isdir(item)
            for path in walk_folder(item) if is_folder else find_files(item):
                if path in files or any(_is_inside(path, folder) for folder in folders):
                    continue
                if not is_folder:  # as many as on the command line, or as a pattern matches
                    files.add(path)
                yield path

            if is_folder:
                folders.append(str(Path(item)))

    def _of_list(self, path: str) -> Iterator[str | LazyImage]:
        folder = os.path.dirname(path)
        guard = _Guard(folder or os.curdir)
        for line in _read_lines(path):
            if is_web_url(line):
                yield ListedUrl(line, self.allow_private)
                continue

            image = os.path.join(folder, line)
            if self.trust_lists or guard.is_inside(image):
                yield image
            else:
                yield BrokenImage(image, 'is a link that leads out of the folder of its list')


def _is_remote(source: str) -> bool:
    return '://' in source and not is_web_url(source)


def check_list(path: str, trust: bool = False) -> int:
    """Check the entries of a list before any of them is read.

    Args:
        path: The list.
        trust: Whether it may name files outside its folder.

    Returns:
        The number of images.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is empty or has forbidden entries; names the first such lines.
    """
    number, wrong = 0, 0
    examples: list[str] = []
    for line in _read_lines(path):
        number += 1
        problem = _find_problem(line, trust)
        if problem:
            wrong += 1
            examples += [f'\n- {line[:200]!r} {problem}'] if len(examples) < 5 else []

    if not number:
        raise ValueError(f'{path}: expected a path or URL per line, but it has none.')
    if wrong:
        raise ValueError(
            f'{path}: {wrong} of {number} images are refused, such as:{"".join(examples)}'
        )

    return number


def _find_problem(line: str, trust: bool) -> str | None:
    if '\0' in line:
        return 'has a zero byte'
    if is_web_url(line):
        return None
    if '://' in line:
        return 'is a URL whose scheme is not http or https'
    if not trust and (os.path.isabs(line) or '..' in line.split('/')):
        return (
            'lies outside of the folder of the list: allow it (--trust-lists) if the list is '
            'your own'
        )

    return None


def _read_lines(path: str) -> Iterator[str]:
    """Yield the lines of a list that are not empty, decoded as file names are."""
    if not os.path.isfile(path):
        raise FileNotFoundError(f'List {path} does not exist, or is no regular file.')

    with open(path, 'rb') as file:
        while raw := file.readline(MAX_LINE + 1):
            if len(raw) > MAX_LINE:
                raise ValueError(
                    f'{path}: expected lines of at most {MAX_LINE} bytes, but one begins with '
                    f'{raw[:40]!r}.'
                )

            line = os.fsdecode(raw.removeprefix(codecs.BOM_UTF8).rstrip(b'\r\n'))
            if line.strip():
                yield line


def _is_inside(path: str, folder: str) -> bool:
    if folder == os.curdir:
        return not os.path.isabs(path) and not path.startswith(os.pardir)
    return path.startswith(folder.rstrip(os.sep) + os.sep)


class _Guard:
    """Tells which files are inside a folder after following links; each subfolder is resolved once.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: str) -> None:
        self._folder = os.path.realpath(folder)
        self._is_folder_inside = lru_cache(MAX_FOLDERS)(self._look)

    def is_inside(self, path: str) -> bool:
        """Return whether a file is inside."""
        if os.path.islink(path):
            return _is_inside(os.path.realpath(path), self._folder)
        return self._is_folder_inside(os.path.dirname(path))

    def _look(self, folder: str) -> bool:
        found = os.path.realpath(folder or os.curdir)
        return found == self._folder or _is_inside(found, self._folder)


def is_archive(source: str) -> bool:
    """Return whether a path is a tar file, by its ending.

    Raises:
        ValueError: If it is a compressed one.
    """
    name = source.lower()
    if name.endswith(('.tar.gz', '.tgz', '.tar.bz2', '.tar.xz', '.tar.zst')):
        raise ValueError(
            f'{source}: expected a tar file that is not compressed, whose images can be read one '
            'by one: unpack it to a .tar first; images are compressed already.'
        )
    return name.endswith('.tar') and '://' not in source


def read_tar(path: str) -> Iterator[LazyImage]:
    """Yield the images of a tar file: the members with image endings.

    Members are not unpacked, so nothing is written. A member with an image ending that is not a
    regular file, or damage to the archive, becomes an image that cannot be read.
    """
    if not os.path.isfile(path):
        yield BrokenImage(path, 'does not exist, or is no regular file')
        return

    try:
        with open(path, 'rb') as file:
            archive = tarfile.open(fileobj=_HeaderReader(file), mode='r:')  # type: ignore[call-overload]  # noqa: SIM115
            while member := archive.next():
                archive.members.clear()  # which tarfile would keep in memory
                if len(archive.pax_headers) > MAX_ATTRIBUTES:
                    raise tarfile.ReadError(f'it has more than {MAX_ATTRIBUTES} attributes')
                if member.name.lower().endswith(SUFFIXES):
                    yield _as_image(member, path)

            _check_end(file, archive.offset)
    except Exception as error:  # damaged archives raise many kinds
        reason = str(error).rstrip('.') or type(error).__name__
        yield BrokenImage(path, f'cannot be read further as a tar file: {reason}')


def _as_image(member: tarfile.TarInfo, path: str) -> LazyImage:
    name = f'{path}/{member.name}'
    if os.path.isabs(member.name) or '..' in member.name.split('/'):
        return BrokenImage(name, 'has a name that leads out of its tar file')
    if not member.isreg() or member.issparse():
        return BrokenImage(name, 'is a link or a device in its tar file, not a regular file')
    return TarMember(name, path, member.offset_data, member.size)


def _check_end(file: IO[bytes], offset: int) -> None:
    """Raise unless the archive ends here: tarfile treats a damaged header as the end."""
    file.seek(offset)
    if file.read(tarfile.BLOCKSIZE).strip(b'\0'):
        raise tarfile.ReadError(f'the header at byte {offset} is damaged')


class _HeaderReader:
    """A file that lets tarfile read only headers, each of limited size."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek = file.seek
        self.tell = file.tell

    def read(self, size: int) -> bytes:
        if size > MAX_HEADER:
            raise tarfile.ReadError(f'a header has {size} bytes: expected at most {MAX_HEADER}')
        return self._file.read(size)
