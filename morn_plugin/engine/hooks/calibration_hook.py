"""Carries the threshold of the CNN alone from validation to the test."""

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from ...evaluation.metrics import CalibratedF1
from ..kept_thresholds import KEY, read_thresholds


@HOOKS.register_module()
class CalibrationHook(Hook):
    """Stores the thresholds of :class:`CalibratedF1` in checkpoints, and tests with them.

    A checkpoint stores the thresholds of the last validation before it, by the metric's prefix, in
    ``meta``.
    """

    def __init__(self) -> None:
        self.thresholds: dict[str, float] = {}

    def after_val_epoch(self, runner: Runner, metrics: Mapping[str, float] | None = None) -> None:
        """Collect the thresholds chosen in validation."""
        for metric in _calibrated(runner.val_evaluator):
            if metric.chooses and metric.thr is not None:
                self.thresholds[metric.prefix] = metric.thr

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Write them into a checkpoint."""
        if self.thresholds:
            checkpoint['meta'][KEY] = dict(self.thresholds)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Read them from a checkpoint."""
        self.thresholds = read_thresholds(checkpoint) or self.thresholds

    def before_test(self, runner: Runner) -> None:
        """Pass them to the metrics of the test, which do not choose their own."""
        for metric in _calibrated(runner.test_evaluator):
            metric.use(self.thresholds.get(metric.prefix))


def _calibrated(evaluator: Any) -> Iterator[CalibratedF1]:
    for metric in getattr(evaluator, 'metrics', ()):
        if isinstance(metric, CalibratedF1):
            yield metric
