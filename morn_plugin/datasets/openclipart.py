"""Open Clip Art Library: from unpacked Debian packages to cleaned pictures.

What ``tools/dataset_converters/openclipart.py`` knows about the collection,
apart from command line and files written: keywords of an SVG, which of them
are labels, and how a render becomes a picture.

Everything is a function of the content alone, so that every machine gets the
same data set: files are taken in the order of their names, the split hashes
the content, and the perceptual hash is exact arithmetic on the decoded pixels,
which no library's way of shrinking or rounding has a part in.
"""

import gzip
import hashlib
import struct
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from xml.parsers import expat

from PIL import Image

EXCLUDED_FOLDERS = {
    'shapes/stars': 'generated stars, all with one label set',
    'special': 'gradients and patterns',
    'unsorted': 'no usable keywords, and duplicates',
}

STOP_KEYWORDS = {
    '': 'an empty `rdf:li`',
    'hash': 'left behind by an old export on every fourth picture',
    'unsorted': 'a folder, not a content',
    'special': 'a folder, not a content',
    'architetto francesco rollandin': 'an author',
}

ALIASES = {
    # Spelling twins only (plural, hyphen, missing underscore): pairs of keywords that differ in
    # nothing else and are on at least 15 pictures together. Words of like meaning (transport,
    # transportation) stay apart.
    'animals': 'animal',
    'arrows': 'arrow',
    'books': 'book',
    'buildings': 'building',
    'buttons': 'button',
    'clouds': 'cloud',
    'containers': 'container',
    'decorations': 'decoration',
    'desserts': 'dessert',
    'flags': 'flag',
    'flowers': 'flower',
    'fruits': 'fruit',
    'games': 'game',
    'holidays': 'holiday',
    'houses': 'house',
    'icons': 'icon',
    'latinamerica': 'latin_america',
    'logos': 'logo',
    'mammals': 'mammal',
    'maps': 'map',
    'mime-types': 'mimetypes',
    'networks': 'network',
    'northamerica': 'north_america',
    'plants': 'plant',
    'shapes': 'shape',
    'signs': 'sign',
    'southamerica': 'south_america',
    'sport': 'sports',
    'state': 'states',
    'symbols': 'symbol',
    'tools': 'tool',
    'toys': 'toy',
    'trees': 'tree',
    'vegetables': 'vegetable',
    'vehicles': 'vehicle',
    'weapons': 'weapon',
}

# Things that one can see, with many that entail each other (mammal and animal, sailing and boat and
# transport).
MINI_CLASSES = (
    'africa',
    'america',
    'animal',
    'asia',
    'beverage',
    'bird',
    'boat',
    'building',
    'clothing',
    'dessert',
    'equipment',
    'europe',
    'fish',
    'flag',
    'flower',
    'food',
    'fruit',
    'geography',
    'holiday',
    'house',
    'insect',
    'mammal',
    'map',
    'menu',
    'music',
    'north_america',
    'people',
    'plant',
    'recreation',
    'sailing',
    'sign',
    'signalflag',
    'sports',
    'stickmen',
    'tool',
    'transport',
    'transportation',
    'tree',
    'united_nations_member',
    'vehicle',
    'work',
)

MAX_PIXELS = 89_478_485  # where Pillow starts to warn of a decompression bomb: 1 GiB / 4 / 3 bytes
MIN_SIDE = 8  # a few flags are rendered at 6 x 3 pixels
MAX_SVG_BYTES = 64 * 2**20  # 38 times the largest SVG of the collection
MAX_ENTITY_CHARS = 256  # real ones hold a namespace URL of at most 47
TRAIN_SHARE = 0.7
# Large groups make the draw lumpy. Of all pairs of draws 0-299 that leave every label in every part
# of the full set and of the slice, this one leaves them closest to their expected shares; label
# counts alone decided.
TRAIN_DRAW = 'train284'
VAL_DRAW = 'val295'
VAL_SHARE = 0.15  # of the training side

PNG_MODES = ('1', 'L', 'LA', 'P', 'PA', 'RGB', 'RGBA')
_RDF_ITEM = 'http://www.w3.org/1999/02/22-rdf-syntax-ns# li'
_DC_SUBJECT = 'http://purl.org/dc/elements/1.1/ subject'


class OpenClipartError(ValueError):
    """A file of the collection that cannot be used; the message names it."""


class MalformedSvgError(OpenClipartError):
    """An SVG that is not well-formed XML."""


class UnsafeSvgError(OpenClipartError):
    """An SVG that asks for more than a picture's source has any need for."""


class TooManyPixelsError(OpenClipartError):
    """A PNG that would need too much memory to decode."""


