"""Figures at one threshold chosen on validation images, instead of 0.5."""

from mmpretrain.registry import METRICS

from ...deploy.labels import mark_labels
from ...utils.checks import check_choice
from ..calibration import FIGURES, calibrate_globally
from ..functional import paper_figures
from .image_metric import ScoreMetric

KEYS = tuple(
    f'{kind}/{name}'
    for kind in ('per-label', 'per-image')
    for name in ('precision', 'recall', 'f1-score')
)


@METRICS.register_module()
class CalibratedF1(ScoreMetric):
    """The figures of :class:`PerLabelF1` and :class:`PerImageF1` at one calibrated threshold.

    In validation it chooses the threshold and evaluates it by cross-validation. In a test it uses
    the threshold stored in the checkpoint (see :class:`CalibrationHook`), and has no figures
    without one: a threshold chosen on the test images would flatter the model.

    Keys, below the prefix: ``per-label/precision``, ..., ``per-image/f1-score`` in percent;
    ``mean-f1``, the mean of both F1; and ``thr``, 0-1.

    Args:
        measure: The figure to maximise: ``'per-image-f1'`` or ``'per-label-f1'``.
        folds: Parts of the cross-validation.
        item: ``'pred_score'``, or ``'cnn_score'`` for the CNN alone.
        collect_device: ``'cpu'`` or ``'gpu'``.
        prefix: Replaces the default prefix of the keys.

    Examples:
        >>> import torch
        >>> metric = CalibratedF1(folds=2)
        >>> for score in (0.3, 0.4):
        ...     scores, labels = torch.tensor([score, 0.1]), torch.tensor([0])
        ...     metric.process(None, [dict(pred_score=scores, gt_label=labels)])
        >>> figures = metric.evaluate(size=2)
        >>> round(figures['calibrated/thr'], 2), figures['calibrated/per-image/f1-score']
        (0.2, 100.0)
    """

    default_prefix = 'calibrated'

    def __init__(
        self,
        measure: str = 'per-image-f1',
        folds: int = 5,
        item: str = 'pred_score',
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        check_choice('measure', measure, tuple(FIGURES))
        super().__init__(item, collect_device, prefix)
        self.measure = measure
        self.folds = folds
        self.chooses = True
        self.thr: float | None = None

    def use(self, thr: float | None) -> None:
        """Set the threshold for a test; None leaves out the figures."""
        self.chooses = False
        self.thr = thr

    def figures(self, results: list[bytes]) -> dict[str, float]:
        """Choose a threshold or use the given one, and compute the figures."""
        scores, targets = self.unpack(results)
        if self.chooses:
            self.thr, values = calibrate_globally(scores, targets, self.measure, self.folds)
        elif self.thr is not None:
            values = paper_figures(mark_labels(scores, self.thr), targets)
        else:
            return {}

        found = dict(zip(KEYS, map(float, values), strict=True))
        both = [found[f'{kind}/f1-score'] for kind in ('per-label', 'per-image')]
        return found | {'mean-f1': sum(both) / 2, 'thr': self.thr}
