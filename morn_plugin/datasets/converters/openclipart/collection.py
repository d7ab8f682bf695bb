"""Lists the pictures of the collection, with their keywords."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from .errors import OpenClipartError, UnsafeSvgError
from .keywords import normalise
from .svg import read_svg

EXCLUDED_FOLDERS = {
    'shapes/stars': 'generated stars, all with one label set',
    'special': 'gradients and patterns',
    'unsorted': 'no usable keywords, and duplicates',
}


@dataclass(frozen=True)
class Picture:
    """One picture of the collection.

    Attributes:
        name: Relative path without suffix.
        file: The PNG.
        digest: SHA-256 of the PNG, hexadecimal.
        keywords: The keywords of its SVG, trimmed and in lower case.
    """

    name: str
    file: Path
    digest: str
    keywords: frozenset[str]


@dataclass
class Collected:
    """The pictures outside the excluded folders, with counts and problems.

    Attributes:
        pictures: The pictures, in order of their names.
        counts: Number of PNG files by the outcome for them and their SVGs.
        excluded: Number of PNG files in each excluded folder.
        problems: Relative paths by kind of problem.
    """

    pictures: list[Picture] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    excluded: Counter[str] = field(default_factory=Counter)
    problems: dict[str, list[str]] = field(default_factory=dict)


def find_collection(folder: Path) -> Path:
    """Find the folder that holds ``png/`` and ``svg/``.

    Args:
        folder: That folder itself, or the one with the unpacked packages.

    Raises:
        FileNotFoundError: If it holds neither.
    """
    for root in (folder, folder / 'usr' / 'share' / 'openclipart'):
        if (root / 'png').is_dir() and (root / 'svg').is_dir():
            return root
    raise FileNotFoundError(
        f'{folder}: expected the folders png/ and svg/ (or usr/share/openclipart/ with both in '
        'it). Both packages are needed, openclipart-png and openclipart-svg, unpacked into one '
        'folder.'
    )


def excluded_folder(name: str) -> str | None:
    """Return the excluded folder of a relative path, if any."""
    return next((folder for folder in EXCLUDED_FOLDERS if name.startswith(f'{folder}/')), None)


def list_pngs(root: Path) -> list[str]:
    """List the PNG files below ``root/png``: relative paths without suffix, sorted."""
    folder = root / 'png'
    return sorted(
        path.relative_to(folder).with_suffix('').as_posix()
        for path in folder.rglob('*.png')
        if path.is_symlink() or path.is_file()
    )


def collect(root: Path, names: Iterable[str]) -> Collected:
    """Read the keywords and hash the bytes of the pictures.

    Args:
        root: The folder that holds ``png/`` and ``svg/``.
        names: The result of :func:`list_pngs`.
    """
    result = Collected()
    for name in names:
        result.counts['png'] += 1
        folder = excluded_folder(name)
        if folder is not None:
            result.excluded[folder] += 1
            continue

        file = root / 'png' / f'{name}.png'
        if not file.is_file():
            result.problems.setdefault('dangling_link', []).append(name)
            continue

        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        result.pictures.append(
            Picture(name, file, digest, frozenset(_keywords_of(root, name, result)))
        )

    return result


def merge_copies(pictures: Iterable[Picture]) -> list[Picture]:
    """Merge pictures with the same bytes.

    A picture is often in several folders, mostly as a symbolic link, each time with some of its
    keywords. The first name is kept, with the keywords of all copies.
    """
    merged: dict[str, Picture] = {}
    for picture in pictures:
        first = merged.setdefault(picture.digest, picture)
        merged[picture.digest] = replace(first, keywords=first.keywords | picture.keywords)
    return list(merged.values())


def _keywords_of(
    root: Path,
    name: str,
    result: Collected,
) -> set[str]:
    """Read the keywords of one path, and count its kind of SVG."""
    candidates = (root / 'svg' / f'{name}{suffix}' for suffix in ('.svg', '.svgz', '.svg.gz'))
    path = next((path for path in candidates if path.is_file()), None)
    if path is None:
        result.problems.setdefault('svg_missing', []).append(name)
        return set()

    try:
        svg = read_svg(path)
    except OpenClipartError as error:
        kind = 'svg_unsafe' if isinstance(error, UnsafeSvgError) else 'svg_malformed'
        result.problems.setdefault(kind, []).append(name)
        return set()

    keywords = {normalise(keyword) for keyword in svg.keywords}
    result.counts['svg_gzipped'] += svg.gzipped
    result.counts['svg_with_entities'] += svg.num_entities > 0
    result.counts['svg_without_keywords'] += not keywords - {''}
    return keywords