class TooSmallError(OpenClipartError):
    """A PNG of too few pixels to show anything."""


class BrokenPictureError(OpenClipartError):
    """A PNG that cannot be decoded."""


class BlankPictureError(OpenClipartError):
    """A PNG that shows a single colour once it lies on white."""


@dataclass(frozen=True)
class Svg:
    """What the converter needs of an SVG.

    Attributes:
        keywords: The ``dc:subject`` bag as it stands, in order.
        gzipped: Whether the file was compressed.
        num_entities: How many internal entities its DTD declares.
    """

    keywords: tuple[str, ...]
    gzipped: bool
    num_entities: int


@dataclass(frozen=True)
class Picture:
    """One picture of the collection.

    Attributes:
        name: Relative path without suffix.
        file: The PNG.
        digest: SHA-256 of the PNG, hexadecimal.
        keywords: Those of its SVG, trimmed and in lower case.
    """

    name: str
    file: Path
    digest: str
    keywords: frozenset[str]


@dataclass
class Collected:
    """The pictures outside of the excluded folders, and what was met on the way.

    Attributes:
        pictures: In order of their names.
        counts: Number of PNG files by what became of them and their SVGs.
        excluded: Number of PNG files in each folder that is left out.
        problems: Relative paths by kind of problem.
    """

    pictures: list[Picture] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    excluded: Counter[str] = field(default_factory=Counter)
    problems: dict[str, list[str]] = field(default_factory=dict)


