"""Finds, reads and prepares images, without OpenCV, MMCV or torch."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from .image_files import MAX_PIXELS, SUFFIXES, fetch_url, list_images, read_file
from .image_formats import ImageError, TooLargeError, open_image
from .tiff_directories import check_directories

__all__ = [
    'SUFFIXES',
    'ImageError',
    'decode_image',
    'list_images',
    'prepare_image',
    'read_image',
    'resize_bilinear',
]

MAX_PIXELS_OPTION = 'max_pixels of LoadCheckedImage'


def read_image(
    path: str | PathLike,
    background: int = 255,
    max_pixels: int = MAX_PIXELS,
    option: str = MAX_PIXELS_OPTION,
) -> np.ndarray:
    """Read a file or an ``http(s)`` URL; see :func:`decode_image`.

    Raises:
        OSError: If it cannot be read.
        ImageError: If it is not an image.
    """
    path = os.fsdecode(path)
    fetch = fetch_url if path.startswith(('http://', 'https://')) else read_file
    return decode_image(fetch(path, max_pixels), path, background, max_pixels, option)


def decode_image(
    content: bytes,
    source: str,
    background: int = 255,
    max_pixels: int = MAX_PIXELS,
    option: str = MAX_PIXELS_OPTION,
) -> np.ndarray:
    """Decode the bytes of an image file.

    The first frame of an animation is used, upright by its EXIF orientation. The format is
    determined only by the content (:mod:`~morn_plugin.deploy.image_formats`).

    Args:
        content: The file's bytes.
        source: The file's name, for the error.
        background: Grey value (0-255) under transparent pixels.
        max_pixels: Refuse larger images before they are decoded.
        option: The option that raises ``max_pixels``, for the error.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        ImageError: If that fails.
    """
    if not content:
        raise ImageError(f'Image {source} is empty: the file has 0 bytes.')
    with named_errors(source, option, f' ({len(content)} bytes)'):
        return to_array(open_image(content, max_pixels), background)


def check_image(
    content: bytes, source: str, max_pixels: int = MAX_PIXELS, option: str = MAX_PIXELS_OPTION
) -> None:
    """Raise like :func:`decode_image`, from the header alone, for callers that decode themselves.

    Raises:
        ImageError: If it would not be decoded.
    """
    with named_errors(source, option, f' ({len(content)} bytes)'):
        open_image(content, max_pixels)


@contextmanager
def named_errors(
    source: str,
    option: str,
    detail: str = '',
) -> Iterator[None]:
    """Turn any exception into an :class:`ImageError` with the image's name and a remedy."""
    try:
        yield
    except TooLargeError as error:
        raise ImageError(
            f'Image {source} has {error}. Shrink it, or raise {option} to {error.needed}.'
        ) from error
    except Exception as error:  # Pillow's decoders raise many types for broken files
        reason = str(error).rstrip('.') or type(error).__name__
        raise ImageError(f'Image {source} cannot be decoded{detail}: {reason}.') from error


def to_array(image: Image.Image, background: int = 255) -> np.ndarray:
    """Decode a picture of any mode, upright.

    Args:
        image: Open, decoded or not.
        background: Grey value (0-255) under transparent pixels.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        ValueError: If it has more than 16 bits a channel, or its EXIF data are a trap; others as
            Pillow raises them for broken files.
    """
    image.load()
    return np.asarray(_turn_upright(_to_rgb(image, background), _orientation(image)))


TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _turn_upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(TURNS[orientation]) if orientation in TURNS else image


def _orientation(image: Image.Image) -> int:
    """Read the EXIF orientation, 1 if there is none."""
    data = image.info.get('exif', b'')
    if isinstance(data, bytes):
        check_directories(data.removeprefix(b'Exif\0\0'))
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    return orientation if isinstance(orientation, int) else 1


def _to_rgb(image: Image.Image, background: int) -> Image.Image:
    if image.mode.startswith('I') or image.mode == 'F':
        image = _to_8_bit(image)
    if image.has_transparency_data:
        return _lay_on(image, background)
    return image if image.mode == 'RGB' else image.convert('RGB')


