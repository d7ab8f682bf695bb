"""Decisions and figures of made-up runs, against scikit-learn and the metrics."""

import numpy as np
import pytest
import torch
from helpers import samples_of
from sklearn.metrics import average_precision_score, f1_score

from morn_plugin.benchmark.figures import (
    CALIBRATED,
    DECISIONS,
    EXACT,
    HALF,
    NATIVE,
    Ranking,
    compute_figures,
    decide,
    describe_habits,
    group_by_method,
    label_f1,
    make_rows,
    mean_label_f1,
    path_habits,
    rank_methods,
)
from morn_plugin.benchmark.results import RunResult, Side
from morn_plugin.evaluation import (
    MeanAveragePrecision,
    OverallF1,
    PerImageF1,
    PerLabelF1,
    TopOneAccuracy,
)
from morn_plugin.evaluation.calibration import global_threshold
from morn_plugin.evaluation.columns import ALL_COLUMNS


@pytest.fixture(scope='module')
def rows(results, info):
    return make_rows(results, info)


def find(results, method, seed=0):
    (run,) = (run for run in results if (run.method, run.seed) == (method, seed))
    return run


def test_columns_are_those_of_the_metrics(results):
    side = find(results, 'same').test
    fields = dict(pred_score=torch.tensor(side.scores))
    samples = samples_of(side.targets, **fields)
    for sample, row in zip(samples, side.labels, strict=True):
        sample['pred_label'] = torch.tensor(row).nonzero()[:, 0]

    figures = {}
    for metric in (
        PerLabelF1(use_pred_label=True),
        PerImageF1(use_pred_label=True),
        OverallF1(use_pred_label=True),
        MeanAveragePrecision(),
        TopOneAccuracy(),
    ):
        metric.process(None, samples)
        figures |= metric.evaluate(len(samples))
    keys = {
        'P_L': 'per-label/precision',
        'R_L': 'per-label/recall',
        'F1_L': 'per-label/f1-score',
        'P_I': 'per-image/precision',
        'R_I': 'per-image/recall',
        'F1_I': 'per-image/f1-score',
        'OP': 'overall/precision',
        'OR': 'overall/recall',
        'OF1': 'overall/f1-score',
        'mAP': 'multi-label/mAP',
        'N+': 'per-label/n-plus',
        'top-1': 'one-step/top-1',
    }
    expected = [figures[keys[name]] for name in ALL_COLUMNS]
    assert compute_figures(side.labels, side.targets, Ranking.of(side)) == pytest.approx(expected)


def test_top_one_looks_at_the_first_step():
    targets = np.array([[1, 0], [0, 1]], dtype=np.int8)
    scores = np.array([[0.9, 0.1], [0.2, 0.8]], dtype=np.float32)
    assert Ranking.of(Side(targets, scores > 0.5, scores)).top_one == 100
    assert Ranking.of(Side(targets, scores > 0.5, scores, first_scores=1 - scores)).top_one == 0


def test_three_decisions(results):
    run = find(results, 'cnn')
    np.testing.assert_array_equal(decide(run, NATIVE, 2).labels, run.test.labels)
    np.testing.assert_array_equal(decide(run, HALF, 2).labels, run.test.scores > 0.5)

    threshold = global_threshold(run.val.scores, run.val.targets, 'per-image-f1')
    calibrated = decide(run, CALIBRATED, 2)
    assert calibrated.threshold == threshold
    np.testing.assert_array_equal(calibrated.labels, run.test.scores > np.float32(threshold))

    exact = decide(run, EXACT, 2).labels
    assert (exact.sum(1) == 2).all()
    least = np.sort(run.test.scores, axis=1)[:, -2]
    assert (run.test.scores[exact].reshape(-1, 2).min(1) == least).all()
    assert decide(run, EXACT, 99).labels.all()


def test_thresholds_look_at_validation_alone(results):
    run = find(results, 'cnn')
    turned = Side(1 - run.test.targets, run.test.labels, run.test.scores)
    other = RunResult(**{**vars(run), 'test': turned})
    for decision in DECISIONS:
        np.testing.assert_array_equal(
            decide(other, decision, 2).labels, decide(run, decision, 2).labels
        )