def read_svg(path: Path) -> Svg:
    """Read the keywords of an SVG, plain or gzipped.

    Nothing outside of the file is fetched. Internal entities are allowed as
    far as drawing programs use them, for a short text without any further
    entity, so that they cannot blow up.

    Raises:
        MalformedSvgError: If it is not well-formed, or not gzip after all.
        UnsafeSvgError: If it is huge or declares any other entity.
    """
    with path.open('rb') as file:
        gzipped = file.read(2) == b'\x1f\x8b'
    try:
        with gzip.open(path) if gzipped else path.open('rb') as file:
            text = file.read(MAX_SVG_BYTES + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise MalformedSvgError(f'{path}: expected a gzipped SVG, but {error}.') from error
    if len(text) > MAX_SVG_BYTES:
        raise UnsafeSvgError(
            f'{path}: expected at most {MAX_SVG_BYTES} bytes of XML, but got more.'
        )
    reader = _SubjectReader(path)
    try:
        reader.parser.Parse(text, True)
    except (
        expat.ExpatError,
        LookupError,
    ) as error:  # LookupError: an encoding that Python does not know
        raise MalformedSvgError(f'{path}: expected well-formed XML, but {error}.') from error
    return Svg(tuple(reader.keywords), gzipped, reader.num_entities)


class _SubjectReader:
    """Collects every ``rdf:li`` within ``dc:subject``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.keywords: list[str] = []
        self.num_entities = 0
        self._subject_depth = 0
        self._item: list[str] | None = None
        self.parser = expat.ParserCreate(namespace_separator=' ')
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.EntityDeclHandler = self._entity

    def _start(self, name: str, attributes: Mapping[str, str]) -> None:
        self._subject_depth += name == _DC_SUBJECT
        if name == _RDF_ITEM and self._subject_depth:
            self._item = []

    def _end(self, name: str) -> None:
        self._subject_depth -= name == _DC_SUBJECT
        if name == _RDF_ITEM and self._item is not None:
            self.keywords.append(''.join(self._item))
            self._item = None

    def _text(self, text: str) -> None:
        if self._item is not None:
            self._item.append(text)

    def _entity(
        self, name: str, is_parameter: bool, value: str | None, *external: str | None
    ) -> None:
        if (
            is_parameter
            or value is None
            or '&' in value
            or '%' in value
            or len(value) > MAX_ENTITY_CHARS
        ):
            raise UnsafeSvgError(
                f'{self.path}: expected entities to be plain internal texts of at most '
                f'{MAX_ENTITY_CHARS} characters, but {name!r} is not.'
            )
        self.num_entities += 1


def normalise(keyword: str) -> str:
    """Trim a keyword, join its inner white space and lower its case.

    Examples:
        >>> normalise('  Mime-Types ')
        'mime-types'
    """
    return ' '.join(keyword.split()).lower()


def clean_keywords(keywords: Iterable[str]) -> set[str]:
    """Leave out the keywords that name no content and merge spelling twins.

    Args:
        keywords: Normalised keywords of one picture.

    Examples:
        >>> sorted(clean_keywords(['hash', 'icons', 'icon', 'bird']))
        ['bird', 'icon']
    """
    return {ALIASES.get(keyword, keyword) for keyword in keywords if keyword not in STOP_KEYWORDS}


def frequent_keywords(pictures: Iterable[Collection[str]], min_count: int) -> list[str]:
    """Give the keywords that at least ``min_count`` pictures have, sorted."""
    counts = Counter(keyword for keywords in pictures for keyword in keywords)
    return sorted(keyword for keyword, count in counts.items() if count >= min_count)


def find_collection(folder: Path) -> Path:
    """Find the folder that holds ``png/`` and ``svg/``.

    Args:
        folder: That folder itself, or where the packages were unpacked.

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
    """Give the excluded folder that a relative path lies in, if any."""
    return next((folder for folder in EXCLUDED_FOLDERS if name.startswith(f'{folder}/')), None)


def list_pngs(root: Path) -> list[str]:
    """List the PNG files below ``root/png``: relative, without suffix, sorted."""
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
        names: What :func:`list_pngs` gave.
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
    """Make one picture of those with the same bytes.

    A picture often lies in several folders, mostly as a symbolic link, each
    time with a part of its keywords. The first name stays, with the keywords
    of all.
    """
    merged: dict[str, Picture] = {}
    for picture in pictures:
        first = merged.setdefault(picture.digest, picture)
        merged[picture.digest] = replace(first, keywords=first.keywords | picture.keywords)
    return list(merged.values())


def _keywords_of(root: Path, name: str, result: Collected) -> set[str]:
    """Read the keywords of one path; count what its SVG is like."""
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


def png_size(path: Path) -> tuple[int, int]:
    """Read width and height of a PNG from its header, decoding nothing.

    Raises:
        BrokenPictureError: If it does not start as a PNG does.
    """
    with path.open('rb') as file:
        header = file.read(24)
    if len(header) < 24 or header[:8] != b'\x89PNG\r\n\x1a\n' or header[12:16] != b'IHDR':
        raise BrokenPictureError(
            f'{path}: expected a PNG file, but its first bytes are {header[:8]!r}.'
        )
    width, height = struct.unpack('>II', header[16:24])
    return width, height


def decode(path: Path, max_pixels: int = MAX_PIXELS) -> tuple[Image.Image, str]:
    """Decode a PNG.

    Args:
        path: The PNG, of any mode.
        max_pixels: Above this many pixels the PNG is not decoded.

    Returns:
        The RGBA picture, and the PNG's mode.

    Raises:
        TooManyPixelsError: If it is larger than ``max_pixels``.
        TooSmallError: If its shorter side is below ``MIN_SIDE``.
        BrokenPictureError: If it cannot be decoded.
    """
    width, height = png_size(path)
    if width * height > max_pixels:
        raise TooManyPixelsError(
            f'{path}: expected at most {max_pixels} pixels, but got {width} x {height}.'
        )
    if min(width, height) < MIN_SIDE:
        raise TooSmallError(
            f'{path}: expected sides of at least {MIN_SIDE} pixels, but got {width} x {height}.'
        )
    try:
        with Image.open(path, formats=['PNG']) as file:
            if file.mode not in PNG_MODES:
                raise BrokenPictureError(
                    f'{path}: expected one of the modes {PNG_MODES}, but got {file.mode!r}.'
                )
            return file.convert('RGBA'), file.mode
    except (OSError, SyntaxError, ValueError, zlib.error) as error:
        if isinstance(error, BrokenPictureError):
            raise
        raise BrokenPictureError(
            f'{path}: expected a PNG file that can be decoded, but {error}.'
        ) from error


def render(picture: Image.Image, size: int, path: Path) -> Image.Image:
    """Shrink a picture and lay it on white.

    Args:
        picture: What :func:`decode` gave; it is left as it is.
        size: Longest side of the result in pixels. Smaller ones keep theirs.
        path: The PNG it came from, for the error.

    Returns:
        The RGB picture with the same aspect ratio.

    Raises:
        BlankPictureError: If nothing can be seen on it.
    """
    # Shrinking comes first, since compositing needs two more copies; Pillow weighs colours by alpha
    # in doing so.
    small = picture.copy()
    small.thumbnail((size, size), Image.Resampling.LANCZOS)
    canvas = Image.new('RGBA', small.size, 'white')
    canvas.alpha_composite(small)
    flat = canvas.convert('RGB')
    if all(low == high for low, high in _extrema(flat)):
        raise BlankPictureError(
            f'{path}: expected a picture, but on white all its pixels are alike.'
        )
    return flat


def _extrema(picture: Image.Image) -> list[tuple[int, int]]:
    return [channel.getextrema() for channel in picture.split()]  # type: ignore[misc]
