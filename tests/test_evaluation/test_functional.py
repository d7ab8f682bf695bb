from itertools import combinations

import numpy as np
import pytest
from helpers import load_golden
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score

from morn_plugin.evaluation.functional import (
    Counts,
    average_precisions,
    count_images,
    count_labels,
    count_sets,
    harmonic_mean,
    mean_average_precision,
    mean_precision_recall_f1,
    overall_precision_recall_f1,
    pack_labels,
    paper_figures,
    top_one,
    topk_bound,
    unpack_labels,
)

ZERO_DIVISION = dict(zero=0, one=1, skip=np.nan)
UNDEFINED = [*ZERO_DIVISION]


def random_sets(seed, num_images=30, num_classes=11, ignored=False):
    """Sparse sets in which some labels and images are never predicted or never true."""
    rng = np.random.default_rng(seed)
    predicted, target = rng.random((2, num_images, num_classes)) < 0.2
    predicted[:3], target[2:5], predicted[:, 0], target[:, 1] = False, False, False, False
    target = target.astype(int)
    if ignored:
        target[rng.random(target.shape) < 0.2] = -1
    return predicted, target


@pytest.mark.parametrize('undefined', UNDEFINED)
@pytest.mark.parametrize(
    ('count', 'axis'), [(count_labels, 0), (count_images, 1)], ids=['labels', 'images']
)
@pytest.mark.parametrize('ignored', [False, True])
def test_means_are_those_of_scikit_learn(count, axis, undefined, ignored):
    predicted, target = random_sets(0, ignored=ignored)
    figures = mean_precision_recall_f1(count(pack_labels(predicted, target), 11), undefined)
    precisions, recalls = [], []

    for index in range(target.shape[1 - axis]):
        truth = np.take(target, index, 1 - axis)
        guess = np.take(predicted, index, 1 - axis)
        valid = truth >= 0
        zero = ZERO_DIVISION[undefined]
        precisions.append(
            precision_score(truth[valid], guess[valid], labels=[0, 1], zero_division=zero)
        )
        recalls.append(recall_score(truth[valid], guess[valid], labels=[0, 1], zero_division=zero))

    precision = np.nanmean(precisions)
    recall = np.nanmean(recalls)
    expected = [100 * precision, 100 * recall, 100 * 2 * precision * recall / (precision + recall)]
    assert figures == pytest.approx(expected, abs=1e-10)


def test_the_harmonic_mean_is_not_the_mean_of_f1s():
    """One label P 1, R 0.1; the other P 0.1, R 1: F1s are 0.18 each, of the means it is 0.55."""
    counts = Counts(np.array([10, 1]), np.array([1, 10]), np.array([1, 1]))
    assert mean_precision_recall_f1(counts) == pytest.approx((55, 55, 55))


@pytest.mark.parametrize(
    ('precision', 'recall', 'f1'), [(0, 0, 0), (50, 0, 0), (100, 100, 100), (20, 60, 30)]
)
def test_harmonic_mean(precision, recall, f1):
    assert harmonic_mean(precision, recall) == pytest.approx(f1)


@pytest.mark.parametrize('axis', [0, 1])
def test_mean_of_f1s_is_that_of_scikit_learn(axis):
    predicted, target = random_sets(1)
    average = 'macro' if axis == 0 else 'samples'
    expected = 100 * f1_score(target, predicted, average=average, zero_division=0)
    counts = count_sets(predicted, target, axis)
    assert mean_precision_recall_f1(counts, f1='mean').f1 == pytest.approx(expected)
    assert mean_precision_recall_f1(counts).f1 != pytest.approx(expected)


def test_mean_of_f1s_by_hand():
    """Entries: right; never predicted; no image and never predicted; predicted without an image."""
    counts = Counts(np.array([1, 1, 0, 0]), np.array([1, 0, 0, 1]), np.array([1, 0, 0, 0]))
    f1 = lambda undefined: mean_precision_recall_f1(counts, undefined, 'mean').f1
    assert f1('zero') == pytest.approx(100 * (1 + 0 + 0 + 0) / 4)
    assert f1('one') == pytest.approx(100 * (1 + 0 + 1 + 0) / 4)
    assert f1('skip') == pytest.approx(100)