def test_ranks_are_mapped_before_half_means_anything(results):
    """All of them are below 0.5; after the map about as many labels are predicted as are true."""
    run = find(results, 'ranks')
    assert not (run.test.scores > 0.5).any()
    mapped = decide(run, HALF, 2).labels
    assert 0.5 < mapped.sum() / run.test.targets.sum() < 1.5
    order = np.argsort(run.test.scores.ravel())
    assert (np.diff(mapped.ravel()[order].astype(int)) >= 0).all(), 'a threshold of the ranks'


def test_a_method_without_scores_has_its_own_decision_alone(results, rows):
    run = find(results, 'sets')
    assert [decide(run, decision, 2) is None for decision in DECISIONS] == [False, True, True, True]
    row = rows['sets']
    assert list(row.figures) == [NATIVE]
    assert len(row.thresholds) == 0
    assert np.isnan(row.column(NATIVE, 'mAP')).all()
    assert np.isnan(row.column(NATIVE, 'top-1')).all()
    assert not np.isnan(row.column(NATIVE, 'F1_I')).any()


def test_rows_by_method_and_seed(results, rows, info):
    assert list(rows) == ['cnn', 'same', 'better', 'other', 'ranks', 'sets']
    assert rows['other'].seeds == (1, 2)
    assert rows['cnn'].seeds == (0, 1, 2, 3)
    assert rows['better'].settings == dict(lr=0.01)
    assert (rows['other'].views, rows['other'].group, rows['better'].tier) == (
        2,
        'ablation',
        'features',
    )
    assert rows['same'].seconds == 600
    backwards = make_rows(list(reversed(results)), info)
    for name, row in rows.items():
        for decision, figures in row.figures.items():
            np.testing.assert_array_equal(backwards[name].figures[decision], figures)

    side = find(results, 'better', 2).test
    expected = 100 * average_precision_score(side.targets, side.scores)
    assert rows['better'].column(NATIVE, 'mAP')[2] == pytest.approx(expected)


def test_ranking_of_methods(rows):
    ranked = rank_methods(rows, CALIBRATED, 'F1_I')
    assert ranked[0].method == 'better'
    means = [row.column(CALIBRATED, 'F1_I').mean() for row in ranked]
    assert means == sorted(means, reverse=True)
    assert 'sets' not in [row.method for row in ranked]
    assert 'sets' not in [row.method for row in rank_methods(rows, NATIVE, 'mAP')]


def test_f1_of_labels_is_that_of_scikit_learn(results):
    runs = group_by_method(results)['cnn']
    each = [
        100 * f1_score(run.test.targets, run.test.labels, average=None, zero_division=0)
        for run in runs
    ]
    np.testing.assert_allclose(label_f1(runs[0].test.labels, runs[0].test.targets), each[0])
    np.testing.assert_allclose(mean_label_f1(runs, NATIVE, 2), np.mean(each, axis=0))
    assert mean_label_f1(group_by_method(results)['sets'], HALF, 2) is None
    never = label_f1(np.zeros((3, 2), bool), np.array([[0, 1], [0, 0], [0, 0]]))
    assert never.tolist() == [0, 0]


def test_habits_by_hand():
    labels = np.array([[True, True, False], [False, False, False]])
    paths = np.array([[0, 0, 1], [2, -1, -1]])
    side = Side(labels.astype(np.int8), labels, paths=paths)
    assert describe_habits(side) == dict(empty=50, labels=1, distinct=1.5, repeats=50)
    full = Side(np.ones((3, 2), np.int8), np.array([[True, False], [True, True], [True, False]]))
    assert describe_habits(full)['empty'] == 0
    assert all(np.isnan(value) for value in path_habits(None))
    assert all(np.isnan(value) for value in path_habits(paths[:, :1]))
    assert np.isnan(path_habits(np.array([[1, -1]]))[1])


def test_a_label_that_is_right_once_counts_for_n_plus():
    targets = np.array([[1, 0], [1, 1], [0, 1]], dtype=np.int8)
    labels = np.array([[True, False], [False, False], [False, False]])
    figures = dict(
        zip(ALL_COLUMNS, compute_figures(labels, targets, Ranking(0.0, 0.0)), strict=True)
    )
    assert figures['N+'] == 1


def test_a_row_has_the_habits_of_every_seed(results, info):
    rows = make_rows(results, info)
    assert rows
    for row in rows.values():
        runs = [run for run in results if run.method == row.method]
        expected = [describe_habits(run.test)['labels'] for run in runs]
        np.testing.assert_allclose(np.sort(row.habits['labels']), np.sort(expected))
