"""A threshold that validation chose goes through a checkpoint to the test."""

from types import SimpleNamespace
from typing import Any

import pytest

from morn_plugin.engine.hooks import CalibrationHook
from morn_plugin.evaluation.metrics import CalibratedF1, PerImageF1


def make_runner() -> Any:
    metrics = [CalibratedF1(item='cnn_score', prefix='cnn-calibrated'), PerImageF1()]
    evaluator = SimpleNamespace(metrics=metrics)
    return SimpleNamespace(val_evaluator=evaluator, test_evaluator=evaluator), metrics[0]


def test_from_validation_to_test():
    runner, metric = make_runner()
    metric.thr = 0.25
    hook = CalibrationHook()
    hook.after_val_epoch(runner, {})
    checkpoint: dict[str, Any] = dict(meta={})
    hook.before_save_checkpoint(runner, checkpoint)

    runner, metric = make_runner()
    later = CalibrationHook()
    later.after_load_checkpoint(runner, checkpoint)
    later.before_test(runner)
    assert (metric.thr, metric.chooses) == (0.25, False)


@pytest.mark.parametrize(
    'meta',
    [
        None,
        [],
        {},
        dict(calibrated_thr=0.3),
        dict(calibrated_thr={'cnn-calibrated': float('nan')}),
        dict(calibrated_thr={'cnn-calibrated': 1.5}),
        dict(calibrated_thr={'cnn-calibrated': '0.3'}),
        dict(calibrated_thr={'cnn-calibrated': True}),
        dict(calibrated_thr={'other': 0.3}),
    ],
)
def test_what_is_no_threshold_is_left(meta):
    runner, metric = make_runner()
    hook = CalibrationHook()
    hook.after_load_checkpoint(runner, dict(meta=meta))
    hook.before_test(runner)
    assert (metric.thr, metric.chooses) == (None, False)
