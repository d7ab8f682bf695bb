"""Cached files: the outputs of a CNN for every image of a data set.

One safetensors file has scores, labels, image paths, class names and their origin, and optionally
logits, features and feature maps. The format is a plain header with plain arrays: loading runs no
code, the header reveals a truncated file, and the arrays are mapped, not parsed (HDF5 and Arrow are
larger dependencies without an advantage here).

Arrays, N images and C classes: ``scores`` (N, C) float32; ``labels`` and ``difficult`` int32, the
class indices of all images one after the other, with ``labels_start`` and ``difficult_start`` (N +
1,) int64 saying where each image begins; ``img_paths`` uint8, the bytes of each path (UTF-8 as a
rule) and a line feed after it. Format 2 has some of these as well: ``logits`` (N, C) and
``features`` (N, D), float32; ``feature_map`` (N, D, H, W) and ``stage_maps.0``, ``stage_maps.1``
..., float16. Header: ``format``, ``classes`` (JSON), and the provenance.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from ...utils.checks import describe_missing
from ...utils.files import PathLike, sha256
from ..annotations import (
    AnnotationError,
    Annotations,
    check_annotations,
    check_classes,
    compare_classes,
)
from .header import ARRAYS, check_arrays, read_class_names, read_header

FORMAT = 'morn_plugin scores 1'
FORMAT_2 = 'morn_plugin scores 2'
DTYPES = dict(logits='float32', features='float32', feature_map='float16', stage_maps='float16')
STAGE_MAP = re.compile(r'stage_maps\.(\d+)')


class ScoreFileError(ValueError):
    """A cached file that cannot be used; the message names file and field."""


@dataclass
class ScoreFile:
    """The content of a cached file.

    Attributes:
        scores: (N, C) float32, 0-1.
        annotations: Classes, labels and image paths, in the order of the rows.
        provenance: ``config``, ``checkpoint``, ``checkpoint_sha256``, ``transforms``, ``ann_file``,
            ...
        inputs: ``logits``, ``features``, ``feature_map`` and, as a tuple, ``stage_maps``, if the
            file has them. Those of a loaded file are mapped, that is, read on use.
    """

    scores: np.ndarray
    annotations: Annotations
    provenance: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, Any] = field(default_factory=dict)


def save_scores(path: PathLike, file: ScoreFile) -> None:
    """Check the content and write it atomically.

    Raises:
        ScoreFileError: If scores and labels do not fit, or a score is not a probability.
    """
    from .writer import CachedFileWriter

    data_list = file.annotations.data_list
    check_scores(file.scores, len(data_list), len(file.annotations.classes), str(path))
    arrays = {'scores': file.scores, **flatten_inputs(file.inputs)}

    with CachedFileWriter(path, file.annotations, file.provenance) as writer:
        writer.write(np.arange(len(data_list)), arrays)


def load_scores(
    path: PathLike,
    classes: Sequence[str] | None = None,
    checkpoint: PathLike | None = None,
) -> ScoreFile:
    """Read and check a cached file.

    Args:
        path: The file.
        classes: Class names that it must have, in this order. Defaults to None, any.
        checkpoint: The checkpoint that the scores must come from. Defaults to None, any.

    Raises:
        FileNotFoundError: If there is no such file.
        ScoreFileError: If it is truncated, has a different format, or has invalid content.
        AnnotationError: If its classes are not the expected ones, or its labels are not valid.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f'Score file {describe_missing(path)} tools/extract_scores.py makes it.'
        )

    header, arrays = _read(path)
    found = header.get('format')
    if found not in (FORMAT, FORMAT_2):
        raise ScoreFileError(
            f'{path}: expected `format` {FORMAT!r}, but got {found!r} (or {FORMAT_2!r}).'
        )

    own = read_class_names(header.get('classes'), str(path), ScoreFileError)
    if classes is not None:
        compare_classes(own, classes, f'{path}: `classes`', 'the data set')
    annotations = _read_annotations(arrays, own, str(path))
    check_scores(arrays['scores'], len(annotations), len(own), str(path))
    inputs = _read_inputs(path, len(annotations), len(own))

    provenance = {key: value for key, value in header.items() if key not in ('format', 'classes')}
    if checkpoint is not None:
        check_origin(provenance, checkpoint, str(path))
    return ScoreFile(arrays['scores'], annotations, provenance, inputs)


