"""Score files: the CNN's label probabilities of a data set, cached.

One safetensors file holds scores, labels, image paths, class names and where they came from.
safetensors, because it is a
plain header and plain arrays: loading executes nothing, a truncated file is noticed from its
header, and the arrays are mapped, not parsed (HDF5 and Arrow are larger dependencies that offer
nothing more here).

Arrays, N images and C classes: ``scores`` (N, C) float32; ``labels`` and ``difficult`` int32, the
class indices of all images one after the other, with ``labels_start`` and ``difficult_start`` (N +
1,) int64 saying where each image begins; ``img_paths`` uint8, UTF-8 with a line feed after each
path. Header: ``format``, ``classes`` (JSON), and the provenance.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from .annotations import (
    AnnotationError,
    Annotations,
    PathLike,
    atomic_write,
    check_annotations,
    compare_classes,
)

FORMAT = 'morn_plugin scores 1'


class ScoreFileError(ValueError):
    """A score file that cannot be used; the message names file and field."""


@dataclass
class ScoreFile:
    """The content of a score file.

    Attributes:
        scores: (N, C) float32, 0-1.
        annotations: Classes, labels and image paths, in the order of the rows.
        provenance: ``config``, ``checkpoint``, ``checkpoint_sha256``, ``transforms``, ``ann_file``,
            ...
    """

    scores: np.ndarray
    annotations: Annotations
    provenance: dict[str, str] = field(default_factory=dict)


def save_scores(path: PathLike, file: ScoreFile) -> None:
    """Check the content and write it atomically.

    Raises:
        ScoreFileError: If scores and labels do not fit, or a score is not a probability.
    """
    data_list = file.annotations.data_list
    _check_scores(file.scores, len(data_list), len(file.annotations.classes), str(path))
    names = [item['img_path'] for item in data_list]
    if any('\n' in name for name in names):
        raise ScoreFileError(
            f'{path}: an image path has a line feed: {next(n for n in names if chr(10) in n)!r}.'
        )
    arrays = dict(
        scores=np.ascontiguousarray(file.scores),
        img_paths=np.frombuffer('\n'.join([*names, '']).encode(), dtype=np.uint8),
    )
    for key, source in (('labels', 'gt_label'), ('difficult', 'gt_label_difficult')):
        lists = [item.get(source, []) for item in data_list]
        arrays[key] = np.array([label for labels in lists for label in labels], dtype=np.int32)
        arrays[f'{key}_start'] = np.cumsum([0, *map(len, lists)]).astype(np.int64)
    header = dict(file.provenance, format=FORMAT, classes=json.dumps(file.annotations.classes))
    with atomic_write(path) as handle:
        handle.write(save(arrays, metadata=header))


def load_scores(
    path: PathLike, classes: Sequence[str] | None = None, checkpoint: PathLike | None = None
) -> ScoreFile:
    """Read and check a score file.

    Args:
        path: The file.
        classes: Class names that it must have, in this order. Defaults to None, any.
        checkpoint: The checkpoint that must have given the scores. Defaults to None, any.

    Raises:
        FileNotFoundError: If there is no such file.
        ScoreFileError: If it is truncated, of another format, or holds anything that is not as it
            should be.
        AnnotationError: If its classes are not those expected, or its labels not valid.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f'Score file {path} does not exist. tools/extract_scores.py makes it.'
        )
    header, arrays = _read(path)
    if header.get('format') != FORMAT:
        raise ScoreFileError(
            f'{path}: expected `format` {FORMAT!r}, but got {header.get("format")!r}.'
        )
    own = _read_classes(header, path)
    if classes is not None:
        compare_classes(own, classes, f'{path}: `classes`', 'the data set')
    annotations = _read_annotations(arrays, own, str(path))
    _check_scores(arrays['scores'], len(annotations), len(own), str(path))
    provenance = {key: value for key, value in header.items() if key not in ('format', 'classes')}
    if checkpoint is not None:
        check_origin(provenance, checkpoint, str(path))
    return ScoreFile(arrays['scores'], annotations, provenance)


