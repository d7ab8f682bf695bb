"""The only entry point for image files: the supported formats, by content, and their size limit.

Pillow supports more than forty formats. Some start a program (EPS runs Ghostscript), others unpack
without limit (FITS with gzip), and no camera writes either. The formats below are opened directly
with Pillow's own classes, independent of the file's name and of Pillow's list of plugins. The size
is read from the header before a pixel is decoded, and the limit is our own (Pillow's applies to the
whole process, and other code may rely on it).
"""

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    IcoImagePlugin,
    Image,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from ..utils.extras import require_extra
from .tiff_directories import check_directories

MAX_ICON_PIXELS = 1024 * 1024  # no system shows a larger icon
MAX_SCANS = 20  # of a progressive JPEG of the largest size; smaller ones may have more scans
MAX_RUN_LENGTH_WIDTH = 2**15
SNIFFED = 64  # bytes that identify the format of a file


class ImageError(ValueError):
    """An image that cannot be used; the message names the file."""


@dataclass(frozen=True)
class ImageFormat:
    """An image format.

    Attributes:
        name: Its name.
        suffixes: Usual file endings; used only to find files in a folder.
        matches: Whether a file that begins with these bytes has this format.
        open: Reads the header, but no pixels.
        cost: Memory and time cost of a pixel, in pixels of a PNG file.
        check: Checks the content before opening, for problems that the header does not show.
    """

    name: str
    suffixes: tuple[str, ...]
    matches: Callable[[bytes], bool]
    open: Callable[[io.BytesIO], Image.Image]
    cost: int = 1
    check: Callable[[bytes, int], None] | None = None

    @property
    def pillow_name(self) -> str:
        """Pillow's name of the format."""
        return {'HEIC': 'HEIF'}.get(self.name, self.name.upper().replace(' ', ''))


def find_format(start: bytes) -> ImageFormat | None:
    """Find the format of a file from its first ``SNIFFED`` bytes.

    Examples:
        >>> find_format(b'GIF89a').name
        'GIF'
        >>> find_format(b'%!PS-Adobe-3.0 EPSF-3.0') is None
        True
    """
    return next((kind for kind in FORMATS if kind.matches(start)), None)


def open_image(content: bytes, max_pixels: int) -> Image.Image:
    """Open an image whose header is sound, without decoding it.

    Args:
        content: The whole file.
        max_pixels: Refuse images that need more memory and time than a PNG file of this many
            pixels.

    Raises:
        TooLargeError: If it is larger.
        ValueError: If its format is not supported, or its header is broken; other errors as Pillow
            raises them.
    """
    kind = find_format(content[:SNIFFED])
    if kind is None:
        raise ValueError(
            f'expected one of {", ".join(item.name for item in FORMATS)}, but it begins with '
            f'{content[:16]!r}'
        )

    if kind.check is not None:
        kind.check(content, max_pixels)

    image = kind.open(io.BytesIO(content))

    check_size(*image.size, max_pixels, max(kind.cost, _cost_of_decoder(image)), kind.name)
    return image


class TooLargeError(ValueError):
    """More pixels than are allowed.

    Attributes:
        needed: The least ``max_pixels`` that allows it.
    """

    def __init__(self, message: str, needed: int) -> None:
        super().__init__(message)
        self.needed = needed


def check_size(
    width: int,
    height: int,
    max_pixels: int,
    cost: int = 1,
    name: str = '',
) -> None:
    """Raise if a picture is too large, see :func:`open_image`.

    Examples:
        >>> check_size(3, 2, 5)
        Traceback (most recent call last):
        morn_plugin.deploy.image_formats.TooLargeError: 3 x 2 pixels: expected at most 5 in all
    """
    if width * height * cost <= max_pixels:
        return

    of_kind = f' of a {name} file, which costs {cost} times what others do' if cost > 1 else ''
    raise TooLargeError(
        f'{width} x {height} pixels: expected at most {max_pixels // cost} in all{of_kind}',
        width * height * cost,
    )


def _cost_of_decoder(image: Image.Image) -> int:
    """Return the cost of a pixel if Pillow decodes in Python, in pixels of a PNG file."""
    tiles = getattr(image, 'tile', None)
    decoder = tiles[0][0] if tiles else ''
    return 10 if decoder in ('bmp_rle', 'ppm', 'ppm_plain') else 1


# Signatures of the formats


def _begins(*starts: bytes) -> Callable[[bytes], bool]:
    return lambda start: start.startswith(starts)


def _is_bmp(start: bytes) -> bool:
    """Return whether a file that begins with BM is a bitmap, by the length of its second header."""
    return start[:2] == b'BM' and start[14:18] in [
        struct.pack('<I', length) for length in (12, 40, 52, 56, 64, 108, 124)
    ]


def _is_ppm(start: bytes) -> bool:
    return start[:1] == b'P' and start[1:2] in b'123456' and start[2:3] in b' \t\r\n#'


def _is_webp(start: bytes) -> bool:
    return start[:4] == b'RIFF' and start[8:12] == b'WEBP'


