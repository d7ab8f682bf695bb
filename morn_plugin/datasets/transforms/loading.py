"""Reading images: any mode to 8-bit BGR, and never a broken one without an error."""

import io
import warnings
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine import fileio
from mmpretrain.registry import TRANSFORMS
from PIL import Image, ImageOps

from ...utils.checks import check_positive


class ImageError(ValueError):
    """An image that cannot be used; the message names the file."""


@TRANSFORMS.register_module()
class LoadCheckedImage(BaseTransform):
    """Load an image with Pillow; any mode and depth become 8-bit BGR, transparency the background.

    OpenCV decodes the intact half of a truncated file without a word; Pillow refuses it.

    Required key: ``img_path``. Added keys: ``img`` (H, W, 3) uint8 BGR, ``img_shape``, ``ori_shape``.

    Args:
        background: Grey value (0-255) that shows through transparent pixels.
        max_pixels: Refuse larger images before they are decoded.
        backend_args: Those of MMEngine's file backends.

    Raises:
        FileNotFoundError: If there is no such file.
        ImageError: If the file is empty, truncated, too large or no image.
        ValueError: If an argument is out of its range.
    """

    def __init__(self, background: int = 255, max_pixels: int = 100_000_000, backend_args: dict | None = None) -> None:
        check_positive(max_pixels=max_pixels)
        if background not in range(256):
            raise ValueError(f'Expected `background` to be a grey value in 0..255, but got {background!r}.')
        self.background = background
        self.max_pixels = max_pixels
        self.backend_args = backend_args

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Read ``results['img_path']``."""
        path = results['img_path']
        if self.backend_args is None and not fileio.isfile(path):
            hint = ' Its path has backslashes, which separate folders on Windows only.' if '\\' in path else ''
            raise FileNotFoundError(f'Image {path} does not exist.{hint}')
        image = decode_image(fileio.get(path, backend_args=self.backend_args), path, self.background, self.max_pixels)
        results['img'] = np.ascontiguousarray(image[..., ::-1])
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(background={self.background}, max_pixels={self.max_pixels})'


def decode_image(content: bytes, source: str, background: int = 255, max_pixels: int = 100_000_000) -> np.ndarray:
    """Decode the bytes of an image file; the first frame of an animated one, upright by its EXIF orientation.

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
            warnings.simplefilter('ignore', Image.DecompressionBombWarning)  # max_pixels is the limit here
            image = Image.open(io.BytesIO(content))
        if image.width * image.height > max_pixels:
            raise ImageError(f'Image {source} has {image.width} x {image.height} pixels: expected at most {max_pixels} '
                             'in all. Shrink it, or raise max_pixels of LoadCheckedImage.')
        image.load()
        return np.asarray(_to_rgb(ImageOps.exif_transpose(image), background))
    except ImageError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds for broken files
        raise ImageError(f'Image {source} cannot be decoded ({len(content)} bytes): {error}.') from error


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
        raise ValueError(f'expected 8 or 16 bits a channel, but got mode {image.mode} with values in '
                         f'{values.min()}..{values.max()}')
    return Image.fromarray((values.astype(np.uint16) >> 8).astype(np.uint8))
