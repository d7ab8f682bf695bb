"""The figures at a calibrated threshold, beside scikit-learn and a search by hand."""

import numpy as np
import pytest
import torch
from sklearn.metrics import precision_score, recall_score

from morn_plugin.evaluation.functional import paper_figures
from morn_plugin.evaluation.metrics import CalibratedF1

NUM_IMAGES, NUM_CLASSES = 40, 5


def draw() -> tuple[np.ndarray, np.ndarray]:
    """Draw targets, and scores that are higher for true labels but all below a half."""
    generator = np.random.default_rng(0)
    targets = (generator.random((NUM_IMAGES, NUM_CLASSES)) < 0.4).astype(np.int8)
    targets[0, 0] = -1
    scores = (0.25 * generator.random(targets.shape) + 0.2 * (targets > 0)).astype(np.float32)
    return scores, targets


def run(metric: CalibratedF1, scores: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    samples = [
        {metric.item: torch.from_numpy(row), 'gt_score': torch.from_numpy(true)}
        for row, true in zip(scores, targets, strict=True)
    ]
    metric.process(None, samples)
    return metric.evaluate(size=len(samples))


def test_validation_chooses_the_best_threshold_and_judges_without_it():
    scores, targets = draw()
    figures = run(CalibratedF1(), scores, targets)

    def f1_at(thr: float) -> float:
        return paper_figures(scores > thr, targets)[5]

    best = max(f1_at(thr) for thr in np.linspace(0, 1, 2001))
    assert f1_at(figures['calibrated/thr']) == pytest.approx(best)
    assert figures['calibrated/per-image/f1-score'] <= best
    assert figures['calibrated/per-image/f1-score'] > f1_at(0.5)

    both = [figures[f'calibrated/{kind}/f1-score'] for kind in ('per-label', 'per-image')]
    assert figures['calibrated/mean-f1'] == pytest.approx(np.mean(both))


def test_a_test_takes_the_threshold_it_is_given():
    scores, targets = draw()
    targets = np.maximum(targets, 0)
    metric = CalibratedF1(item='cnn_score', prefix='cnn-calibrated')
    metric.use(0.3)
    figures = run(metric, scores, targets)
    assert figures['cnn-calibrated/thr'] == 0.3

    for name, score in (('precision', precision_score), ('recall', recall_score)):
        expected = 100 * score(targets, scores > 0.3, average='macro', zero_division=0)
        assert figures[f'cnn-calibrated/per-label/{name}'] == pytest.approx(expected)


def test_a_test_without_a_threshold_has_no_figures():
    metric = CalibratedF1()
    metric.use(None)
    assert run(metric, *draw()) == {}


def test_one_image_is_judged_by_its_own_threshold():
    scores = np.float32([[0.3, 0.1]])
    targets = np.int8([[1, 0]])
    figures = run(CalibratedF1(), scores, targets)
    assert figures['calibrated/per-image/f1-score'] == 100


def test_an_unknown_measure_is_refused():
    with pytest.raises(ValueError, match='measure'):
        CalibratedF1(measure='precision')
