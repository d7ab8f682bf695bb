"""Reading images: any mode to 8-bit BGR, and never a broken one without an error."""

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine import fileio
from mmpretrain.registry import TRANSFORMS

from ...deploy.images import ImageError, decode_image
from ...utils.checks import check_positive

__all__ = ['ImageError', 'LoadCheckedImage', 'decode_image']


@TRANSFORMS.register_module()
class LoadCheckedImage(BaseTransform):
    """Load an image with Pillow; any mode and depth become 8-bit BGR, transparency the background.

    OpenCV decodes the intact half of a truncated file without a word; Pillow refuses it.

    Required key: ``img_path``. Added keys: ``img`` (H, W, 3) uint8 BGR, ``img_shape``,
    ``ori_shape``.

    Args:
        background: Grey value (0-255) that shows through transparent pixels.
        max_pixels: Refuse larger images before they are decoded.
        backend_args: Those of MMEngine's file backends.

    Raises:
        FileNotFoundError: If there is no such file.
        ImageError: If the file is empty, truncated, too large or no image.
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self, background: int = 255, max_pixels: int = 100_000_000, backend_args: dict | None = None
    ) -> None:
        check_positive(max_pixels=max_pixels)
        if background not in range(256):
            raise ValueError(
                f'Expected `background` to be a grey value in 0..255, but got {background!r}.'
            )
        self.background = background
        self.max_pixels = max_pixels
        self.backend_args = backend_args

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Read ``results['img_path']``."""
        path = results['img_path']
        if self.backend_args is None and not fileio.isfile(path):
            hint = (
                ' Its path has backslashes, which separate folders on Windows only.'
                if '\\' in path
                else ''
            )
            raise FileNotFoundError(f'Image {path} does not exist.{hint}')
        image = decode_image(
            fileio.get(path, backend_args=self.backend_args), path, self.background, self.max_pixels
        )
        results['img'] = np.ascontiguousarray(image[..., ::-1])
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(background={self.background}, max_pixels={self.max_pixels})'
