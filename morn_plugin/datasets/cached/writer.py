"""Writes a cached file batch by batch, so that memory does not grow with the data set."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from mmengine.dist import barrier, is_main_process

from ...utils.files import PathLike, publish
from ...utils.limits import MAX_GB
from ...utils.strict_json import dump_json
from ..annotations import Annotations
from .file import DTYPES, FORMAT, FORMAT_2, ScoreFileError, check_finite, check_scores, read_layout

NAMES = {'float16': 'F16', 'float32': 'F32', 'int32': 'I32', 'int64': 'I64', 'uint8': 'U8'}


class CachedFileWriter:
    """Writes scores, features and maps of a data set in any order of its images.

    The rows go into a temporary file, which is renamed once every row is written. Several processes
    of one machine may write together: each writes its own images, and all write the first batch at
    the same time.

    Args:
        path: The file to write.
        annotations: Classes, labels and image paths, in the order of the rows.
        provenance: The origin, stored in the file.
        max_gb: Refuse to write a file larger than this many gigabytes (1e9 bytes).

    Raises:
        ScoreFileError: If a path has a line feed, a score is not a probability, a value is not
            finite, a row is missing at the end, or the file would be too large.
    """

    def __init__(
        self,
        path: PathLike,
        annotations: Annotations,
        provenance: Mapping[str, str],
        max_gb: float = MAX_GB,
    ) -> None:
        self.path = Path(path)
        self.annotations = annotations
        self.max_gb = max_gb
        self.provenance = dict(provenance)
        self.partial = self.path.with_name(f'.{self.path.name}.partial')
        self._labels = _pack_annotations(annotations, str(path))
        self._arrays: dict[str, np.ndarray] = {}
        self._written = np.zeros(len(annotations), dtype=bool)

    def write(self, rows: np.ndarray, arrays: Mapping[str, np.ndarray]) -> None:
        """Write the rows of a batch.

        Args:
            rows: Indices of the B images in the data set.
            arrays: ``scores`` (B, C), and ``logits``, ``features``, ``feature_map``,
                ``stage_maps.0`` ... as needed, (B, ...); the same names in every batch.
        """
        stored = {}
        for name, values in arrays.items():
            dtype = DTYPES.get(name.split('.')[0], values.dtype)
            stored[name] = np.asarray(values, dtype=dtype)

        if not self._arrays:
            self._open(stored)

        first_row = int(rows[0]) if len(rows) else 0
        num_classes = len(self.annotations.classes)
        check_scores(stored['scores'], len(rows), num_classes, str(self.path), first_row)

        for name, values in stored.items():
            check_finite(name, values, str(self.path), first_row)
            self._arrays[name][rows] = values

        self._written[rows] = True

    def finish(self, rows: np.ndarray | None = None) -> None:
        """Finish the file: rename it to its final name.

        Args:
            rows: The indices written by all processes together. Defaults to None, those of this
                writer.
        """
        if rows is not None:
            self._written[rows] = True
        missing = np.flatnonzero(~self._written)
        if len(missing):
            raise ScoreFileError(
                f'{self.path}: expected every image of the data set, but {len(missing)} of '
                f'{len(self._written)} were not written, the first one at place {missing[0]}.'
            )

        if not self._arrays:
            self._open(dict(scores=np.zeros((0, len(self.annotations.classes)), np.float32)))

        self._arrays.clear()
        with open(self.partial, 'rb+') as file:
            os.fsync(file.fileno())
        publish(self.partial, self.path)

    def discard(self) -> None:
        """Remove an unfinished file."""
        self._arrays.clear()
        self.partial.unlink(missing_ok=True)

    def __enter__(self) -> 'CachedFileWriter':
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            try:
                self.finish()
            except BaseException:
                self.discard()
                raise
        else:
            self.discard()

    def _open(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Allocate the file for the shapes of the first batch, in the first process."""
        if is_main_process():
            self._create(arrays)
        barrier()
        layout = read_layout(self.partial)
        self._arrays = {
            name: _map(self.partial, values.dtype, layout[name]) for name, values in arrays.items()
        }

    def _create(self, arrays: Mapping[str, np.ndarray]) -> None:
        shapes = self._plan_arrays(arrays)
        sizes = {name: dtype.itemsize * math.prod(shape) for name, (dtype, shape) in shapes.items()}
        self._check_size(sizes)

        header = self._header(arrays)
        offset = 0
        for name, (dtype, shape) in shapes.items():
            end = offset + sizes[name]
            header[name] = dict(dtype=NAMES[dtype.name], shape=shape, data_offsets=[offset, end])
            offset = end

        text = dump_json(header).encode()
        text += b' ' * (-len(text) % 8)

        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.partial, 'wb') as file:
            file.write(len(text).to_bytes(8, 'little') + text)
            file.truncate(8 + len(text) + offset)

        layout = read_layout(self.partial)
        for name, value in self._labels.items():
            _map(self.partial, value.dtype, layout[name])[...] = value

    def _plan_arrays(
        self, arrays: Mapping[str, np.ndarray]
    ) -> dict[str, tuple[np.dtype, tuple[int, ...]]]:
        """Return type and shape of every array; wide types come first, so that all are aligned."""
        planned: dict[str, tuple[np.dtype, tuple[int, ...]]] = {}
        for name, batch in arrays.items():
            planned[name] = batch.dtype, (len(self.annotations), *batch.shape[1:])

        for name, labels in self._labels.items():
            planned[name] = labels.dtype, labels.shape

        by_width = sorted(planned.items(), key=lambda item: -item[1][0].itemsize)
        return dict(by_width)

    def _header(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
        kind = FORMAT if set(arrays) == {'scores'} else FORMAT_2
        classes = dump_json(self.annotations.classes)
        return dict(__metadata__=dict(self.provenance, format=kind, classes=classes))

    def _check_size(self, sizes: Mapping[str, int]) -> None:
        total = sum(sizes.values())
        largest = max(sizes, key=lambda name: sizes[name])
        if total > self.max_gb * 1e9:
            raise ScoreFileError(
                f'{self.path}: the file would take {total / 1e9:.1f} GB, of which `{largest}` '
                f'{sizes[largest] / 1e9:.1f}, but at most {self.max_gb:g} are allowed: leave it '
                f'out, or ask for it with --max-gb {math.ceil(total / 1e9)}.'
            )


def _map(
    path: Path,
    dtype: Any,
    entry: tuple[str, list[int], int],
) -> np.ndarray:
    _, shape, offset = entry
    if not math.prod(shape):  # an empty array cannot be mapped
        return np.zeros(shape, dtype)
    return np.memmap(path, dtype, 'r+', offset, tuple(shape))


def _pack_annotations(annotations: Annotations, source: str) -> dict[str, np.ndarray]:
    """Convert labels and paths to the arrays of the file."""
    names = [item['img_path'] for item in annotations.data_list]
    broken = [name for name in names if '\n' in name]
    if broken:
        raise ScoreFileError(f'{source}: an image path has a line feed: {broken[0]!r}.')

    # A file name need not be text: other bytes are restored unchanged.
    text = '\n'.join([*names, '']).encode(errors='surrogateescape')
    arrays = {'img_paths': np.frombuffer(text, dtype=np.uint8)}
    for key, field in (('labels', 'gt_label'), ('difficult', 'gt_label_difficult')):
        lists = [item.get(field, []) for item in annotations.data_list]
        flat = [label for labels in lists for label in labels]
        arrays[key] = np.array(flat, dtype=np.int32)
        arrays[f'{key}_start'] = np.cumsum([0, *map(len, lists)]).astype(np.int64)

    return arrays
