"""Open Clip Art Library: from unpacked Debian packages to cleaned pictures.

What ``tools/dataset_converters/openclipart.py`` knows about the collection,
apart from command line and files written: keywords of an SVG, which of them
are labels, how a render becomes a picture, which pictures are
near-duplicates, and on which side of the split each falls.

Everything is a function of the content alone, so that every machine gets the
same data set: files are taken in the order of their names, the split hashes
the content, and the perceptual hash is exact arithmetic on the decoded pixels,
which no library's way of shrinking or rounding has a part in.

Shapes: N pictures, B bits of a hash.
"""

import gzip
import hashlib
import struct
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from xml.parsers import expat

import numpy as np
from PIL import Image
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

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
HASH_SIZE = 16  # 2 * 16 * 16 bits
HASH_MARGIN = 2  # of 255 grey levels, hardly to be seen: what differs by no more is alike
HASH_LUMA = (299, 587, 114)  # of red, green and blue, in thousandths (ITU-R BT.601)
# Pairs up to 0.3 are variants of one drawing (recoloured, another sign in the same triangle, cards
# of one deck). The largest chain is then of 48 out of 5,244 distinct pictures, the cards of one
# deck; at 0.35 it is of 168, of several decks.
NEAR_DISTANCE = 0.3
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


def fingerprint(picture: Image.Image) -> np.ndarray:
    """Give the perceptual hash of a picture: dHash across and down.

    dHash lays a grid of ``HASH_SIZE`` by ``HASH_SIZE + 1`` equal cells over the
    picture and compares the mean grey of neighbours. Pillow's releases shrink
    pictures differently by a grey level, so that libraries which hash what it
    has shrunk differ as well; here all sums are of integers and exact, and
    every machine gets the same bits.

    Args:
        picture: At its own size, transparent or not.

    Returns:
        bool array (B,), true where it gets brighter by more than ``HASH_MARGIN``.
    """
    pixels = np.asarray(picture.convert('RGBA'))  # (H, W, 4)
    margin = HASH_MARGIN * sum(HASH_LUMA) * picture.width * picture.height  # of sums over a cell
    wide, high = _cell_sums(pixels, (HASH_SIZE, HASH_SIZE + 1), (HASH_SIZE + 1, HASH_SIZE))
    across, down = np.diff(wide, axis=1) > margin, np.diff(high, axis=0) > margin
    return np.concatenate([across.ravel(), down.ravel()])


def _cell_sums(pixels: np.ndarray, *grids: tuple[int, int]) -> list[np.ndarray]:
    """Sum the grey values of (H, W, 4) pixels over equal cells.

    Each H times W parts of pixels large.

    All numbers are integers and, with ``MAX_PIXELS``, below 2 ** 53, so that float64 holds each of
    them and no order of adding them makes a difference.

    Returns:
        The sums of each grid, (rows, columns).
    """
    height, width = pixels.shape[:2]
    overlaps = [(_overlaps(rows, height), _overlaps(columns, width)) for rows, columns in grids]
    sums = [np.zeros(grid) for grid in grids]
    for top in range(0, height, 512):  # bounds the memory
        grey = _grey_on_white(pixels[top : top + 512])
        for total, (down, across) in zip(sums, overlaps, strict=True):
            total += down[:, top : top + 512] @ (grey @ across.T)
    return sums


def _overlaps(cells: int, side: int) -> np.ndarray:
    """Give how far each of ``cells`` equal cells lies over each of ``side`` pixels.

    In parts of 1 / cells of a pixel.
    """
    pixel, cell = np.arange(side) * cells, np.arange(cells)[:, None] * side
    overlap = np.minimum(pixel + cells, cell + side) - np.maximum(pixel, cell)  # (cells, side)
    return overlap.clip(min=0).astype(np.float64)


def _grey_on_white(pixels: np.ndarray) -> np.ndarray:
    """Lay (H, W, 4) pixels on white.

    Give their grey values, whole numbers 0-255,000, float64 (H, W).
    """
    alpha = pixels[..., 3].astype(np.int32)
    grey = np.zeros(alpha.shape, dtype=np.int32)
    for channel, weight in enumerate(HASH_LUMA):
        grey += weight * (255 + (pixels[..., channel].astype(np.int32) - 255) * alpha // 255)
    return grey.astype(np.float64)


def near_duplicates(hashes: np.ndarray, distance: float = NEAR_DISTANCE) -> np.ndarray:
    """Find the pairs of near-duplicates.

    The distance of two hashes is Jaccard's: of the bits that at least one has
    set, the share in which they differ. Clip art is mostly flat, and flat
    pixels leave bits unset, so that Hamming's distance takes any two thin
    drawings for near-duplicates and chains hundreds of them together.

    Args:
        hashes: bool array (N, B).
        distance: The largest distance of near-duplicates, 0-1.

    Returns:
        Integer array (P, 2) of index pairs, first below second, sorted.
    """
    bits = hashes.astype(np.float32)
    ones = bits.sum(axis=1)  # (N,)
    pairs = []
    for start in range(0, len(bits), 1024):
        both = bits[start : start + 1024] @ bits.T  # (chunk, N)
        either = ones[start : start + 1024, None] + ones[None] - both  # (chunk, N)
        first, second = np.nonzero(
            either - both <= distance * either
        )  # no bits at all: nothing differs
        pairs.append(np.stack([first + start, second], axis=1))
    found = np.concatenate(pairs) if pairs else np.zeros((0, 2), dtype=np.int64)
    return found[found[:, 0] < found[:, 1]]


def group_near_duplicates(hashes: np.ndarray, distance: float = NEAR_DISTANCE) -> np.ndarray:
    """Number the groups that chains of near-duplicates form.

    Args:
        hashes: bool array (N, B).
        distance: The largest distance of near-duplicates, 0-1.

    Returns:
        Integer array (N,), the group of every picture.
    """
    pairs = near_duplicates(hashes, distance)
    graph = coo_matrix(
        (np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(hashes), len(hashes))
    )
    return connected_components(graph, directed=False)[1]


def assign_sides(
    digests: Sequence[str], groups: Sequence[int], salt: str, share: float
) -> list[bool]:
    """Draw a side for every group from nothing but its content.

    Args:
        digests: Content hash of each of N pictures. Copies count once.
        groups: Group of each.
        salt: Name of the draw; different names draw independently.
        share: Expected share of groups on the first side, 0-1.

    Returns:
        N times true for the first side; equal within a group.
    """
    members: dict[int, set[str]] = {}
    for digest, group in zip(digests, groups, strict=True):
        members.setdefault(group, set()).add(digest)
    sides = {
        group: _fraction(salt + ''.join(sorted(content))) < share
        for group, content in members.items()
    }
    return [sides[group] for group in groups]


def _fraction(text: str) -> float:
    """Spread texts evenly over 0 (with it) to 1 (without it)."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], 'big') / 2**48
