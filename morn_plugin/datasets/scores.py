"""Training and testing a decoder on cached scores."""

import os.path as osp
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.registry import FUNCTIONS
from mmpretrain.registry import DATASETS
from mmpretrain.structures import DataSample
from torch.utils.data import Dataset

from .score_file import load_scores


@DATASETS.register_module()
class ScoreDataset(Dataset):
    """A data set of cached scores that hands out whole batches.

    A data loader asks for the samples of a batch at once (``__getitems__``), and gets them as
    slices of one tensor in
    memory: no per-image objects while training. The loader's ``collate_fn`` is
    ``dict(type='take_whole_batch')``.

    Args:
        ann_file: The score file, relative to ``data_root``.
        data_root: Folder of the score file, and of the image paths in it.
        test_mode: Give data samples beside the scores, for prediction and metrics.
        metainfo: ``classes`` here are required of the file.
        checkpoint: The checkpoint that must have given the scores. Defaults to None, any.

    Raises:
        FileNotFoundError: If there is no such file.
        ScoreFileError: If it cannot be used.
        AnnotationError: If its classes or labels cannot.
    """

    def __init__(
        self,
        ann_file: str,
        data_root: str = '',
        test_mode: bool = False,
        metainfo: dict[str, Any] | None = None,
        checkpoint: str | None = None,
    ) -> None:
        self.ann_file, self.data_root, self.test_mode = (
            osp.join(data_root, ann_file),
            data_root,
            test_mode,
        )
        file = load_scores(self.ann_file, (metainfo or {}).get('classes'), checkpoint)
        self.metainfo = {
            **(metainfo or {}),
            'classes': tuple(file.annotations.classes),
            'cnn_checkpoint_sha256': file.provenance.get('checkpoint_sha256', ''),
        }
        self.data_list = file.annotations.data_list
        self.scores = torch.from_numpy(file.scores)  # (N, C)
        self.targets = torch.from_numpy(file.annotations.targets())  # (N, C) int8

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Give a batch of one image."""
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Any]:
        """Give a batch.

        Returns:
            ``inputs``, the scores (N, C), with ``target`` (N, C) float for training, or
            ``data_samples`` for testing.
        """
        rows = torch.as_tensor(indices)
        if self.test_mode:
            return dict(
                inputs=self.scores[rows], data_samples=[self._sample(index) for index in indices]
            )
        return dict(inputs=self.scores[rows], target=self.targets[rows].float())

    def get_cat_ids(self, index: int) -> list[int]:
        """Give the true labels of an image."""
        return self.data_list[index]['gt_label']

    def _sample(self, index: int) -> DataSample:
        item = self.data_list[index]
        sample = DataSample(
            metainfo=dict(sample_idx=index, img_path=osp.join(self.data_root, item['img_path']))
        )
        sample.set_gt_label(item['gt_label'])
        if item.get('gt_label_difficult'):
            sample.set_field(self.targets[index].float(), 'gt_score')
        return sample


@FUNCTIONS.register_module()
def take_whole_batch(batch: dict[str, Any]) -> dict[str, Any]:
    """Collate what is a batch already."""
    return batch
