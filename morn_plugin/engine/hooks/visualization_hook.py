"""Draws images with their labels and steps, during training and in tests."""

import os.path as osp
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mmengine.dist import all_gather_object, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS
from mmpretrain.structures import DataSample

from ... import visualization
from ...datasets.annotations import labels_of
from ...datasets.transforms.loading import LoadCheckedImage
from ...datasets.wrapping import image_path, innermost_built
from ...utils.spacing import evenly_spaced

if TYPE_CHECKING:
    from ...visualization import Prediction


@HOOKS.register_module()
class PredictionVisualizationHook(Hook):
    """Draws one picture of a few images, and on demand one picture per image.

    The images are evenly spaced among those with at least two true labels, not hand-picked. A test
    writes ``overview.png``. Training passes the picture to the run's visualizer after each
    validation, and so to all its backends, such as TensorBoard (``visualizer.vis_backends``).

    As ``default_hooks.visualization`` it is what ``test.py --show-dir`` turns on, MMPretrain's too.

    Args:
        out_dir: Folder of a test's pictures. Defaults to ``predictions`` in the run's own log
            folder.
        overview: Images in ``overview.png``; 0 for none.
        interval: In a test, also draw every N-th image into its own file; 0 for none.
        val_interval: Draw after every N-th validation; 0 for none.
        enable: False draws nothing.
        show: MMPretrain's ``test.py --show`` sets it. Refused: pictures are only written to files.
        wait_time: Set by MMPretrain's ``test.py`` with ``show``, seconds.

    Raises:
        ValueError: If ``show`` is set.
    """

    def __init__(
        self,
        out_dir: str | None = None,
        overview: int = 6,
        interval: int = 0,
        val_interval: int = 1,
        enable: bool = True,
        show: bool = False,
        wait_time: float = 0,
    ) -> None:
        if show:
            raise ValueError(
                'PredictionVisualizationHook draws into files, not into windows: give --show-dir '
                'without --show.'
            )

        self.enable = enable
        self.out_dir = out_dir
        self.overview = overview
        self.interval = interval
        self.val_interval = val_interval

        self._validations = 0
        self._dataset: Any = None  # that the images below belong to
        self._places: dict[str, int] = {}  # in a wrapped data set, by path
        self._chosen: set[int] = set()
        self._drawn: dict[int, Prediction] = {}
        self._load = LoadCheckedImage()

    def before_test_epoch(self, runner: Runner) -> None:
        """Choose the images of the overview."""
        self.out_dir = self.out_dir or osp.join(runner.log_dir, 'predictions')
        self._choose(runner.test_dataloader.dataset)

    def before_val_epoch(self, runner: Runner) -> None:
        """Choose the images, if this validation is drawn."""
        self._validations += 1
        wanted = self.val_interval and self._validations % self.val_interval == 0
        self._choose(runner.val_dataloader.dataset if wanted else ())

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[DataSample] | None = None,
    ) -> None:
        """Draw or keep the wanted images of a batch."""
        for sample in outputs or ():
            index = self._place(sample)
            if self.enable and self.interval and index % self.interval == 0:
                visualization.draw_predictions(
                    [make_prediction(sample, self._load)],
                    runner.test_dataloader.dataset.metainfo['classes'],
                    visualization.picture_path(str(self.out_dir), index, sample.img_path),
                )

        self._keep(outputs)

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[DataSample] | None = None,
    ) -> None:
        """Keep the wanted images of a batch."""
        self._keep(outputs)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Draw the overview into a file."""
        drawn = self._collect()
        if drawn:
            path = osp.join(str(self.out_dir), 'overview.png')
            visualization.draw_predictions(
                drawn,
                runner.test_dataloader.dataset.metainfo['classes'],
                path,
                'Test images, evenly spaced among those with two labels or more',
            )
            runner.logger.info(f'Pictures of predictions: {path}')

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Pass the overview to the visualizer."""
        drawn = self._collect()
        if drawn:
            image = visualization.render_predictions(
                drawn, runner.val_dataloader.dataset.metainfo['classes']
            )
            runner.visualizer.add_image('predictions', image, step=runner.epoch)

    def _choose(self, dataset: Any) -> None:
        """Choose the images, once for each data set."""
        self._drawn = {}
        if dataset is self._dataset:
            return

        self._dataset = dataset
        self._load = find_loader(dataset)

        # Wrapped data sets number the images of each part from 0, so paths tell them apart.
        self._places = {}
        if next(innermost_built(dataset)) is not dataset:
            for index in range(len(dataset)):
                self._places.setdefault(image_path(dataset, index), index)

        distinct = sorted(self._places.values()) or range(len(dataset))
        several = []
        if self.enable and self.overview:
            several = [index for index in distinct if len(labels_of(dataset, index)) >= 2]
        self._chosen = set(evenly_spaced(several, self.overview))

    def _place(self, sample: DataSample) -> int:
        """Return the place of a sample's image in the data set."""
        return self._places.get(sample.img_path, sample.get('sample_idx'))

    def _keep(self, samples: Sequence[DataSample] | None) -> None:
        for sample in samples or ():
            index = self._place(sample)
            if index in self._chosen:
                self._drawn[index] = make_prediction(sample, self._load)

    def _collect(self) -> 'list[Prediction]':
        """Return the kept images of all processes, in the main one."""
        drawn = {
            index: item for part in all_gather_object(self._drawn) for index, item in part.items()
        }
        return [drawn[index] for index in sorted(drawn)] if is_main_process() else []


def find_loader(dataset: Any) -> LoadCheckedImage:
    """Return the image loader of a data set, even inside wrappers, else our own.

    Its limits then hold for the pictures as well.
    """
    innermost = next(innermost_built(dataset))
    steps = getattr(getattr(innermost, 'pipeline', None), 'transforms', None) or [None]
    return steps[0] if isinstance(steps[0], LoadCheckedImage) else LoadCheckedImage()


def make_prediction(sample: DataSample, load: LoadCheckedImage | None = None) -> 'Prediction':
    """Collect the drawn fields of a predicted sample; reads its image again from disk.

    Args:
        sample: A predicted sample.
        load: Reads its image. Defaults to None, a loader with the usual limits.
    """
    steps = sample.get('step_scores', None)
    path = sample.get('step_labels', None)
    true = sample.get('gt_label', None)
    return visualization.Prediction(
        image=visualization.shrink((load or LoadCheckedImage()).read(sample.img_path)),
        title=osp.basename(sample.img_path),
        true=None if true is None else true.tolist(),
        predicted=sample.pred_label.tolist(),
        scores=sample.pred_score.float().cpu().numpy(),
        step_scores=None if steps is None else steps.float().cpu().numpy(),
        path=None if path is None else path.tolist(),
    )