def _brands(start: bytes) -> set[bytes]:
    """Return the brands of an ISO base media file, such as AVIF and HEIC."""
    if start[4:8] != b'ftyp':
        return set()

    length = min(int.from_bytes(start[:4], 'big'), len(start))
    places = [8, *range(16, length, 4)]
    return {start[place : place + 4] for place in places}


def _is_avif(start: bytes) -> bool:
    return bool(_brands(start) & {b'avif', b'avis'})


def _is_heif(start: bytes) -> bool:
    heic = {
        b'heic',
        b'heix',
        b'hevc',
        b'hevx',
        b'heim',
        b'heis',
        b'hevm',
        b'hevs',
        b'mif1',
        b'msf1',
    }
    return bool(_brands(start) & heic) and not _is_avif(start)


# Opening


class _JpegFile(JpegImagePlugin.JpegImageFile):
    """A JPEG file whose EXIF data are read later, after they have been checked.

    For an MPO file, which is a sequence of JPEG files, this is the first picture.
    """

    def _read_dpi_from_exif(self) -> None:
        pass


class _TiffFile(TiffImagePlugin.TiffImageFile):
    """A TIFF file that ignores Pillow's process-wide limit when it allocates its pixels."""

    def load_prepare(self) -> None:
        """Allocate the pixels."""
        if self._im is None:
            self.im = Image.core.new(self.mode, self._tile_size)
        super().load_prepare()


def _open_heif(file: io.BytesIO) -> Image.Image:
    return require_extra('pillow_heif', 'heic').HeifImageFile(file)


def _open_icon(file: io.BytesIO) -> Image.Image:
    """Open the largest picture of an icon; ties: the one with the most bits per pixel.

    Pillow's own class decodes while opening, and trusts the sizes in the directory, which end at
    256.
    """
    content = file.getvalue()
    entries = _icon_entries(content)
    best = max(entries, key=lambda item: (item.width * item.height, item.bits))
    data = content[best.offset : best.offset + best.length]

    if data.startswith(_PNG):
        return PngImagePlugin.PngImageFile(io.BytesIO(data))

    # A bitmap goes into an icon file of its own, with one entry.
    header = struct.pack('<HHH', 0, 1, 1)
    entry = struct.pack('<BBBBHHII', 0, 0, 0, 0, 1, best.bits, len(data), 22)
    icon = IcoImagePlugin.IcoFile(io.BytesIO(header + entry + data))
    return icon.frame(0)


@dataclass(frozen=True)
class _IconEntry:
    width: int
    height: int
    bits: int
    offset: int
    length: int


def _icon_entries(content: bytes) -> list[_IconEntry]:
    """Read the pictures of an icon, with the sizes from their own headers.

    Raises:
        ValueError: If there is none, or one lies outside the file.
    """
    (number,) = struct.unpack_from('<H', content, 4)
    entries = []
    for index in range(number):
        bits, length, offset = struct.unpack_from('<HII', content, 6 + 16 * index + 6)
        header = content[offset : offset + min(length, 24)]
        if len(header) < 24:
            raise ValueError(f'picture {index} of {number} in the icon lies outside of the file')

        if header.startswith(_PNG):
            width, height = struct.unpack_from('>II', header, 16)
        else:  # a bitmap without file header, on top of a mask of equal size
            width, height = struct.unpack_from('<II', header, 4)
            height //= 2

        entries.append(_IconEntry(width, height, bits, offset, length))

    if not entries:
        raise ValueError('the icon contains no picture')

    return entries


# Checks of content that the header does not describe


def _check_icon(content: bytes, max_pixels: int) -> None:
    for entry in _icon_entries(content):
        if entry.width * entry.height > MAX_ICON_PIXELS:
            raise ValueError(
                f'expected icons of at most {MAX_ICON_PIXELS} pixels, but one has {entry.width} x '
                f'{entry.height}'
            )


def _check_webp(content: bytes, max_pixels: int) -> None:
    """Check the size before libwebp allocates memory, which it does when opening a file."""
    kind = content[12:16]
    if kind == b'VP8X':
        width = 1 + int.from_bytes(content[24:27], 'little')
        height = 1 + int.from_bytes(content[27:30], 'little')
    elif kind == b'VP8L':
        bits = int.from_bytes(content[21:25], 'little')
        width = 1 + (bits & 0x3FFF)
        height = 1 + (bits >> 14 & 0x3FFF)
    else:
        width = int.from_bytes(content[26:28], 'little') & 0x3FFF
        height = int.from_bytes(content[28:30], 'little') & 0x3FFF

    check_size(width, height, max_pixels, _WEBP_COST, 'WebP')


def _check_jpeg(content: bytes, max_pixels: int) -> None:
    if content.count(_SCAN) > MAX_SCANS:
        _check_scans(content, *_JpegFile(io.BytesIO(content)).size, max_pixels)


def _check_scans(
    content: bytes,
    width: int,
    height: int,
    max_pixels: int,
) -> None:
    """Limit the scans of a progressive JPEG: a dozen bytes request one over all its pixels."""
    scans = content.count(_SCAN)
    allowed = MAX_SCANS * max_pixels // max(1, width * height)
    if scans > allowed:
        raise ValueError(
            f'expected at most {allowed} scans of {width} x {height} pixels, but got {scans}'
        )


