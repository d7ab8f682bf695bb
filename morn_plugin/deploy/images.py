"""Finding, reading and preparing images, without OpenCV, MMCV or torch."""

import io
import urllib.request
import warnings
from collections.abc import Iterable
from glob import glob, has_magic
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

SUFFIXES = ('.bmp', '.gif', '.jpeg', '.jpg', '.png', '.ppm', '.tif', '.tiff', '.webp')
TIMEOUT = 30  # seconds


class ImageError(ValueError):
    """An image that cannot be used; the message names the file."""


def list_images(inputs: Iterable[str | Path]) -> list[str]:
    """Find the images that are meant.

    Args:
        inputs: Files (kept as they are, be they missing), folders (searched to the bottom for the
            usual endings), glob patterns, ``**`` included, and URLs (kept).

    Returns:
        Paths, those of a folder or pattern in sorted order; one that is meant twice comes once.

    Raises:
        FileNotFoundError: If a folder holds no image, or a pattern matches none.
    """
    found: dict[str, None] = {}
    for item in map(str, inputs):
        if '://' not in item and Path(item).is_dir():
            files = sorted(
                str(path)
                for path in Path(item).rglob('*')
                if path.suffix.lower() in SUFFIXES and path.is_file()
            )
            if not files:
                raise FileNotFoundError(
                    f'Folder {item} holds no image: expected files ending in {", ".join(SUFFIXES)}.'
                )
        elif '://' not in item and has_magic(item) and not Path(item).exists():
            files = sorted(path for path in glob(item, recursive=True) if Path(path).is_file())
            if not files:
                raise FileNotFoundError(f'No file matches the pattern {item}.')
        else:
            files = [item]
        found.update(dict.fromkeys(files))
    return list(found)


def read_image(path: str, background: int = 255, max_pixels: int = 100_000_000) -> np.ndarray:
    """Read a file or an ``http(s)`` URL; see :func:`decode_image`.

    Raises:
        OSError: If it cannot be read.
        ImageError: If it is no image.
    """
    if path.startswith(('http://', 'https://')):
        with urllib.request.urlopen(path, timeout=TIMEOUT) as answer:
            content = answer.read()
    else:
        content = Path(path).read_bytes()
    return decode_image(content, path, background, max_pixels)


def decode_image(
    content: bytes, source: str, background: int = 255, max_pixels: int = 100_000_000
) -> np.ndarray:
    """Decode the bytes of an image file.

    The first frame of an animated one, upright by its EXIF orientation.

    Args:
        content: The file's bytes.
        source: The file's name, for the error.
        background: Grey value (0-255) under transparent pixels.
        max_pixels: Refuse larger images before they are decoded.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        ImageError: If that fails.
    """
    if not content:
        raise ImageError(f'Image {source} is empty: the file has 0 bytes.')
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                'ignore', Image.DecompressionBombWarning
            )  # max_pixels is the limit here
            image = Image.open(io.BytesIO(content))
        if image.width * image.height > max_pixels:
            raise ImageError(
                f'Image {source} has {image.width} x {image.height} pixels: expected at most '
                f'{max_pixels} in all. Shrink it, or raise max_pixels of LoadCheckedImage.'
            )
        image.load()
        return np.asarray(_to_rgb(ImageOps.exif_transpose(image), background))
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(
            f'Image {source} cannot be decoded ({len(content)} bytes): no format that Pillow knows.'
        ) from error
    except Exception as error:  # Pillow's decoders raise many kinds for broken files
        raise ImageError(
            f'Image {source} cannot be decoded ({len(content)} bytes): {error}.'
        ) from error


def _to_rgb(image: Image.Image, background: int) -> Image.Image:
    if image.mode.startswith('I') or image.mode == 'F':
        image = _to_8_bit(image)
    if image.has_transparency_data:
        image = image.convert('RGBA')
        under = Image.new('RGBA', image.size, (background, background, background, 255))
        image = Image.alpha_composite(under, image)
    return image.convert('RGB')


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
    """Do what the model's test pipeline and data preprocessor do.

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
    """Resize as OpenCV's INTER_LINEAR does, in its fixed-point arithmetic.

    Two taps an axis, no smoothing when shrinking.

    Pillow's own bilinear filter smooths, so that a model trained behind OpenCV's would see other
    images; and even grey values that are off by one move scores.

    Args:
        image: (H, W, 3) uint8.
        size: Width and height wanted.
    """
    x0, x1, ax, bx = _taps(image.shape[1], size[0], clip_weights=True)
    y0, y1, ay, by = _taps(image.shape[0], size[1], clip_weights=False)
    rows = np.unique(np.concatenate([y0, y1]))  # the others are never looked at
    place = np.zeros(image.shape[0], dtype=np.int64)
    place[rows] = np.arange(len(rows))
    part = image[rows].astype(np.int32)
    across = (part[:, x0] * ax[:, None] + part[:, x1] * bx[:, None]) >> 4  # (rows, width, 3)
    values = (across[place[y0]] * ay[:, None, None] >> 16) + (
        across[place[y1]] * by[:, None, None] >> 16
    )
    return ((values + 2) >> 2).clip(0, 255).astype(np.uint8)


def _taps(
    old: int, new: int, clip_weights: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Give, for every new pixel, the two old ones around its centre and their weights, in 1/2048.

    At the border both taps are the same pixel; OpenCV gives one of them all the weight across, and
    shares it out down.
    """
    centre = ((np.arange(new, dtype=np.float64) + 0.5) * (old / new) - 0.5).astype(np.float32)
    if clip_weights:
        centre = centre.clip(0, old - 1)
    first = np.floor(centre).astype(np.int64)
    weight = centre - first.astype(np.float32)
    parts = (np.rint(part * np.float32(2048)).astype(np.int32) for part in (1 - weight, weight))
    return first.clip(0, old - 1), (first + 1).clip(0, old - 1), *parts


def _resize(image: np.ndarray, step: dict[str, Any]) -> np.ndarray:
    return _scale(image, tuple(step['scale']), step['backend'])


def _resize_edge(image: np.ndarray, step: dict[str, Any]) -> np.ndarray:
    (height, width), scale = image.shape[:2], step['scale']
    size = (
        (scale, int(scale * height / width))
        if width < height
        else (int(scale * width / height), scale)
    )
    return _scale(image, size, step['backend'])


def _center_crop(image: np.ndarray, step: dict[str, Any]) -> np.ndarray:
    (height, width), (w, h) = image.shape[:2], step['size']
    y, x = max(0, round((height - h) / 2)), max(0, round((width - w) / 2))
    return image[y : y + h, x : x + w]


def _scale(image: np.ndarray, size: tuple[int, int], backend: str) -> np.ndarray:
    if backend == 'pillow':
        return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
    return resize_bilinear(image, size)


TRANSFORMS = {'resize': _resize, 'resize_edge': _resize_edge, 'center_crop': _center_crop}
