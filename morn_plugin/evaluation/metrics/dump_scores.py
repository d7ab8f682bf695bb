"""Writes the CNN's scores of a data set into a score file."""

import os.path as osp
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmpretrain.registry import METRICS

from ...datasets.annotations import Annotations
from ...datasets.score_file import ScoreFile, save_scores
from ...models.targets import stack_targets
from .label_sets import stack_scores


@METRICS.register_module()
class DumpScores(BaseMetric):
    """Collects the scores of all images, from all processes.

    And writes them in the order of the data set.

    Key: ``scores/images``, the number of images written.

    Args:
        out: The score file to write.
        provenance: What the file says of its origin.
        img_prefix: Image paths are written relative to this folder.
        item: Which scores.
    """

    default_prefix = 'scores'

    def __init__(
        self, out: str, provenance: dict[str, str], img_prefix: str = '', item: str = 'cnn_score'
    ) -> None:
        super().__init__(collect_device='cpu')
        self.out, self.provenance, self.img_prefix, self.item = (
            out,
            dict(provenance),
            img_prefix,
            item,
        )

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep place, scores, labels and path of every image of a batch."""
        scores = stack_scores(data_samples, self.item).numpy()
        targets = stack_targets(data_samples, scores.shape[1]).numpy()
        for sample, row, target in zip(data_samples, scores, targets, strict=True):
            path = (
                osp.relpath(sample['img_path'], self.img_prefix)
                if self.img_prefix
                else sample['img_path']
            )
            item = dict(
                img_path=path.replace(osp.sep, '/'), gt_label=np.flatnonzero(target > 0).tolist()
            )
            if (target < 0).any():
                item['gt_label_difficult'] = np.flatnonzero(target < 0).tolist()
            self.results.append((sample['sample_idx'], row.tobytes(), item))

    def compute_metrics(self, results: list[tuple[int, bytes, dict[str, Any]]]) -> dict[str, float]:
        """Write the file."""
        places = [place for place, _, _ in results]
        if places != list(range(len(results))):
            raise RuntimeError(
                f'Expected every image of the data set once and in order, but got {len(places)} '
                f'places, {len(set(places))} of them distinct, from {places[:1]} to {places[-1:]}.'
            )
        scores = np.frombuffer(b''.join(row for _, row, _ in results), dtype=np.float32).reshape(
            len(results), -1
        )
        annotations = Annotations(
            list(self.dataset_meta['classes']), [item for _, _, item in results]
        )
        save_scores(self.out, ScoreFile(scores, annotations, self.provenance))
        return dict(images=float(len(results)))
