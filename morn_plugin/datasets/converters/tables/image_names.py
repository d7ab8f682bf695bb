"""Finds the image files of a table that spells their names differently."""

import os
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath

from morn_plugin.datasets.annotations import AnnotationError
from morn_plugin.deploy.images import SUFFIXES

from ..images import fold
from .exports import strip_address

WAYS = {
    'listed': 'paths below the image folder, as they are listed',
    'stem': 'paths below the image folder, without the ending of the file',
    'name': 'names of files anywhere below the image folder, whatever folder is listed',
}
UPLOAD_PREFIX = re.compile(r'^[0-9a-f]{8}-')  # Label Studio puts it before an uploaded file's name


class ImageIndex:
    """The files below a folder, by the names that a table may use for them.

    Args:
        root: The image folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def files(self) -> list[str]:
        """Relative paths of all image files, sorted."""
        found = []
        for folder, _, names in os.walk(self.root):
            for name in names:
                if Path(name).suffix.lower() in SUFFIXES:
                    found.append((Path(folder) / name).relative_to(self.root).as_posix())
        return sorted(found)

    @cached_property
    def _by_way(self) -> dict[str, dict[str, list[str]]]:
        index: dict[str, dict[str, list[str]]] = {'listed': {}, 'stem': {}, 'name': {}}
        for file in self.files:
            path = PurePosixPath(file)
            keys = {'listed': [file], 'stem': [str(path.with_suffix(''))]}
            keys['name'] = [path.name, path.stem]
            for way, texts in keys.items():
                for text in dict.fromkeys(map(fold, texts)):
                    index[way].setdefault(text, []).append(file)

        return index

    def candidates(self, text: str, way: str) -> list[str]:
        """Return the files that a listed text may mean."""
        path = PurePosixPath(strip_address(text.strip()).replace('\\', '/'))
        by_text = self._by_way[way]
        if way != 'name':
            found = by_text.get(fold(str(path)), [])
            return [str(path)] if str(path) in found else found

        found = by_text.get(fold(path.name), [])
        if not found and path.suffix.lower() in SUFFIXES:  # converted since to another format
            found = by_text.get(fold(path.stem), [])
        if not found and UPLOAD_PREFIX.match(path.name):
            return self.candidates(path.name[9:], way)

        return _closest(found, path)

    def find(
        self,
        text: str,
        where: str,
        way: str,
    ) -> str | None:
        """Return the file that a listed text means, or None if there is none.

        Raises:
            AnnotationError: If several files fit.
        """
        found = self.candidates(text, way)
        if len(found) > 1:
            raise AnnotationError(f'{where}: {text!r} could be any of {found[:5]} in {self.root}.')
        return found[0] if found else None

    def count(self, texts: Sequence[str], way: str) -> int:
        """Count the texts for which there is exactly one file."""
        return sum(len(self.candidates(text, way)) == 1 for text in texts)

    def choose_way(self, texts: Sequence[str]) -> str:
        """Choose how the texts name files: the way that finds the most, the strictest if tied."""
        counts = {way: self.count(texts, way) for way in WAYS}
        return max(WAYS, key=lambda way: counts[way])


def _closest(found: list[str], path: PurePosixPath) -> list[str]:
    """Keep the files that share the most folders with a listed path, counted from its end."""
    if len(found) < 2:
        return found
    wanted = [fold(part) for part in reversed(path.parent.parts)]
    shared = [_shared(wanted, PurePosixPath(file).parent.parts) for file in found]
    return [file for file, number in zip(found, shared, strict=True) if number == max(shared)]


def _shared(wanted: Sequence[str], parts: Sequence[str]) -> int:
    number = 0
    for first, second in zip(wanted, reversed(parts), strict=False):
        if first != fold(second):
            break
        number += 1
    return number
