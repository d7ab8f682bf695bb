"""MMPretrain's ``MultiLabelDataset`` with its annotation file checked."""

import logging
import os.path as osp
from typing import Any

import numpy as np
from mmengine.logging import print_log
from mmpretrain.datasets import MultiLabelDataset
from mmpretrain.registry import DATASETS

from ..utils.checks import check_choice
from ..utils.text import escape_surrogates
from .annotations import load_annotations
from .corrupt_images import find_corrupt_images
from .transforms.loading import ImageError, LoadCheckedImage


@DATASETS.register_module()
class CheckedMultiLabelDataset(MultiLabelDataset):
    """A ``MultiLabelDataset`` that checks its annotation file.

    Every label must be an integer in range and appear once in an image; the class list must equal
    that of the config if it has one (``metainfo=dict(classes=[...])``). Difficult labels
    (``gt_label_difficult``) become -1 in ``gt_score``. See :mod:`morn_plugin.datasets.annotations`
    for the layout.

    Args:
        *args: Those of ``MultiLabelDataset``.
        corrupt_images: Handling of images that are missing or cannot be read. ``'error'``: stop at
            the first one. ``'skip'``: read every image once when the data set is built, and leave
            those out, with their number and names in the log; :class:`DataCheckHook` repeats them
            at the end. Test figures are then those of the remaining images.
        **kwargs: Those of ``MultiLabelDataset``.

    Attributes:
        skipped: The problem of each skipped image.

    Raises:
        AnnotationError: If the annotation file is not valid; names file, image and field.
        ImageError: If all images would be skipped.
    """

    _metainfo: dict[str, Any]

    def __init__(
        self,
        *args: Any,
        corrupt_images: str = 'error',
        **kwargs: Any,
    ) -> None:
        check_choice('corrupt_images', corrupt_images, ('error', 'skip'))
        self.corrupt_images = corrupt_images
        self.skipped: list[str] = []
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Read and check the annotation file."""
        annotations = load_annotations(self.ann_file, classes=self._metainfo.get('classes'))
        self._metainfo = dict(
            {**annotations.metainfo, **self._metainfo}, classes=tuple(annotations.classes)
        )
        data_list = []
        has_difficult = any(item.get('gt_label_difficult') for item in annotations.data_list)

        for item, target in zip(annotations.data_list, annotations.targets(), strict=True):
            sample = dict(item, img_path=osp.normpath(osp.join(self.img_prefix, item['img_path'])))
            if has_difficult:
                sample['gt_score'] = target.astype(np.float32)
            data_list.append(sample)

        return data_list

    def filter_data(self) -> list[dict[str, Any]]:
        """Leave out the images that cannot be read, if requested."""
        data_list = super().filter_data()
        if self.corrupt_images == 'error':
            return data_list

        paths = [item['img_path'] for item in data_list]
        problems = find_corrupt_images(paths, self._loading_step())
        self.skipped = list(problems.values())

        if len(problems) == len(data_list):
            raise ImageError(
                f'{self.ann_file}: none of its {len(data_list)} images can be read. The first: '
                f'{self.skipped[0]}'
            )

        if problems:
            lines = '\n  '.join(map(escape_surrogates, self.skipped))
            print_log(
                f'{self.ann_file}: {len(problems)} of {len(data_list)} images are skipped:\n  '
                f'{lines}',
                logger='current',
                level=logging.WARNING,
            )

        return [item for item in data_list if item['img_path'] not in problems]

    def _loading_step(self) -> LoadCheckedImage:
        """Return the first step of the pipeline, which must be the one that reads an image."""
        load = self.pipeline.transforms[0] if self.pipeline.transforms else None
        if not isinstance(load, LoadCheckedImage):
            raise ValueError(
                f"{self.ann_file}: corrupt_images='skip' needs a pipeline that begins with "
                f'LoadCheckedImage, but got {load!r}.'
            )
        return load
