"""Draws tested images with their labels and steps."""

import os.path as osp
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine import fileio
from mmengine.dist import all_gather_object, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS
from mmpretrain.structures import DataSample

from ...datasets.transforms.loading import decode_image
from ...visualization import Prediction, draw_predictions


@HOOKS.register_module()
class PredictionVisualizationHook(Hook):
    """Draws one picture of a handful of test images, and on demand one an image.

    The handful lies evenly spaced among the test images with at least two true labels: nobody picked them.

    Args:
        out_dir: Folder of the pictures. Defaults to ``predictions`` in the run's own log folder.
        overview: Images in ``overview.png``; 0 for none.
        interval: Draw also every so manieth test image into a file of its own; 0 for none.
    """

    def __init__(self, out_dir: str | None = None, overview: int = 6, interval: int = 0) -> None:
        self.out_dir, self.overview, self.interval = out_dir, overview, interval
        self._chosen: list[int] = []
        self._drawn: dict[int, Prediction] = {}

    def before_test_epoch(self, runner: Runner) -> None:
        """Choose the handful."""
        dataset = runner.test_dataloader.dataset
        self.out_dir = self.out_dir or osp.join(runner.log_dir, 'predictions')
        several = [i for i in range(len(dataset)) if len(dataset.get_cat_ids(i)) >= 2] if self.overview else []
        places = np.linspace(0, len(several) - 1, min(self.overview, len(several))).round().astype(int)
        self._chosen = [several[place] for place in places]
        self._drawn = {}

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None,
                        outputs: Sequence[DataSample] | None = None) -> None:
        """Draw or keep what is wanted of a batch."""
        for sample in outputs or ():
            index = sample.get('sample_idx')
            alone = self.interval and index % self.interval == 0
            if alone or index in self._chosen:
                prediction = make_prediction(sample)
                if alone:
                    stem = osp.splitext(osp.basename(sample.img_path))[0]
                    draw_predictions([prediction], self._classes(runner),
                                     osp.join(str(self.out_dir), f'{index:06d}_{stem}.png'))
                if index in self._chosen:
                    self._drawn[index] = prediction

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Draw the overview."""
        drawn = {index: item for part in all_gather_object(self._drawn) for index, item in part.items()}
        if drawn and is_main_process():
            path = osp.join(str(self.out_dir), 'overview.png')
            draw_predictions([drawn[index] for index in sorted(drawn)], self._classes(runner), path,
                             'Test images, evenly spaced among those with two labels or more')
            runner.logger.info(f'Pictures of predictions: {path}')

    @staticmethod
    def _classes(runner: Runner) -> Sequence[str]:
        return runner.test_dataloader.dataset.metainfo['classes']


def make_prediction(sample: DataSample) -> Prediction:
    """Collect what is drawn of a predicted sample; reads its image once more, as it is on disk."""
    steps = sample.get('step_scores', None)
    true = sample.get('gt_label', None)
    return Prediction(
        image=decode_image(fileio.get(sample.img_path), sample.img_path),
        title=osp.basename(sample.img_path),
        true=None if true is None else true.tolist(),
        predicted=sample.pred_label.tolist(),
        scores=sample.pred_score.float().cpu().numpy(),
        step_scores=None if steps is None else steps.float().cpu().numpy())
