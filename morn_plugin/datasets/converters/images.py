"""Finds the listed images on disk."""

import os
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from morn_plugin.datasets.annotations import AnnotationError

T = TypeVar('T')
R = TypeVar('R')


def parallel_map(
    function: Callable[[T], R],
    items: Sequence[T],
    desc: str,
    workers: int,
) -> list[R]:
    """Map in threads, in order, with a progress bar (on a terminal only)."""
    with ThreadPool(workers) as pool:
        results: Iterable[R] = pool.imap(function, items, chunksize=64)
        return list(tqdm(results, desc=desc, total=len(items), unit='image', disable=None))


def find_images(
    root: Path,
    listed: Sequence[tuple[str, str]],
    desc: str,
    workers: int = 8,
    follow_links: bool = False,
) -> list[str | None]:
    """Look up images below the root.

    A name may differ from the file name in upper and lower case, or in the composition of accents.
    An empty file, such as a broken download, does not count as an image.

    Args:
        root: The directory that the paths are relative to.
        listed: Relative path with forward slashes, and the file and line that list it.
        desc: Title of the progress bar.
        workers: Number of threads; most of their time is spent waiting for the disk.
        follow_links: Allow symbolic links to places outside the root.

    Returns:
        For each image its path as spelt on the disk, or None if there is no such file.

    Raises:
        AnnotationError: If a link leaves the root, or several files fit.
    """
    finder = _Finder(root, follow_links)
    return parallel_map(lambda pair: finder.find(*pair), listed, desc, workers)


class _Finder:
    def __init__(self, root: Path, follow_links: bool):
        self.root = root
        self.real_root = root.resolve()
        self.follow_links = follow_links
        # Each folder is listed once for all the images in it.
        self.resolve_folder = lru_cache(maxsize=None)(Path.resolve)
        self.spellings = lru_cache(maxsize=None)(_spellings)

    def find(self, img_path: str, where: str) -> str | None:
        found = img_path if _is_image(self.root / img_path) else self._other_case(img_path, where)
        if found is not None and not self.follow_links:
            self._check_inside(found, where)
        return found

    def _other_case(self, img_path: str, where: str) -> str | None:
        folder = self.root
        for part in Path(img_path).parts:
            names = self.spellings(folder).get(fold(part), [])
            if part in names:
                names = [part]
            if len(names) > 1:
                raise AnnotationError(f'{where}: {img_path!r} could be any of {names} in {folder}.')
            if not names:
                return None

            folder = folder / names[0]

        return folder.relative_to(self.root).as_posix() if _is_image(folder) else None

    def _check_inside(self, img_path: str, where: str) -> None:
        path = self.root / img_path
        real = path.resolve() if path.is_symlink() else self.resolve_folder(path.parent)
        if not real.is_relative_to(self.real_root):
            raise AnnotationError(
                f'{where}: {img_path!r} is a link to {real}, outside of {self.root}. '
                'Pass --follow-links if that is meant.'
            )


def _is_image(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _spellings(folder: Path) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    if folder.is_dir():
        for name in sorted(os.listdir(folder)):
            names.setdefault(fold(name), []).append(name)
    return names


def fold(name: str) -> str:
    r"""Unify spellings that differ in case, or in how accents are composed.

    macOS decomposes accents in file names; spreadsheets compose them.

    Examples:
        >>> fold('Cafe\u0301.JPG') == fold('caf\u00e9.jpg')
        True
    """
    return unicodedata.normalize('NFC', unicodedata.normalize('NFC', name).casefold())