def _check_tiff(content: bytes, max_pixels: int) -> None:
    check_directories(content)
    tags = _TiffFile(io.BytesIO(content)).tag_v2

    # A small picture may be in a large tile, which is unpacked as a whole.
    width, height = (int(tags.get(tag, 0)) for tag in (_TILE_WIDTH, _TILE_LENGTH))
    check_size(width, height, max_pixels, name='TIFF')

    if tags.get(TiffImagePlugin.COMPRESSION) in _JPEG_IN_TIFF:
        columns = tags[TiffImagePlugin.IMAGEWIDTH]
        rows = tags[TiffImagePlugin.IMAGELENGTH]
        _check_scans(content, columns, rows, max_pixels)

    if int(tags.get(_SUBFILE_TYPE, 0)) & 1:
        raise ValueError(
            'its first picture is a reduced copy, as in the raw files of cameras: convert it'
        )


def _check_bmp(content: bytes, max_pixels: int) -> None:
    """Limit the columns of a run-length file: two bytes skip 255 rows of any width."""
    length, width = struct.unpack_from('<II', content, 14)
    compression = int.from_bytes(content[30:34], 'little') if length >= 40 else 0
    if compression in _RUN_LENGTH and width > MAX_RUN_LENGTH_WIDTH:
        raise ValueError(
            f'expected a run-length BMP of at most {MAX_RUN_LENGTH_WIDTH} columns, but got {width}'
        )


def _check_jpeg2000(content: bytes, max_pixels: int) -> None:
    """Refuse a file truncated before its first tile, which would be decoded as black."""
    if _TILE_DATA not in content:
        raise ValueError('the file ends before its first tile')


def _check_boxes(content: bytes, max_pixels: int) -> None:
    """Check EXIF data anywhere: codecs pass them to Pillow when opening a file."""
    found = 0
    for prefix in TiffImagePlugin.PREFIXES:
        place = content.find(prefix)
        while place >= 0:
            found += 1
            if found > 64:
                raise ValueError('expected at most 64 blocks of EXIF data, but got more')
            check_directories(content[place:])
            place = content.find(prefix, place + 1)


_SCAN = b'\xff\xda'  # begins a scan of a JPEG file; these bytes cannot occur inside one
_TILE_DATA = b'\xff\x93'  # begins those of a tile in a JPEG 2000 file
# tags of TIFF
_SUBFILE_TYPE = 254
_TILE_WIDTH = 322
_TILE_LENGTH = 323
_JPEG_IN_TIFF = (6, 7)  # values of its compression
_RUN_LENGTH = (1, 2)  # values of the compression of BMP
_PNG = b'\x89PNG\r\n\x1a\n'
_JP2 = b'\x00\x00\x00\x0cjP  \r\n\x87\n'
_WEBP_COST = 2

FORMATS = (
    ImageFormat(
        'JPEG',
        ('.jpg', '.jpeg', '.jpe', '.jfif', '.mpo'),
        _begins(b'\xff\xd8\xff'),
        _JpegFile,
        check=_check_jpeg,
    ),
    ImageFormat('PNG', ('.png', '.apng'), _begins(_PNG), PngImagePlugin.PngImageFile),
    ImageFormat(
        'WebP',
        ('.webp',),
        _is_webp,
        WebPImagePlugin.WebPImageFile,
        cost=_WEBP_COST,
        check=_check_webp,
    ),
    ImageFormat('GIF', ('.gif',), _begins(b'GIF87a', b'GIF89a'), GifImagePlugin.GifImageFile),
    ImageFormat('BMP', ('.bmp', '.dib'), _is_bmp, BmpImagePlugin.BmpImageFile, check=_check_bmp),
    ImageFormat(
        'TIFF',
        ('.tif', '.tiff'),
        _begins(b'II*\0', b'MM\0*', b'II+\0'),
        _TiffFile,
        check=_check_tiff,
    ),
    ImageFormat(
        'AVIF', ('.avif',), _is_avif, AvifImagePlugin.AvifImageFile, cost=2, check=_check_boxes
    ),
    ImageFormat(
        'JPEG 2000',
        ('.jp2', '.j2k', '.j2c', '.jpc', '.jpf', '.jpx'),
        _begins(_JP2, b'\xff\x4f\xff\x51'),
        Jpeg2KImagePlugin.Jpeg2KImageFile,
        cost=4,
        check=_check_jpeg2000,
    ),
    ImageFormat('PPM', ('.ppm', '.pgm', '.pbm', '.pnm'), _is_ppm, PpmImagePlugin.PpmImageFile),
    ImageFormat('ICO', ('.ico',), _begins(b'\0\0\1\0'), _open_icon, check=_check_icon),
    ImageFormat(
        'HEIC', ('.heic', '.heif', '.hif'), _is_heif, _open_heif, cost=2, check=_check_boxes
    ),
)
