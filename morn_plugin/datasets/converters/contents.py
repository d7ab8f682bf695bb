"""What the image files hold: a hash of the bytes, and a perceptual hash of the picture."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from morn_plugin.datasets.near_duplicates import (
    NEAR_DISTANCE,
    connect,
    fingerprint,
    near_duplicates,
)
from morn_plugin.deploy.images import ImageError, decode_image

from .images import parallel_map

FLAT_BITS = 16  # of 512; with fewer, two pictures of a few strokes each pass for the same
HASHED_SIDE = 1024  # pixels; larger pictures are shrunk by a whole number first, for speed


@dataclass(frozen=True)
class Content:
    """One image file as it was read.

    Attributes:
        digest: SHA-256 of the bytes; of the name where there is no file.
        bits: Perceptual hash, bool (B,), or None where the file cannot be decoded.
        problem: Why it cannot be decoded, or ''.
    """

    digest: bytes
    bits: np.ndarray | None = None
    problem: str = ''


def read_contents(
    root: Path, img_paths: Sequence[str], workers: int, perceptual: bool = True
) -> list[Content]:
    """Hash image files.

    A file that is not there has no bytes; its name stands in, so that it can still be counted.

    Args:
        root: The directory that the paths are relative to.
        img_paths: N relative paths.
        workers: Number of threads.
        perceptual: Whether to decode the pictures too.
    """
    read = partial(_read_content, root, perceptual)
    return parallel_map(read, img_paths, 'Reading the images', workers)


def _read_content(root: Path, perceptual: bool, img_path: str) -> Content:
    path = root / img_path
    if not path.is_file():
        return Content(hashlib.sha256(img_path.encode()).digest())

    data = path.read_bytes()
    digest = hashlib.sha256(data).digest()
    if not perceptual:
        return Content(digest)
    try:
        picture = Image.fromarray(decode_image(data, str(path)))
    except ImageError as error:
        return Content(digest, problem=str(error))

    factor = max(picture.size) // HASHED_SIDE
    return Content(digest, fingerprint(picture.reduce(factor) if factor > 1 else picture))


def group_contents(contents: Sequence[Content], distance: float = NEAR_DISTANCE) -> np.ndarray:
    """Number the groups of copies and near-copies, chains of such pairs included.

    Args:
        contents: Of N images.
        distance: The largest distance of near-copies, 0-1; 0 for copies of bytes alone.

    Returns:
        Integer array (N,), the group of every image.
    """
    first: dict[bytes, int] = {}
    copies = [
        (first.setdefault(content.digest, index), index) for index, content in enumerate(contents)
    ]
    pairs = [np.array(copies, dtype=np.int64).reshape(-1, 2)]

    compared = [
        index for index, content in enumerate(contents) if distance > 0 and _is_comparable(content)
    ]
    if compared:
        hashes = np.stack([_bits(contents[index]) for index in compared])
        pairs.append(np.array(compared)[near_duplicates(hashes, distance)])
    return connect(len(contents), np.concatenate(pairs))


def _is_comparable(content: Content) -> bool:
    return content.bits is not None and int(content.bits.sum()) >= FLAT_BITS


def _bits(content: Content) -> np.ndarray:
    assert content.bits is not None
    return content.bits
