"""Reads images of any mode as 8-bit BGR; a broken one is always an error."""

from typing import Any

import numpy as np
from mmcv.image import rgb2bgr
from mmcv.transforms import BaseTransform
from mmengine import fileio
from mmpretrain.registry import TRANSFORMS

from ...deploy.image_files import MAX_PIXELS, fetch_url, read_file
from ...deploy.images import MAX_PIXELS_OPTION, ImageError, decode_image
from ...deploy.sources import check_array
from ...utils.checks import check_positive

__all__ = ['ImageError', 'LoadCheckedImage', 'decode_image', 'read_content']


@TRANSFORMS.register_module()
class LoadCheckedImage(BaseTransform):
    """Load an image with Pillow; any mode and depth become 8-bit BGR, transparency the background.

    OpenCV silently decodes the intact half of a truncated file; Pillow refuses it.

    Required key: ``img_path``; or ``img``, as MMPretrain's own inferencers load it themselves.
    Added keys: ``img`` (H, W, 3) uint8 BGR, ``img_shape``, ``ori_shape``.

    Args:
        background: Grey value (0-255) that shows through transparent pixels.
        max_pixels: Refuse larger images before they are decoded.
        backend_args: Those of MMEngine's file backends.

    Attributes:
        option: How the user raises ``max_pixels``, for the error.

    Raises:
        FileNotFoundError: If there is no such file.
        ImageError: If the file is empty, truncated, too large or no image.
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        background: int = 255,
        max_pixels: int = MAX_PIXELS,
        backend_args: dict | None = None,
    ) -> None:
        check_positive(max_pixels=max_pixels)
        if background not in range(256):
            raise ValueError(
                f'Expected `background` to be a grey value in 0..255, but got {background!r}.'
            )

        self.background = background
        self.max_pixels = max_pixels
        self.backend_args = backend_args
        self.option = MAX_PIXELS_OPTION

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Read ``results['img_path']``; without one, take the array that is there already."""
        if 'img_path' not in results and isinstance(results.get('img'), np.ndarray):
            image = np.ascontiguousarray(check_array(results['img']))
        else:
            image = rgb2bgr(self.read(results['img_path']))  # many times as fast as a slice

        results['img'] = image
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results

    def read(self, path: str) -> np.ndarray:
        """Read a file or URL, to (H, W, 3) uint8 RGB."""
        content = read_content(path, self.max_pixels, self.backend_args)
        return decode_image(content, path, self.background, self.max_pixels, self.option)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(background={self.background}, max_pixels={self.max_pixels})'


def read_content(
    path: str,
    max_pixels: int = MAX_PIXELS,
    backend_args: dict[str, Any] | None = None,
) -> bytes:
    """Read an image file from wherever MMEngine's file backends reach.

    Args:
        path: A file or URL.
        max_pixels: Refuse files that are larger than so many pixels can be.
        backend_args: Those of MMEngine's file backends. Defaults to None: by the beginning of the
            path; this machine's files and ``http(s)`` are read without them, which have no size
            limit.

    Raises:
        FileNotFoundError: If there is no such file.
        ImageError: If it cannot be fetched, is a device or pipe, or too large.
    """
    if backend_args is None and path.startswith(('http://', 'https://')):
        return fetch_url(path, max_pixels)
    if backend_args is None and '://' not in path:
        return _read_local(path, max_pixels)

    try:
        return fileio.get(path, backend_args=backend_args)
    except (KeyError, ImportError) as error:
        # MMEngine knows no such scheme, or its client is not installed.
        raise ImageError(
            f'Image {path} cannot be fetched: {type(error).__name__}: {error}.'
        ) from error


def _read_local(path: str, max_pixels: int) -> bytes:
    try:
        return read_file(path, max_pixels)
    except FileNotFoundError as error:
        if '\\' not in path:
            raise
        raise FileNotFoundError(
            f'{error} Its path has backslashes, which separate folders on Windows only.'
        ) from error