def read_origin(path: PathLike) -> tuple[list[str], dict[str, str]]:
    """Read the class names and the provenance of a cached file, but not its arrays.

    Raises:
        FileNotFoundError: If there is no such file.
        ScoreFileError: If it is truncated, or its header is invalid.
        AnnotationError: If its class names are not valid.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f'Score file {describe_missing(path)} tools/extract_scores.py makes it.'
        )

    try:
        with safe_open(Path(path), framework='numpy') as file:
            header = dict(file.metadata() or {})
    except (SafetensorError, UnicodeDecodeError) as error:
        raise ScoreFileError(f'{path}: expected a whole safetensors file, but {error}.') from error

    classes = read_class_names(header.pop('classes', None), str(path), ScoreFileError)
    return check_classes(classes, str(path)), header


def check_origin(
    provenance: dict[str, str],
    checkpoint: PathLike,
    source: str,
) -> None:
    """Require that the scores came from a checkpoint.

    Raises:
        ScoreFileError: If the hash of the checkpoint differs from the recorded one.
    """
    recorded = provenance.get('checkpoint_sha256')
    found = sha256(checkpoint)
    if recorded != found:
        raise ScoreFileError(
            f'{source}: `checkpoint_sha256` is {recorded}, but {checkpoint} has {found}: the '
            f'scores came from another checkpoint ({provenance.get("checkpoint")}). Extract them '
            'again with tools/extract_scores.py.'
        )


def flatten_inputs(inputs: dict[str, Any]) -> dict[str, np.ndarray]:
    """Name the arrays of a file: a tuple of maps becomes ``stage_maps.0``, ``stage_maps.1`` ..."""
    arrays: dict[str, np.ndarray] = {}
    for name, value in inputs.items():
        if isinstance(value, tuple):
            arrays |= {f'{name}.{index}': part for index, part in enumerate(value)}
        else:
            arrays[name] = value
    return arrays


def check_scores(
    scores: np.ndarray,
    num_images: int,
    num_classes: int,
    source: str,
    first_row: int = 0,
) -> None:
    """Raise unless scores are probabilities, float32 (N, C).

    Args:
        scores: The values to check.
        num_images: N.
        num_classes: C.
        source: The file, for the message.
        first_row: The number of the first row in the file.

    Raises:
        ScoreFileError: Names the file, and the first wrong row and class.
    """
    if scores.dtype != np.float32:
        raise ScoreFileError(f'{source}: expected `scores` of float32, but got {scores.dtype}.')
    if scores.shape != (num_images, num_classes):
        raise ScoreFileError(
            f'{source}: expected `scores` of shape {(num_images, num_classes)}, images by classes, '
            f'but got {scores.shape}.'
        )

    right = (scores >= 0) & (scores <= 1)  # NaN is neither
    if not right.all():
        row, label = np.argwhere(~right)[0]
        raise ScoreFileError(
            f'{source}: expected `scores` to be probabilities in 0-1, but row {first_row + row}, '
            f'class {label} is {scores[row, label]}.'
        )


def check_finite(
    name: str,
    values: np.ndarray,
    source: str,
    first_row: int = 0,
) -> None:
    """Raise unless every value is finite.

    Raises:
        ScoreFileError: Names the file, the array and the first wrong row.
    """
    if not np.isfinite(values).all():
        row = np.argwhere(~np.isfinite(values))[0][0]
        raise ScoreFileError(
            f'{source}: expected `{name}` to be finite, but row {first_row + row} has NaN or '
            'infinity.'
        )


def _read(path: PathLike) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Read the header and the unmapped arrays."""
    try:
        with safe_open(Path(path), framework='numpy') as file:
            entries, _ = read_header(path, ScoreFileError)
            header = dict(file.metadata() or {})
            if header.get('format') not in (FORMAT, FORMAT_2):
                return header, {}
            check_arrays(entries, str(path), ScoreFileError)
            return header, {name: file.get_tensor(name) for name in ARRAYS}
    except (SafetensorError, UnicodeDecodeError) as error:
        raise ScoreFileError(
            f'{path}: expected a whole safetensors file ({os.path.getsize(path)} bytes found), but '
            f'{error}.'
        ) from error


