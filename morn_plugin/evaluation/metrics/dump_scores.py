"""Writes the CNN's scores of a data set into a score file."""

import os.path as osp
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmpretrain.registry import METRICS

from ...datasets.annotations import Annotations, load_annotations
from ...datasets.score_file import ScoreFile, save_scores
from .label_sets import stack_scores


@METRICS.register_module()
class DumpScores(BaseMetric):
    """Collects the scores of all images, from all processes, and writes them in the order of the annotation file.

    Key: ``scores/images``, the number of images written.

    Args:
        out: The score file to write.
        ann_file: The annotation file that is tested; labels and paths come from it.
        provenance: What the file says of its origin.
        item: Which scores.
    """

    default_prefix = 'scores'

    def __init__(self, out: str, ann_file: str, provenance: dict[str, str], item: str = 'cnn_score') -> None:
        super().__init__(collect_device='cpu')
        self.out, self.ann_file, self.provenance, self.item = out, ann_file, dict(provenance), item

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the scores of a batch with their places."""
        scores = stack_scores(data_samples, self.item).numpy()
        self.results += [(sample['sample_idx'], row.tobytes())
                         for sample, row in zip(data_samples, scores, strict=True)]

    def compute_metrics(self, results: list[tuple[int, bytes]]) -> dict[str, float]:
        """Write the file."""
        classes = self.dataset_meta['classes']
        annotations = load_annotations(self.ann_file, classes)
        order = [index for index, _ in results]
        if order != list(range(len(annotations))):
            raise RuntimeError(f'Expected every one of the {len(annotations)} images of {self.ann_file} once and in order, '
                               f'but got {len(order)} places, of which {len(set(order))} differ.')
        scores = np.frombuffer(b''.join(row for _, row in results), dtype=np.float32).reshape(len(results), -1)
        save_scores(self.out, ScoreFile(scores, _slim(annotations), self.provenance))
        return dict(images=float(len(results)))


def _slim(annotations: Annotations) -> Annotations:
    """Keep what a score file holds, paths with forward slashes."""
    keep = ('gt_label', 'gt_label_difficult')
    data_list = [{'img_path': item['img_path'].replace(osp.sep, '/'), **{key: item[key] for key in keep if key in item}}
                 for item in annotations.data_list]
    return Annotations(annotations.classes, data_list)
