"""Draws the records of models into picture files."""

import os
import os.path as osp
from collections.abc import Sequence
from typing import Any

import numpy as np

from .panels import Prediction, draw_predictions

MAX_STEM = 200  # bytes: file systems take 255, of which number and ending need some


def from_record(
    record: dict[str, Any],
    image: np.ndarray,
    title: str,
    labels: Sequence[int] | None = None,
) -> Prediction:
    """Convert a record to a prediction for drawing.

    Args:
        record: See :func:`~morn_plugin.deploy.labels.make_record`.
        image: (H, W, 3) uint8, RGB.
        title: Usually the file's name.
        labels: The predicted labels. Defaults to None, those of the record.
    """
    steps = record.get('step_scores')
    return Prediction(
        image,
        title,
        None,
        record['labels'] if labels is None else labels,
        np.asarray(record['scores']),
        None if steps is None else np.asarray(steps),
        record.get('path'),
    )


def draw_record(
    record: dict[str, Any],
    image: np.ndarray,
    classes: Sequence[str],
    out_dir: str,
    index: int,
    source: str,
) -> str:
    """Draw one image with its labels, steps and path into a folder.

    Args:
        record: See :func:`~morn_plugin.deploy.labels.make_record`.
        image: (H, W, 3) uint8, RGB.
        classes: Names of the C labels.
        out_dir: The folder.
        index: The image's index, which is put before its name.
        source: Its path or URL.

    Returns:
        The file written.
    """
    path = picture_path(out_dir, index, source)
    draw_predictions([from_record(record, image, osp.basename(source))], classes, path)
    return path


def picture_path(out_dir: str, index: int, source: str) -> str:
    """Return the path of an image's picture: number and name of the image.

    Examples:
        >>> picture_path('out', 3, 'photos/cat.jpg')
        'out/000003_cat.png'
    """
    stem = osp.splitext(osp.basename(source))[0]
    stem = os.fsdecode(os.fsencode(stem)[:MAX_STEM])
    return osp.join(out_dir, f'{index:06d}_{stem}.png')
