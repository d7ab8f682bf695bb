"""Writes a CNN's outputs for a data set into a cached file."""

import os.path as osp
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmpretrain.registry import METRICS

from ...datasets.annotations import Annotations
from ...datasets.cached.file import flatten_inputs
from ...datasets.cached.writer import CachedFileWriter
from ...utils.limits import MAX_GB
from .image_metric import stack_scores


@METRICS.register_module()
class DumpScores(BaseMetric):
    """Writes scores, and optionally features or maps, in the order of the data set.

    All processes write batch by batch, so memory does not grow with the data. The labels and paths
    come from the data set: call :meth:`read_dataset` before the test.

    Key: ``scores/images``, the number of images written.

    Args:
        out: The cached file to write.
        provenance: The origin, stored in the file.
        img_prefix: Image paths are written relative to this folder.
        item: Which scores: ``'cnn_score'``, or ``'pred_score'`` for a model without ``cnn_score``.
        inputs: Further contents of the file; the predictions must contain them, see
            :meth:`MultiLabelClassifier.keep_inputs`.
        max_gb: Refuse to write a file larger than this.
    """

    default_prefix = 'scores'

    def __init__(
        self,
        out: str,
        provenance: dict[str, str],
        img_prefix: str = '',
        item: str = 'cnn_score',
        inputs: Sequence[str] = (),
        max_gb: float = MAX_GB,
    ) -> None:
        super().__init__(collect_device='cpu')
        self.out = out
        self.provenance = dict(provenance)
        self.img_prefix = img_prefix
        self.item = item
        self.inputs = tuple(inputs)
        self.max_gb = max_gb
        self.writer: CachedFileWriter | None = None

    def read_dataset(self, dataset: Any) -> None:
        """Read labels and image paths from the tested data set.

        Args:
            dataset: Has ``metainfo`` and ``get_data_info``, like MMEngine's data sets and wrappers.
        """
        items = [self._read_item(dataset.get_data_info(index)) for index in range(len(dataset))]
        annotations = Annotations(list(dataset.metainfo['classes']), items)
        self.writer = CachedFileWriter(self.out, annotations, self.provenance, self.max_gb)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Write the rows of a batch, and remember their places."""
        if self.writer is None:
            raise RuntimeError('DumpScores: call read_dataset before the test.')
        arrays = dict(scores=stack_scores(data_samples, self.item).numpy())
        for name in self.inputs:
            arrays |= flatten_inputs({name: stack_input(data_samples, name)})

        places = [sample['sample_idx'] for sample in data_samples]
        self.writer.write(np.array(places), arrays)
        self.results += places

    def compute_metrics(self, results: list[int]) -> dict[str, float]:
        """Rename the file after every process has written its rows."""
        assert self.writer is not None
        self.writer.finish(np.array(results))
        return dict(images=float(len(results)))

    def _read_item(self, info: dict[str, Any]) -> dict[str, Any]:
        path = info['img_path']
        if self.img_prefix:
            path = osp.relpath(path, self.img_prefix)
        item = dict(img_path=path.replace(osp.sep, '/'), gt_label=list(info['gt_label']))
        if len(info.get('gt_label_difficult', ())):
            item['gt_label_difficult'] = list(info['gt_label_difficult'])
        return item


def stack_input(samples: Sequence[dict], name: str) -> Any:
    """Stack one input of a batch: an array (B, ...), or a tuple of arrays for stages."""

    def stack(values: Sequence[Any]) -> np.ndarray:
        return np.stack([_to_numpy(value) for value in values])

    values = [sample[name] for sample in samples]
    if isinstance(values[0], tuple):
        return tuple(map(stack, zip(*values, strict=True)))
    return stack(values)


def _to_numpy(value: Any) -> np.ndarray:
    return value.float().cpu().numpy()