@pytest.mark.parametrize('ignored', [False, True])
def test_counts_of_what_fits_into_memory_are_those_of_the_packed(ignored):
    predicted, target = random_sets(2, ignored=ignored)
    packed = pack_labels(predicted, target)
    for axis, count in enumerate((count_labels, count_images)):
        for ours, theirs in zip(
            count_sets(predicted, target, axis), count(packed, 11), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize('axis', [0, 1])
def test_overall_figures_are_those_of_scikit_learn(axis):
    predicted, target = random_sets(3)
    expected = [
        100 * score(target, predicted, average='micro')
        for score in (precision_score, recall_score, f1_score)
    ]
    figures = overall_precision_recall_f1(count_sets(predicted, target, axis))
    assert figures == pytest.approx(expected)


def test_overall_figures_where_nothing_is_predicted():
    counts = Counts(np.array([2, 0]), np.array([0, 0]), np.array([0, 0]))
    assert overall_precision_recall_f1(counts) == (0, 0, 0)
    assert overall_precision_recall_f1(counts, 'one') == (100, 0, 0)


@pytest.mark.parametrize(
    ('name', 'envelope', 'ties'), [('mlgcn_ap', False, 'apart'), ('srn_ap', True, 'together')]
)
def test_average_precisions_of_other_groups_code(name, envelope, ties):
    golden = load_golden('protocols')
    found = average_precisions(golden['logits'], golden['labels'], envelope, ties)
    np.testing.assert_allclose(found, 100 * golden[name], atol=1e-9)


def test_average_precisions_pass_over_ignored_and_missing_labels():
    rng = np.random.default_rng(0)
    target = rng.integers(-1, 2, (40, 4))
    scores = rng.random((40, 4)).round(1)
    target[:, 1] = np.where(target[:, 1] > 0, 0, target[:, 1])  # without an image
    target[:, 2] = -1
    found = average_precisions(scores, target)
    assert np.isnan(found[1:3]).all()

    for label in (0, 3):
        known = target[:, label] >= 0
        expected = average_precision_score(target[known, label], scores[known, label])
        assert found[label] == pytest.approx(100 * expected)

    defined = found[0] + found[3]
    for undefined, expected in (
        ('zero', defined / 4),
        ('one', (defined + 200) / 4),
        ('skip', defined / 2),
    ):
        assert mean_average_precision(scores, target, undefined) == pytest.approx(expected)


def test_paper_figures_and_top_one_by_hand():
    """Image 0: two of three predicted labels right, one missed; image 1: the best label is ignored."""
    predicted = np.array([[True, True, True, False], [True, False, False, False]])
    target = np.array([[1, 1, 0, 1], [-1, 0, 1, 0]])
    per_label = [(1 + 1 + 0 + 0) / 4, (1 + 1 + 0 + 0) / 4]
    per_image = [(2 / 3 + 0) / 2, (2 / 3 + 0) / 2]
    expected = [100 * value for value in (*per_label, 0.5, *per_image, 1 / 3)]
    assert paper_figures(predicted, target) == pytest.approx(expected)

    scores = np.array([[0.9, 0.8, 0.7, 0.2], [0.9, 0.1, 0.3, 0.2]])
    assert top_one(scores, target) == 100
    assert top_one(scores, np.array([[0, 1, 0, 1], [0, 0, 1, 0]])) == 0


@pytest.mark.parametrize('topk', [1, 3, 6])
def test_no_answer_of_k_labels_is_better_than_the_bound(topk):
    """By trying every set of k labels for every image: a sum over images is best where each of them is."""
    rng = np.random.default_rng(topk)
    target = (rng.random((20, 6)) < 0.4).astype(int)
    target[0], target[1] = 0, 1

    best = {'correct': [], 'precision': [], 'recall': []}
    for row in target:
        hits = [row[list(chosen)].sum() for chosen in combinations(range(6), topk)]
        best['correct'].append(max(hits))
        best['precision'].append(max(hits) / topk)
        best['recall'].append(max(hits) / row.sum() if row.any() else 0)

    bound = topk_bound(target.sum(1), topk)
    assert bound['P_I'] == pytest.approx(100 * np.mean(best['precision']))
    assert bound['R_I'] == pytest.approx(100 * np.mean(best['recall']))
    assert bound['OP'] == pytest.approx(100 * sum(best['correct']) / (20 * topk))
    assert bound['OR'] == pytest.approx(100 * sum(best['correct']) / target.sum())

    for pair, f1 in (('P_I R_I', 'F1_I'), ('OP OR', 'OF1')):
        p, r = (bound[name] for name in pair.split())
        assert bound[f1] == pytest.approx(2 * p * r / (p + r))


@pytest.mark.parametrize('undefined', UNDEFINED)
def test_nothing_at_all_is_zero(undefined):
    zeros = np.zeros(3, dtype=int)
    expected = 100 if undefined == 'one' else 0
    assert mean_precision_recall_f1(Counts(zeros, zeros, zeros), undefined) == (expected,) * 3


@given(st.integers(0, 10**6), st.integers(1, 20), st.integers(1, 20))
def test_packing_gives_back_all_but_the_ignored(seed, num_images, num_classes):
    rng = np.random.default_rng(seed)
    predicted = rng.random((num_images, num_classes)) < 0.5
    target = rng.integers(-1, 2, (num_images, num_classes))
    packed = pack_labels(predicted, target)
    assert {len(row) for row in packed} == {2 * ((num_classes + 7) // 8)}
    parts = list(unpack_labels(packed, num_classes, chunk=7))
    assert np.array_equal(np.concatenate([guess for guess, _ in parts]), predicted & (target >= 0))
    assert np.array_equal(np.concatenate([truth for _, truth in parts]), target == 1)


def test_counts_by_hand():
    predicted = np.array([[1, 1, 0], [0, 1, 1]], dtype=bool)
    target = np.array([[1, 0, 1], [0, 1, -1]])
    packed = pack_labels(predicted, target)
    assert [part.tolist() for part in count_labels(packed, 3)] == [[1, 1, 1], [1, 2, 0], [1, 1, 0]]
    assert [part.tolist() for part in count_images(packed, 3)] == [[2, 1], [2, 1], [1, 1]]
