"""MMPretrain's ``MultiLabelDataset`` with its annotation file checked."""

import os.path as osp
from typing import Any

import numpy as np
from mmpretrain.datasets import MultiLabelDataset
from mmpretrain.registry import DATASETS

from .annotations import load_annotations


@DATASETS.register_module()
class CheckedMultiLabelDataset(MultiLabelDataset):
    """A ``MultiLabelDataset`` that trusts no annotation file.

    Every label must be an integer in range and stand once in an image; the class list must be that of the config where
    the config has one (``metainfo=dict(classes=[...])``). Difficult labels (``gt_label_difficult``) become -1 in
    ``gt_score``. See :mod:`morn_plugin.datasets.annotations` for the layout.

    Args:
        *args: Those of ``MultiLabelDataset``.
        **kwargs: Those of ``MultiLabelDataset``.

    Raises:
        AnnotationError: If the annotation file is not valid; names file, image and field.
    """

    _metainfo: dict[str, Any]

    def load_data_list(self) -> list[dict[str, Any]]:
        """Read and check the annotation file."""
        annotations = load_annotations(self.ann_file, classes=self._metainfo.get('classes'))
        self._metainfo = dict({**annotations.metainfo, **self._metainfo}, classes=tuple(annotations.classes))
        data_list = []
        has_difficult = any(item.get('gt_label_difficult') for item in annotations.data_list)
        for item, target in zip(annotations.data_list, annotations.targets(), strict=True):
            sample = dict(item, img_path=osp.normpath(osp.join(self.img_prefix, item['img_path'])))
            if has_difficult:
                sample['gt_score'] = target.astype(np.float32)
            data_list.append(sample)
        return data_list
