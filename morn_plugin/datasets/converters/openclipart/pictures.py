"""From a PNG of the collection to a picture on white."""

import struct
import zlib
from pathlib import Path

from PIL import Image

from .errors import (
    BlankPictureError,
    BrokenPictureError,
    TooManyPixelsError,
    TooSmallError,
)

MAX_PIXELS = 89_478_485  # where Pillow starts to warn of a decompression bomb: 1 GiB / 4 / 3 bytes
MIN_SIDE = 8  # a few flags are rendered at 6 x 3 pixels
PNG_MODES = ('1', 'L', 'LA', 'P', 'PA', 'RGB', 'RGBA')


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