def _lay_on(image: Image.Image, background: int) -> Image.Image:
    """Show a grey background through transparent pixels, strip by strip to save memory."""
    result = Image.new('RGB', image.size)
    rows = max(1, 2**20 // image.width)
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        strip = image.crop((0, top, image.width, bottom)).convert('RGBA')
        under = Image.new('RGBA', strip.size, (background, background, background, 255))
        result.paste(Image.alpha_composite(under, strip).convert('RGB'), (0, top))
    return result


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Keep the upper byte of 16-bit grey; Pillow would clip it."""
    values = np.asarray(image)
    if image.mode == 'F' or values.min() < 0 or values.max() > 0xFFFF:
        raise ValueError(
            f'expected 8 or 16 bits a channel, but got mode {image.mode} with values in '
            f'{values.min()}..{values.max()}'
        )
    return Image.fromarray((values.astype(np.uint16) >> 8).astype(np.uint8))


def prepare_image(image: np.ndarray, preprocessing: dict[str, Any]) -> np.ndarray:
    """Apply the model's test pipeline and data preprocessor.

    Args:
        image: (H, W, 3) uint8, RGB.
        preprocessing: ``transforms``, a list of ``dict(type='resize', scale=[width, height],
            backend=...)``, ``dict(type='resize_edge', scale=..., backend=...)`` and
            ``dict(type='center_crop', size=[width, height])``; ``mean`` and ``std``, three numbers
            each or None; ``channels``, ``'RGB'`` or ``'BGR'``.

    Returns:
        (3, h, w) float32.
    """
    for step in preprocessing['transforms']:
        image = TRANSFORMS[step['type']](image, step)
    values = image.astype(np.float32)
    if preprocessing['channels'] == 'BGR':
        values = values[..., ::-1]
    if preprocessing['mean'] is not None:
        values = (values - np.float32(preprocessing['mean'])) / np.float32(preprocessing['std'])
    return np.ascontiguousarray(values.transpose(2, 0, 1))


def resize_bilinear(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize like OpenCV's INTER_LINEAR, in its fixed-point arithmetic.

    It uses two taps per axis, without smoothing when shrinking.

    Pillow's bilinear filter smooths, so a model trained with OpenCV's would see different images,
    and even grey values that differ by one change the scores.

    Args:
        image: (H, W, 3) uint8.
        size: New width and height.
    """
    x0, x1, ax, bx = _taps(image.shape[1], size[0], clip_weights=True)
    y0, y1, ay, by = _taps(image.shape[0], size[1], clip_weights=False)

    rows = np.unique(np.concatenate([y0, y1]))  # the other pixels are not needed
    place = np.zeros(image.shape[0], dtype=np.int64)
    place[rows] = np.arange(len(rows))

    # Across, for every row that is needed: (rows, width, 3).
    part = image[rows].astype(np.int32)
    left = part[:, x0] * ax[:, None]
    right = part[:, x1] * bx[:, None]
    across = (left + right) >> 4

    # Down.
    above = across[place[y0]] * ay[:, None, None] >> 16
    below = across[place[y1]] * by[:, None, None] >> 16
    values = above + below
    return ((values + 2) >> 2).clip(0, 255).astype(np.uint8)


def _taps(
    old: int,
    new: int,
    clip_weights: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return, for every new pixel, the two old ones around its centre and their weights, in 1/2048.

    At the border both taps are the same pixel. OpenCV gives one tap all the weight horizontally,
    and splits it vertically.
    """
    pixel = np.arange(new, dtype=np.float64)
    centre = ((pixel + 0.5) * (old / new) - 0.5).astype(np.float32)
    if clip_weights:
        centre = centre.clip(0, old - 1)
    first = np.floor(centre).astype(np.int64)
    second = first + 1
    weight = centre - first.astype(np.float32)  # of the second tap

    def fixed(part: np.ndarray) -> np.ndarray:
        return np.rint(part * np.float32(2048)).astype(np.int32)

    last = old - 1
    return first.clip(0, last), second.clip(0, last), fixed(1 - weight), fixed(weight)


def _resize(image: np.ndarray, step: dict[str, Any]) -> np.ndarray:
    return _scale(image, tuple(step['scale']), step['backend'])


def _resize_edge(image: np.ndarray, step: dict[str, Any]) -> np.ndarray:
    size = scale_edge(image.shape[1], image.shape[0], step['scale'])
    return _scale(image, size, step['backend'])


def scale_edge(
    width: int,
    height: int,
    scale: int,
) -> tuple[int, int]:
    """Compute the size of an image whose shorter edge becomes ``scale``.

    Raises:
        ImageError: If a very thin image would become too large.

    Examples:
        >>> scale_edge(200, 100, 50)
        (100, 50)
    """
    if width < height:
        size = scale, int(scale * height / width)
    else:
        size = int(scale * width / height), scale

    if size[0] * size[1] > max(MAX_PIXELS, width * height):
        raise ImageError(
            f'The image of {width} x {height} pixels would become one of {size[0]} x {size[1]} '
            f'when its shorter edge is scaled to {scale}: expected at most {MAX_PIXELS} in all. '
            'Cut it.'
        )

    return size


def _center_crop(image: np.ndarray, step: dict[str, Any]) -> np.ndarray:
    height, width = image.shape[:2]
    w, h = step['size']
    y = max(0, round((height - h) / 2))
    x = max(0, round((width - w) / 2))
    return image[y : y + h, x : x + w]


def _scale(
    image: np.ndarray,
    size: tuple[int, int],
    backend: str,
) -> np.ndarray:
    if backend == 'pillow':
        return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
    return resize_bilinear(image, size)


TRANSFORMS = {'resize': _resize, 'resize_edge': _resize_edge, 'center_crop': _center_crop}