def _is_input(name: str) -> bool:
    return name in DTYPES or STAGE_MAP.fullmatch(name) is not None


def _read_inputs(
    path: PathLike,
    num_images: int,
    num_classes: int,
) -> dict[str, Any]:
    """Map the arrays of format 2, and check their types and sizes; maps are not read for it."""
    arrays: dict[str, np.ndarray] = {}
    for name, (dtype, shape, offset) in read_layout(path).items():
        if not _is_input(name):
            continue

        expected = DTYPES[name.split('.')[0]]
        if dtype != expected:
            raise ScoreFileError(f'{path}: expected `{name}` of {expected}, but got {dtype}.')

        dims = 2 if expected == 'float32' else 4
        width = num_classes if name == 'logits' else None
        if len(shape) != dims or shape[0] != num_images or (width and shape[1] != width):
            raise ScoreFileError(
                f'{path}: expected `{name}` to have {dims} dimensions, the first of {num_images} '
                f'images, but got the shape {tuple(shape)}.'
            )

        arrays[name] = np.memmap(path, dtype, 'c', offset, tuple(shape))

    for name in ('logits', 'features'):
        if name in arrays:
            check_finite(name, arrays[name], str(path))

    return _gather_stages(arrays)


def _gather_stages(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    inputs: dict[str, Any] = {}
    stages: dict[int, np.ndarray] = {}
    for name, value in arrays.items():
        if '.' in name:
            stages[int(name.removeprefix('stage_maps.'))] = value
        else:
            inputs[name] = value

    if stages:
        inputs['stage_maps'] = tuple(stages[number] for number in sorted(stages))
    return inputs


def read_layout(path: PathLike) -> dict[str, tuple[str, list[int], int]]:
    """Read the positions of the arrays in a complete safetensors file.

    Returns:
        By name NumPy's type (float16, float32; others are left out), the shape, and the offset in
        bytes from the beginning of the file.
    """
    entries, start = read_header(path, ScoreFileError)
    return {
        name: (entry.kind, entry.shape, start + entry.data_offsets[0])
        for name, entry in entries.items()
    }


def _read_annotations(
    arrays: dict[str, np.ndarray],
    classes: list[str],
    source: str,
) -> Annotations:
    names = arrays['img_paths'].tobytes().decode(errors='surrogateescape').split('\n')[:-1]
    data_list: list[dict[str, Any]] = [dict(img_path=name) for name in names]
    for key, target in (('labels', 'gt_label'), ('difficult', 'gt_label_difficult')):
        start = arrays[f'{key}_start']
        ends = (0, len(arrays[key]))
        divides = len(start) == len(names) + 1 and (start[0], start[-1]) == ends
        if not divides or (np.diff(start) < 0).any():
            raise ScoreFileError(
                f'{source}: `{key}_start` does not divide {len(arrays[key])} labels among '
                f'{len(names)} images.'
            )

        parts = np.split(arrays[key], start[1:-1]) if names else []
        for item, labels in zip(data_list, parts, strict=True):
            if target == 'gt_label' or len(labels):
                item[target] = labels.tolist()

    content = dict(metainfo=dict(classes=classes), data_list=data_list)
    return check_annotations(content, source)


__all__ = [
    'AnnotationError',
    'ScoreFile',
    'ScoreFileError',
    'check_origin',
    'load_scores',
    'save_scores',
    'sha256',
]
