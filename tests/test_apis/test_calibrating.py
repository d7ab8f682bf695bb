"""What calibration chooses and says, on predictions made up."""

import re
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import precision_score

from morn_plugin.apis.calibrating import calibrate, compare_decisions
from morn_plugin.apis.collecting import PredictionSet
from morn_plugin.evaluation.calibration import choose_scope, global_threshold, label_thresholds
from morn_plugin.evaluation.functional import paper_figures


def make_set(seed, name, num_images=150, num_classes=5):
    rng = np.random.default_rng(seed)
    targets = (rng.random((num_images, num_classes)) < 0.25).astype(np.int8)
    scores = np.clip(0.25 * targets + 0.5 * rng.random(targets.shape), 0, 1).astype(np.float32)
    classes = [*'abcde']
    paths = [f'{i}.jpg' for i in range(num_images)]
    return PredictionSet(classes, f'data/{name}.json', paths, targets, scores, scores > 0.5)


@pytest.fixture(scope='module')
def sets():
    return dict(validation=make_set(0, 'val'), test=make_set(1, 'test'))


def read_rows(lines):
    return {
        title: [float(cell) for cell in cells.split()]
        for title, cells in (re.split(r'(?<=before|brated) ', line, maxsplit=1) for line in lines)
    }


def test_what_is_chosen_is_what_the_functions_choose(sets):
    val = sets['validation']
    one = calibrate(val, 'per-image-f1', 'global')
    assert one.thresholds.thr == global_threshold(val.scores, val.targets, 'per-image-f1')
    assert (one.thresholds.chosen_on, one.thresholds.measure) == ('val.json', 'per-image-f1')
    assert (one.reason, one.floor, one.thresholds.score_map) == ('', None, None)

    each = calibrate(val, 'precision', 'label', 0.7)
    assert each.thresholds.thr == label_thresholds(val.scores, val.targets, 'precision', 0.7)
    assert each.floor == 0.7

    choice = choose_scope(val.scores, val.targets, 'per-label-f1')
    found = calibrate(val)
    assert found.reason == choice.reason
    assert isinstance(found.thresholds.thr, list) == (choice.scope == 'label')


def test_the_map_makes_half_mean_half():
    """Normal logits around -1 and 1, whose odds a sigmoid has exactly, squeezed to below 0.5."""
    squeezed = []
    for seed in range(2):
        data = make_set(seed, 'val', num_images=2000)
        noise = np.random.default_rng(9 + seed).normal(size=data.scores.shape)
        logits = 0.2 * (2 * data.targets - 1 + noise) - 1
        scores = (1 / (1 + np.exp(-logits))).astype(np.float32)
        squeezed.append(replace(data, scores=scores))

    validation, test = squeezed
    assert (test.scores < 0.5).mean() > 0.99
    found = calibrate(validation, 'per-image-f1', 'global', with_map=True).thresholds.score_map
    mapped = found.probabilities(test.scores)
    near_half = (mapped > 0.35) & (mapped < 0.65)
    assert near_half.sum() > 500
    assert test.targets[near_half].mean() == pytest.approx(0.5, abs=0.05)


def test_figures_before_and_after(sets):
    found = calibrate(sets['validation'], 'per-image-f1', 'global')
    lines = compare_decisions(found, sets)
    assert lines[0].split() == ['P_L', 'R_L', 'F1_L', 'P_I', 'R_I', 'F1_I']
    paper = read_rows(lines[1:5])

    for title, data in sets.items():
        before, after = (
            paper_figures(predicted, data.targets)
            for predicted in (data.predicted, data.scores > np.float32(found.thresholds.thr))
        )
        assert paper[f'{title}, before'] == pytest.approx(before, abs=0.006)
        assert paper[f'{title}, calibrated'] == pytest.approx(after, abs=0.006)

    assert paper['validation, calibrated'][5] > paper['validation, before'][5]

    decisions = read_rows([line.strip() for line in lines[7:]])
    test = sets['test']
    precision, _, number, per_image = decisions['test, before']
    assert precision == pytest.approx(
        100 * precision_score(test.targets, test.predicted, average='micro'), abs=0.006
    )
    assert (number, per_image) == (test.predicted.sum(), pytest.approx(number / 150, abs=0.006))


def test_precision_says_whether_it_is_reached(sets):
    found = calibrate(sets['validation'], 'precision', 'global', 0.8)
    validation, test = compare_decisions(found, sets)[-2:]
    left = found.predict(sets['validation'])
    precision = 100 * precision_score(sets['validation'].targets, left, average='micro')
    assert precision >= 80
    assert validation == (
        f'validation: precision {precision:.2f} %, the 80 % are reached; {left.sum()} labels are '
        f'predicted, before {sets["validation"].predicted.sum()}.'
    )
    assert re.match(r'test: precision \d+\.\d\d %, the 80 % are (NOT )?reached; \d+ labels', test)

    spoilt = dict(test=make_set(1, 'test'))
    spoilt['test'].targets = 1 - spoilt['test'].targets
    assert 'the 80 % are NOT reached' in compare_decisions(found, spoilt)[-1]


def test_precision_out_of_reach_is_said():
    data = make_set(0, 'val')
    data.scores = np.where(data.targets > 0, 0.1, 0.9).astype(np.float32)
    found = calibrate(data, 'precision', 'global', 0.95)
    (line,) = compare_decisions(found, dict(validation=data))[-1:]
    assert line == 'validation: no label is predicted, since none is as sure as 95 %.'
