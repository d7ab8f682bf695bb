"""Renders a PNG of the collection on a white background."""

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

MAX_PIXELS = 89_478_485  # Pillow warns of a decompression bomb above this: 1 GiB / 4 / 3 bytes
MIN_SIDE = 8  # a few flags are rendered at 6 x 3 pixels
PNG_MODES = ('1', 'L', 'LA', 'P', 'PA', 'RGB', 'RGBA')


def png_size(path: Path) -> tuple[int, int]:
    """Read the width and height of a PNG from its header, without decoding.

    Raises:
        BrokenPictureError: If the file does not start with a PNG header.
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
        max_pixels: Largest number of pixels to decode.

    Returns:
        The RGBA picture, and the mode of the PNG.

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


def render(
    picture: Image.Image,
    size: int,
    path: Path,
) -> Image.Image:
    """Shrink a picture and put it on a white background.

    Args:
        picture: The result of :func:`decode`; it is not changed.
        size: Longest side of the result in pixels. Smaller pictures keep their size.
        path: The PNG that it came from, for the error.

    Returns:
        The RGB picture with the same aspect ratio.

    Raises:
        BlankPictureError: If nothing is visible on it.
    """
    # Shrink first, because compositing needs two more copies. Pillow weights colours by alpha when
    # it shrinks.
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
