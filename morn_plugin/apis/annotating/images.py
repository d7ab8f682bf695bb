"""Looks at the user's images: how large they are, and how long reading one takes."""

import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mmpretrain.registry import TRANSFORMS
from PIL import Image

from ...utils.spacing import evenly_spaced

OPENED, READ = 50, 8  # images that are opened for their size, and that are read
UNKNOWN_EDGE = 128  # pixels, where none can be opened


@dataclass(frozen=True)
class Images:
    """The user's images.

    Attributes:
        number: Of the training side.
        edge: Median of their edges, in pixels: of squares of the same area.
        reading: Seconds that one takes to read.
    """

    number: int
    edge: int
    reading: float = 0.0


def look_at(root: Path, files: list[str], number: int) -> Images:
    """Open some of the images, and read a few.

    Args:
        root: The image folder.
        files: Image files relative to it; those that cannot be opened are skipped.
        number: Of the training side.
    """
    edges: dict[str, float] = {}
    for name in evenly_spaced(files, OPENED):
        try:
            with Image.open(root / name) as image:
                edges[name] = math.sqrt(image.width * image.height)
        except OSError:
            continue
    edge = round(np.median(list(edges.values()))) if edges else UNKNOWN_EDGE
    return Images(number, edge, _time_reading([root / name for name in edges]))


def _time_reading(paths: list[Path]) -> float:
    """Return the mean time of a few images, in seconds."""
    chosen = evenly_spaced(paths, READ)
    load = TRANSFORMS.build(dict(type='LoadCheckedImage'))
    start = time.perf_counter()
    for path in chosen:
        load(dict(img_path=str(path)))
    return (time.perf_counter() - start) / max(len(chosen), 1)
