"""Training and testing a label decoder on cached inputs."""

import copy
import os
import os.path as osp
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.registry import FUNCTIONS
from mmpretrain.registry import DATASETS
from mmpretrain.structures import DataSample
from torch import Tensor
from torch.utils.data import Dataset

from .file import ScoreFileError, load_scores

#: Arrays are copied into memory up to this share of it; larger ones stay on disk, mapped.
MEMORY_SHARE = 0.25


@DATASETS.register_module()
class ScoreDataset(Dataset):
    """A data set of cached scores, features or maps that returns whole batches.

    A data loader asks for the samples of a batch at once (``__getitems__``), and gets them as
    slices of one tensor: no per-image objects while training. The loader's ``collate_fn`` is
    ``dict(type='take_whole_batch')``. :class:`PrepareDecoderHook` tells the data set the inputs of
    the model's decoder.

    Args:
        ann_file: The cached file, relative to ``data_root``.
        data_root: Folder of the cached file, and of the image paths in it.
        test_mode: Also return data samples, for prediction and metrics.
        metainfo: ``classes`` here must equal those of the file.
        checkpoint: The checkpoint that the scores must come from. Defaults to None, any.
        inputs: Inputs of batches in addition to the scores, from ``'logits'``, ``'features'``,
            ``'feature_map'``, ``'stage_maps'``; see :class:`LabelDecoder`.

    Raises:
        FileNotFoundError: If there is no such file.
        ScoreFileError: If it cannot be used, or lacks the inputs.
        AnnotationError: If its classes or labels cannot be used.
    """

    is_random = False  # a sample depends only on the index

    def __init__(
        self,
        ann_file: str,
        data_root: str = '',
        test_mode: bool = False,
        metainfo: dict[str, Any] | None = None,
        checkpoint: str | None = None,
        inputs: Sequence[str] = ('scores',),
    ) -> None:
        self.ann_file = osp.join(data_root, ann_file)
        self.data_root = data_root
        self.test_mode = test_mode

        file = load_scores(self.ann_file, (metainfo or {}).get('classes'), checkpoint)
        self.metainfo = {
            **(metainfo or {}),
            'classes': tuple(file.annotations.classes),
            'cnn_checkpoint_sha256': file.provenance.get('checkpoint_sha256', ''),
        }
        self.data_list = file.annotations.data_list
        self.scores = torch.from_numpy(file.scores)  # (N, C)
        self.targets = torch.from_numpy(file.annotations.targets())  # (N, C) int8

        self._arrays = file.inputs
        self._rows: Tensor | None = None  # of the arrays, if this is a subset
        self._inputs: dict[str, Any] = {}
        self.use_inputs(inputs)

    def use_inputs(self, names: Sequence[str]) -> None:
        """Add these inputs to the batches.

        Raises:
            ScoreFileError: If the file lacks one; says how to add it.
        """
        wanted = [name for name in names if name != 'scores']
        missing = [name for name in wanted if name not in self._arrays]

        if missing:
            flags = {'logits': '--features', 'features': '--features'}
            needed = dict.fromkeys(flags.get(name, '--feature-map') for name in missing)
            raise ScoreFileError(
                f'{self.ann_file}: expected {", ".join(map(repr, missing))}, but it holds '
                f'{", ".join(["scores", *self._arrays])}: extract again with '
                f'tools/extract_scores.py ... {" ".join(needed)}.'
            )

        self._inputs = {name: _as_tensors(self._arrays[name]) for name in wanted}

    def read_inputs(self, names: Sequence[str]) -> dict[str, Any]:
        """Return inputs of the whole data set, NumPy arrays (N, ...) in its order."""
        self.use_inputs(names)
        found: dict[str, Any] = {}
        for name in names:
            if name == 'scores':
                found[name] = self.scores.numpy()
            elif self._rows is None:
                found[name] = self._arrays[name]
            else:
                found[name] = _take_rows(self._arrays[name], self._rows.numpy())

        return found

    def full_init(self) -> None:
        """Do nothing, since the file is already read. Wrappers of data sets call it."""

    def get_subset(self, indices: Sequence[int]) -> 'ScoreDataset':
        """Return the data set of some of the images, for ``KFoldDataset``.

        Args:
            indices: Indices of the images, in the new order.
        """
        rows = torch.as_tensor(indices, dtype=torch.long)
        subset = copy.copy(self)
        subset.data_list = [self.data_list[index] for index in rows.tolist()]
        subset.scores = self.scores[rows]
        subset.targets = self.targets[rows]
        subset._rows = rows if self._rows is None else self._rows[rows]
        return subset

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return a batch of one image."""
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Any]:
        """Return a batch.

        Returns:
            ``inputs``, the scores (N, C), or with more inputs all of them by name; with ``target``
            (N, C) float for training, or ``data_samples`` for testing.
        """
        rows = torch.as_tensor(indices)
        inputs: Any = self.scores[rows]

        if self._inputs:
            of_arrays = rows if self._rows is None else self._rows[rows]
            others = {name: _take_rows(value, of_arrays) for name, value in self._inputs.items()}
            inputs = dict(scores=inputs, **others)

        if self.test_mode:
            return dict(inputs=inputs, data_samples=[self._sample(index) for index in indices])

        return dict(inputs=inputs, target=self.targets[rows].float())

    def get_cat_ids(self, index: int) -> list[int]:
        """Return the true labels of an image."""
        return self.data_list[index]['gt_label']

    def get_data_info(self, index: int) -> dict[str, Any]:
        """Return the file's data of an image, with its path below the data root."""
        item = self.data_list[index]
        return dict(item, img_path=osp.join(self.data_root, item['img_path']))

    def _sample(self, index: int) -> DataSample:
        item = self.get_data_info(index)
        sample = DataSample(metainfo=dict(sample_idx=index, img_path=item['img_path']))
        sample.set_gt_label(item['gt_label'])
        if item.get('gt_label_difficult'):
            sample.set_field(self.targets[index].float(), 'gt_score')
        return sample


@FUNCTIONS.register_module()
def take_whole_batch(
    batch: dict[str, Any] | list[dict[str, Any]], _scope_: str | None = None
) -> dict[str, Any]:
    """Collate samples that are already batches.

    Args:
        batch: A batch; or, inside a wrapper that requests one image at a time, batches of one image
            each.
        _scope_: Not used. MMEngine adds it to the settings of a config with ``_base_ =
            'morn_plugin::...'``.
    """
    return _join(batch) if isinstance(batch, list) else batch


def _join(parts: Sequence[Any]) -> Any:
    """Concatenate parts of batches: tensors and lists, also inside containers."""
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat(list(parts))
    if isinstance(first, dict):
        joined = {}
        for key in first:
            joined[key] = _join([part[key] for part in parts])
        return joined
    if isinstance(first, tuple):
        return tuple(_join(some) for some in zip(*parts, strict=True))
    return [item for part in parts for item in part]


def _take_rows(value: Any, rows: Any) -> Any:
    """Return rows of an array, or of each of several."""
    return tuple(part[rows] for part in value) if isinstance(value, tuple) else value[rows]


def _as_tensors(value: np.ndarray | tuple[np.ndarray, ...]) -> Tensor | tuple[Tensor, ...]:
    """Convert mapped arrays to tensors, copied into memory if they are small enough."""
    if isinstance(value, tuple):
        return tuple(_as_tensors(part) for part in value)  # type: ignore[misc]

    tensor = torch.from_numpy(value)
    memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    return tensor.clone() if value.nbytes <= MEMORY_SHARE * memory else tensor
