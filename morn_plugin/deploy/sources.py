"""The inputs that can be predicted: files, and pictures in memory."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from os import PathLike
from typing import IO, Any, TypeGuard

import numpy as np
from PIL import Image

from .image_files import MAX_PIXELS, describe, find_files, read_stream
from .image_formats import FORMATS, ImageError, check_size
from .images import MAX_PIXELS_OPTION, decode_image, named_errors, to_array

Encoded = bytes | bytearray | memoryview
# A path or URL; or in memory: the bytes of an image file, one open for reading, a picture of
# Pillow, or an array.
Source = str | PathLike | Encoded | IO[bytes] | Image.Image | np.ndarray

ACCEPTED = (
    'paths, URLs, folders and patterns; and in memory the bytes of an image file, a file opened '
    'for reading bytes, a PIL.Image, or a NumPy array (H, W, 3) of uint8'
)


class LazyImage(ABC):
    """An image that is read when its turn comes, with a name for its record.

    Attributes:
        name: As in the record, such as ``'shards/0001.tar/cat.jpg'``.
    """

    name: str

    @abstractmethod
    def read(self, size: int = -1) -> bytes:
        """Return the bytes of the image file, ``size`` of them at most.

        Raises:
            ImageError: If it cannot be read.
        """


def iter_sources(inputs: Source | Iterable[Source]) -> Iterator[Any]:
    """Find the images that the inputs name; an iterator is read one item at a time.

    Args:
        inputs: As for :func:`list_sources`. An iterator is never held as a whole.

    Returns:
        Paths as text, and what is in memory as it is.

    Raises:
        FileNotFoundError: As there.
        TypeError: As there.
    """
    if isinstance(inputs, Iterator) and not is_in_memory(inputs):
        return (source for item in inputs for source in _find(item))
    return iter(list_sources(inputs))


def list_sources(inputs: Source | Iterable[Source]) -> list[Any]:
    """Find the images that inputs name, see :func:`~morn_plugin.deploy.image_files.list_images`.

    Args:
        inputs: One or several of what ``ACCEPTED`` names.

    Returns:
        Paths as text, and what is in memory as it is.

    Raises:
        FileNotFoundError: If a folder holds no image, or a pattern matches none.
        TypeError: If an input is of another kind.
    """
    if is_path(inputs) or is_in_memory(inputs):
        items: list[Any] = [inputs]
    elif isinstance(inputs, Iterable):
        items = list(inputs)
    else:
        raise _wrong_kind(inputs)

    return [source for item in items for source in _find(item)]


def _find(item: Any) -> list[Any]:
    if is_path(item):
        return list(find_files(item))
    if is_in_memory(item):
        return [item]
    raise _wrong_kind(item)


def is_path(item: object) -> TypeGuard[str | PathLike]:
    """Return whether a source is a path or URL."""
    return isinstance(item, (str, PathLike))


def is_in_memory(item: object) -> bool:
    """Return whether a source is a picture in memory."""
    return isinstance(item, (Encoded, Image.Image, np.ndarray)) or hasattr(item, 'read')


def read_memory(
    source: Any,
    background: int = 255,
    max_pixels: int = MAX_PIXELS,
    option: str = MAX_PIXELS_OPTION,
) -> np.ndarray:
    """Turn a picture in memory into an array; see :func:`~morn_plugin.deploy.images.decode_image`.

    An array is checked and returned unchanged.

    Returns:
        (H, W, 3) uint8; RGB, except for an array, whose channel order is unknown.

    Raises:
        ImageError: If it cannot be decoded.
        TypeError: If a file gives text.
        ValueError: If an array has another shape or type.
    """
    if isinstance(source, np.ndarray):
        return check_array(source)
    if isinstance(source, Image.Image):
        return _read_pillow(source, background, max_pixels, option)

    name = name_source(source)
    if not isinstance(source, Encoded):
        source = read_stream(source, name, max_pixels)
    return decode_image(bytes(source), name, background, max_pixels, option)


def name_source(source: object) -> str:
    """Return the path of a source, or a name for one in memory."""
    if is_path(source):
        return str(source)
    name = getattr(source, 'name', None) or getattr(source, 'filename', None)
    return name if isinstance(name, str) else 'in memory'


def name_record(source: object) -> str | None:
    """Return the ``img_path`` of the record of a source; None for a picture in memory."""
    if isinstance(source, LazyImage):
        return source.name
    return str(source) if is_path(source) else None


def check_array(image: np.ndarray) -> np.ndarray:
    """Raise unless an array is an image, (H, W, 3) uint8 with pixels in it."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ValueError(
            f'Expected an image array of shape (H, W, 3) and type uint8, but got {image.shape} and '
            f'{image.dtype}.'
        )
    return image


def _read_pillow(
    image: Image.Image,
    background: int,
    max_pixels: int,
    option: str,
) -> np.ndarray:
    """Decode a picture that the user opened; Pillow reads its pixels only now."""
    name = name_source(image)
    if image.format not in (None, *(kind.pillow_name for kind in FORMATS), 'MPO'):
        raise ImageError(
            f'Image {name} was opened as {image.format}: expected one of '
            f'{", ".join(kind.name for kind in FORMATS)}. Pass image.convert("RGB") if it is safe.'
        )

    with named_errors(name, option):
        check_size(*image.size, max_pixels)
        return to_array(image, background)


def _wrong_kind(item: object) -> TypeError:
    return TypeError(f'Expected {ACCEPTED}, but got {describe(item)}.')