def check_origin(provenance: dict[str, str], checkpoint: PathLike, source: str) -> None:
    """Require that the scores came from a checkpoint.

    Raises:
        ScoreFileError: If the hash of the checkpoint is another than the one recorded.
    """
    recorded, found = provenance.get('checkpoint_sha256'), sha256(checkpoint)
    if recorded != found:
        raise ScoreFileError(
            f'{source}: `checkpoint_sha256` is {recorded}, but {checkpoint} has {found}: the '
            f'scores came from another checkpoint ({provenance.get("checkpoint")}). Extract them '
            'again with tools/extract_scores.py.'
        )


def sha256(path: PathLike) -> str:
    """Give the SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _read(path: PathLike) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    try:
        with safe_open(Path(path), framework='numpy') as file:
            return dict(file.metadata() or {}), {
                name: file.get_tensor(name)
                for name in file.keys()  # noqa: SIM118  not a dict
            }
    except (SafetensorError, UnicodeDecodeError) as error:
        raise ScoreFileError(
            f'{path}: expected a whole safetensors file ({os.path.getsize(path)} bytes found), but '
            f'{error}.'
        ) from error


def _read_classes(header: dict[str, str], path: PathLike) -> list[str]:
    try:
        return list(json.loads(header.get('classes', '')))
    except (json.JSONDecodeError, TypeError) as error:
        raise ScoreFileError(
            f'{path}: expected `classes` in the header to be a JSON list, but {error}.'
        ) from error


def _read_annotations(
    arrays: dict[str, np.ndarray], classes: list[str], source: str
) -> Annotations:
    for name, dtype in (
        ('scores', 'float32'),
        ('img_paths', 'uint8'),
        ('labels', 'int32'),
        ('labels_start', 'int64'),
        ('difficult', 'int32'),
        ('difficult_start', 'int64'),
    ):
        if name not in arrays:
            raise ScoreFileError(f'{source}: the array `{name}` is missing; got {sorted(arrays)}.')
        if arrays[name].dtype != dtype:
            raise ScoreFileError(
                f'{source}: expected `{name}` of {dtype}, but got {arrays[name].dtype}.'
            )
    names = arrays['img_paths'].tobytes().decode().split('\n')[:-1]
    data_list = [dict(img_path=name) for name in names]
    for key, target in (('labels', 'gt_label'), ('difficult', 'gt_label_difficult')):
        start = arrays[f'{key}_start']
        if (
            len(start) != len(names) + 1
            or start[0] != 0
            or start[-1] != len(arrays[key])
            or (np.diff(start) < 0).any()
        ):
            raise ScoreFileError(
                f'{source}: `{key}_start` does not divide {len(arrays[key])} labels among '
                f'{len(names)} images.'
            )
        for item, labels in zip(data_list, np.split(arrays[key], start[1:-1]), strict=True):
            if target == 'gt_label' or len(labels):
                item[target] = labels.tolist()
    return check_annotations(dict(metainfo=dict(classes=classes), data_list=data_list), source)


def _check_scores(scores: np.ndarray, num_images: int, num_classes: int, source: str) -> None:
    if scores.dtype != np.float32:
        raise ScoreFileError(f'{source}: expected `scores` of float32, but got {scores.dtype}.')
    if scores.shape != (num_images, num_classes):
        raise ScoreFileError(
            f'{source}: expected `scores` of shape {(num_images, num_classes)}, images by classes, '
            f'but got {scores.shape}.'
        )
    if not (scores.min() >= 0 and scores.max() <= 1):  # NaN fails as well
        wrong = np.argwhere(~((scores >= 0) & (scores <= 1)))[0]
        raise ScoreFileError(
            f'{source}: expected `scores` to be probabilities in 0-1, but row {wrong[0]}, class '
            f'{wrong[1]} is {scores[tuple(wrong)]}.'
        )


__all__ = [
    'AnnotationError',
    'ScoreFile',
    'ScoreFileError',
    'check_origin',
    'load_scores',
    'save_scores',
    'sha256',
]
