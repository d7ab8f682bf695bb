"""Reads image files: a hash of the bytes, and a perceptual hash of the picture."""

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

FLAT_BITS = 16  # of 512; with fewer, two pictures of a few strokes would count as the same
HASHED_SIDE = 1024  # pixels; larger pictures are shrunk by a whole number first, for speed


@dataclass(frozen=True)
class Content:
    """One image file.

    Attributes:
        digest: SHA-256 of the bytes, or of the name if there is no file.
        bits: Perceptual hash, bool (B,), or None if the file cannot be decoded.
        problem: Why it cannot be decoded, or ''.
    """

    digest: bytes
    bits: np.ndarray | None = None
    problem: str = ''


def read_contents(
    root: Path,
    img_paths: Sequence[str],
    workers: int,
    perceptual: bool = True,
) -> list[Content]:
    """Hash image files.

    The name of a missing file is hashed instead, so that the file still counts.

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


def find_copies(contents: Sequence[Content]) -> np.ndarray:
    """Find the files that are copies, byte for byte, of an earlier one.

    Args:
        contents: The contents of N images.

    Returns:
        Integer array (P, 2) of index pairs: the first file with these bytes, and its copy.
    """
    first: dict[bytes, int] = {}
    pairs = []
    for index, content in enumerate(contents):
        original = first.setdefault(content.digest, index)
        if original != index:
            pairs.append((original, index))
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def find_near_copies(contents: Sequence[Content], distance: float = NEAR_DISTANCE) -> np.ndarray:
    """Find the pairs of pictures that look nearly the same but are not copies.

    Pictures that are too flat to compare are in no pair.

    Args:
        contents: The contents of N images.
        distance: The largest distance of near-copies, 0-1; 0 for none at all.

    Returns:
        Integer array (P, 2) of index pairs, first below second.
    """
    compared: list[int] = []
    hashes: list[np.ndarray] = []
    for index, content in enumerate(contents):
        if distance > 0 and content.bits is not None and content.bits.sum() >= FLAT_BITS:
            compared.append(index)
            hashes.append(content.bits)

    if not compared:
        return np.zeros((0, 2), dtype=np.int64)

    pairs = np.array(compared)[near_duplicates(np.stack(hashes), distance)]
    other = [contents[a].digest != contents[b].digest for a, b in pairs.tolist()]
    return pairs[np.array(other, dtype=bool)]


def group_contents(contents: Sequence[Content], distance: float = NEAR_DISTANCE) -> np.ndarray:
    """Number the groups of copies and near-copies, chains of such pairs included.

    Args:
        contents: The contents of N images.
        distance: The largest distance of near-copies, 0-1; 0 for exact copies only.

    Returns:
        Integer array (N,), the group of every image.
    """
    pairs = [find_copies(contents), find_near_copies(contents, distance)]
    return connect(len(contents), np.concatenate(pairs))
